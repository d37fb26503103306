"""What is made ready, and refused, before a local Ray starts."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from lookalike_crds.config import HttpConfig
from lookalike_serving.local.cluster import CannotStart, check_port, prepare
from lookalike_serving.machine.processes import MARK
from lookalike_serving.machine.rundir import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.of(tmp_path / "data")
    run.path.mkdir(parents=True)
    return run


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"127\.0\.0\.1:{port}: .*--port"):
            check_port(HttpConfig(port=port))


def test_rays_folder_is_emptied_and_closed_to_others(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # `prepare` adds to it
    run.ray_dir.mkdir()
    try:
        (run.ray_dir / "stale").touch()
        prepare(run)
        assert [path.name for path in run.ray_dir.iterdir()] == ["h"]
        assert stat.S_IMODE(run.ray_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(run.ray_token.stat().st_mode) == 0o600
        assert os.environ[MARK] == run.mark
    finally:
        shutil.rmtree(run.ray_dir)


def test_a_folder_of_somebody_else_is_not_used(run: RunDirectory, tmp_path: Path) -> None:
    run.ray_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(CannotStart, match="belongs to another user"):
            prepare(run)
    finally:
        run.ray_dir.unlink()
