"""A worker is forked with its modules, and is otherwise as if its own command had been run."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike_serving.local import forked
from lookalike_serving.local.fork_server import ForkServer

PRELOADED = "this.is.nowhere", "wave"
"""One that fails, and one of the standard library's that nothing else imports."""
WORKER = """
import json, os, random, signal, sys
found = {
    "preloaded": "wave" in sys.modules, "arguments": sys.argv[1:], "folder": os.getcwd(),
    "mark": os.environ.get("MARK"), "path": sys.path[0], "random": random.random(),
    "children": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, "parent": os.getppid(),
}
print(json.dumps(found), flush=True)
sys.stdin.read()
"""
SETUP = """
import runpy, sys
sys.argv = [word for word in sys.argv[1:] if not word.startswith(("--serialized", "--language"))]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path / "fork.sock", PRELOADED)
    server.ensure_running()
    give_up = time.monotonic() + 60
    while not server.path.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    yield server
    server.end()


def test_a_worker_has_the_modules_and_what_it_was_started_with(
    server: ForkServer, tmp_path: Path
) -> None:
    found = run(server.path, tmp_path, ["--language=PYTHON", "--id=a b", '{"x": "$y"}'])
    assert found.pop("random") != run(server.path, tmp_path, [])["random"]
    assert found.pop("parent") != os.getpid()
    assert found == {
        "preloaded": True,
        "arguments": ["--id=a b", '{"x": "$y"}'],
        "folder": str(tmp_path),
        "mark": "of this worker",
        "path": str(tmp_path),
        "children": True,
    }


def test_only_its_owner_may_ask(server: ForkServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_it_is_run_by_its_own_command_if_nothing_forks(tmp_path: Path) -> None:
    found = run(tmp_path / "none.sock", tmp_path, ["--language=PYTHON", "--id=1"])
    assert (found["preloaded"], found["arguments"]) == (False, ["--id=1"])


@pytest.mark.parametrize(
    "context",
    [
        {"env_vars": {"A": "1"}},
        {"command_prefix": ["nice"]},
        {"py_executable": "/other/python"},
        {"override_worker_entrypoint": "/other.py"},
    ],
    ids=lambda context: next(iter(context)),
)
def test_it_is_run_by_its_own_command_if_it_has_an_environment_of_its_own(
    context: dict[str, object], server: ForkServer, tmp_path: Path
) -> None:
    worker = f"--serialized-runtime-env-context={json.dumps(context)}"
    assert run(server.path, tmp_path, [worker])["preloaded"] is False
    own = {"py_executable": sys.executable, "env_vars": {}, "command_prefix": []}
    worker = f"--serialized-runtime-env-context={json.dumps(own)}"
    assert run(server.path, tmp_path, [worker])["preloaded"] is True


def test_a_server_that_has_ended_is_started_again(server: ForkServer, tmp_path: Path) -> None:
    server.end()
    assert run(server.path, tmp_path, [])["preloaded"] is False
    server.ensure_running()
    give_up = time.monotonic() + 60
    while not run(server.path, tmp_path, [])["preloaded"]:
        assert time.monotonic() < give_up


def run(path: Path, folder: Path, arguments: list[str]) -> dict[str, object]:
    """What a worker says that is started as the raylet would."""
    (folder / "worker.py").write_text(WORKER)
    (folder / "setup.py").write_text(SETUP)
    theirs = [sys.executable, str(folder / "setup.py"), str(folder / "worker.py"), *arguments]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", forked.__file__, str(path), *theirs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "MARK": "of this worker"},
    ) as asked:
        assert asked.stdout is not None
        found: dict[str, object] = json.loads(asked.stdout.readline())
        asked.communicate(b"")
        assert asked.returncode == 0
    return found
