"""`lookalike down` of a server that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from command import Command
from tests.support.run_states import READY

from lookalike_serving.machine.processes import MARK
from lookalike_serving.machine.rundir import RunDirectory


def test_down_clears_what_a_killed_server_left(tmp_path: Path, lookalike: Command) -> None:
    run = RunDirectory.of(tmp_path / "data")
    run.path.mkdir(parents=True)
    left = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: run.mark})
    run.write_state(READY)
    run.ray_dir.mkdir()
    try:
        ran = lookalike("down", "--data-dir", run.data_dir, "-o", "json")
        assert ran.json == {"stopped": False, "leftovers": 1}
        assert left.wait() == -signal.SIGTERM
    finally:
        left.kill()
        left.wait()
    assert not run.ray_dir.exists()
    assert not run.state_file.exists()
