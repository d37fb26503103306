"""The raylet is given our agents and our workers where its arguments name Ray's, and nothing else
is touched."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lookalike_serving.local import forked, idle_agent
from lookalike_serving.local.lean_ray import with_forks, with_idle_agent

OPTIONS = {"dashboard": "--dashboard_agent_command", "runtime_env": "--runtime_env_agent_command"}
RAYS = (
    "=/usr/bin/python -u /ray/agent.py --node-id=ab12 "
    "--session-dir=/tmp/lk-0-1/r/session_1 --log-dir=/tmp/logs"
)
PORTS = {
    "dashboard": ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "runtime_env": ("runtime_env_agent_port",),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_agent_is_ours_with_the_session_and_node_of_rays(name: str) -> None:
    assert with_idle_agent(OPTIONS[name] + RAYS) == (
        f"{OPTIONS[name]}={sys.executable} -I -S {idle_agent.__file__} {name} "
        "/tmp/lk-0-1/r/session_1 ab12"
    )


def test_workers_are_asked_of_the_fork_server_with_the_whole_of_rays_command() -> None:
    argument = '--python_worker_command=/usr/bin/python /ray/setup.py "/a b/worker.py" --id=X'
    assert with_forks(argument, Path("/tmp/h/fork.sock")) == (
        f"--python_worker_command={sys.executable} -I -S {forked.__file__} /tmp/h/fork.sock "
        '/usr/bin/python /ray/setup.py "/a b/worker.py" --id=X'
    )


@pytest.mark.parametrize(
    "argument",
    ["--node_id=ab12", "--dashboard_agent_command=/ray/agent --node-id=ab12"],
    ids=["another argument", "an agent that is told other things"],
)
def test_what_is_not_known_stays_as_it_is(argument: str) -> None:
    assert with_idle_agent(with_forks(argument, Path("/fork.sock"))) == argument


@pytest.mark.parametrize("name", OPTIONS)
def test_it_tells_its_ports_and_ends_with_whoever_started_it(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", idle_agent.__file__, name, str(tmp_path), "ab12"]
    # A parent that starts it, waits for the files, and ends.
    parent = (
        "import subprocess, sys, time, pathlib\n"
        f"agent = subprocess.Popen({command!r}, stdout=subprocess.DEVNULL)\n"
        f"files = [pathlib.Path({str(tmp_path)!r}, f'{{name}}_ab12') for name in {PORTS[name]!r}]\n"
        "while not all(file.exists() for file in files): time.sleep(0.01)\n"
        "print(agent.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        agent = int(process.stdout.readline())
        (port,) = {int(path.read_text()) for path in tmp_path.iterdir()}
        if name == "dashboard":
            assert port == -1
        else:
            _is_refused(port)
        process.communicate("")
    _until_gone(agent)


def _is_refused(port: int) -> None:
    """As the raylet asks, and reads the answer."""
    from ray.core.generated.runtime_env_agent_pb2 import (
        AGENT_RPC_STATUS_FAILED,
        GetOrCreateRuntimeEnvReply,
    )

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/get_or_create_runtime_env", body=b"\x0a\x04abcd")
    reply = GetOrCreateRuntimeEnvReply.FromString(connection.getresponse().read())
    assert reply.status == AGENT_RPC_STATUS_FAILED
    assert "no runtime environments" in reply.error_message


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
