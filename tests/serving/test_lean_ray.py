"""The raylet is given our agent where its arguments name Ray's, and nothing else is touched."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lookalike_serving.local import idle_agent
from lookalike_serving.local.lean_ray import with_idle_agent

RAYS = (
    "--dashboard_agent_command=/usr/bin/python -u /ray/dashboard/agent.py --node-id=ab12 "
    "--session-dir=/tmp/lk-0-1/r/session_1 --log-dir=/tmp/logs"
)


def test_the_agent_is_ours_with_the_session_and_node_of_rays() -> None:
    assert with_idle_agent(RAYS) == (
        f"--dashboard_agent_command={sys.executable} -I -S {idle_agent.__file__} "
        "/tmp/lk-0-1/r/session_1 ab12"
    )


@pytest.mark.parametrize(
    "argument",
    ["--node_id=ab12", "--dashboard_agent_command=/ray/agent --node-id=ab12"],
    ids=["another argument", "an agent that is told other things"],
)
def test_what_is_not_known_stays_as_it_is(argument: str) -> None:
    assert with_idle_agent(argument) == argument


def test_it_tells_that_it_has_no_ports_and_ends_with_whoever_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", idle_agent.__file__, str(tmp_path), "ab12"]
    # A parent that starts it, waits for the files, and ends.
    parent = (
        "import subprocess, sys, time, pathlib\n"
        f"agent = subprocess.Popen({command!r})\n"
        f"files = [pathlib.Path({str(tmp_path)!r}, f'{{name}}_ab12') for name in {PORTS!r}]\n"
        "while not all(file.exists() for file in files): time.sleep(0.01)\n"
        "print(agent.pid)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, text=True, check=True, timeout=60
    )
    assert {path.read_text() for path in tmp_path.iterdir()} == {"-1"}
    _until_gone(int(ran.stdout))


PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")


def _until_gone(pid: int) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        if stat.rpartition(")")[2].split()[0] == "Z":
            return
        assert time.monotonic() < give_up
        time.sleep(0.05)
