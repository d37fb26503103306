"""The lock, the state file, and finding the processes that belong to a data directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Command

from lookalike_crds.config import HttpConfig
from lookalike_serving.local.cluster import CannotStart, check_port, prepare
from lookalike_serving.machine import processes
from lookalike_serving.machine.processes import MARK
from lookalike_serving.machine.rundir import (
    DataDirInUse,
    IngestionPhase,
    IngestionState,
    Phase,
    RunDirectory,
    State,
)

STATE = State(
    pid=1,
    identity="boot:1",
    phase=Phase.READY,
    url="http://127.0.0.1:8000",
    started_at="2026-11-23T08:00:00Z",
    config_digest="d",
    versions={"ray": "2"},
    ingestions=(IngestionState("shoes"), IngestionState("mugs", IngestionPhase.DONE)),
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.of(tmp_path / "data")
    run.path.mkdir(parents=True)
    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python code in another process, and waits until it prints a line."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


SLEEPER = "import signal\nprint('up', flush=True)\nsignal.pause()"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER


def test_the_lock_keeps_others_out_and_is_given_back(run: RunDirectory) -> None:
    with run.lock():
        assert run.is_locked()
        with pytest.raises(DataDirInUse), run.lock():
            pass
    assert not run.is_locked()


def test_a_successor_waits_for_the_lock(run: RunDirectory) -> None:
    held, leave = threading.Event(), threading.Event()

    def predecessor() -> None:
        with run.lock():
            held.set()
            leave.wait(60)

    thread = threading.Thread(target=predecessor)
    thread.start()
    assert held.wait(60)
    threading.Timer(0.5, leave.set).start()
    with run.lock(patience=60):
        assert leave.is_set()
    thread.join()


def test_the_lock_is_gone_with_a_killed_holder(run: RunDirectory, start: Start) -> None:
    holder = start(
        "from lookalike_serving.machine.rundir import RunDirectory\nfrom pathlib import Path\n"
        f"with RunDirectory.of(Path({str(run.data_dir)!r})).lock():\n"
        "    import signal\n    print('up', flush=True)\n    signal.pause()"
    )
    assert run.is_locked()
    holder.kill()
    holder.wait()
    assert not run.is_locked()


def test_the_lock_is_not_inherited_by_child_processes(run: RunDirectory, start: Start) -> None:
    with run.lock():
        start(SLEEPER)
    assert not run.is_locked()


def test_looking_for_a_lock_makes_nothing(tmp_path: Path) -> None:
    assert not RunDirectory.of(tmp_path / "none").is_locked()
    assert not (tmp_path / "none").exists()


def test_the_state_is_read_as_it_was_written(run: RunDirectory) -> None:
    run.write_state(STATE)
    assert run.read_state() == STATE


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1}', '{"phase": "x"}', "null"])
def test_an_unreadable_state_is_none(run: RunDirectory, content: str) -> None:
    run.state_file.write_text(content)
    assert run.read_state() is None


def test_a_change_of_one_ingestion_leaves_the_others() -> None:
    changed = STATE.with_ingestion(IngestionState("shoes", IngestionPhase.FAILED, error="e"))
    assert [each.phase for each in changed.ingestions] == ["failed", "done"]
    assert changed.ingestions_ended
    assert not STATE.ingestions_ended


def test_the_folder_of_sockets_has_a_short_path(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    assert len(str(RunDirectory.of(deep).ray_dir)) < 40


def test_two_data_directories_share_no_folder_of_sockets(tmp_path: Path) -> None:
    one, other = RunDirectory.of(tmp_path / "a"), RunDirectory.of(tmp_path / "b")
    assert one.ray_dir != other.ray_dir


def test_a_data_directory_is_the_same_by_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert RunDirectory.of(Path("link")) == RunDirectory.of(tmp_path / "x" / ".." / "data")


def test_a_process_is_told_from_a_later_one_of_its_pid(start: Start) -> None:
    child = start(SLEEPER)
    known = processes.identity(child.pid)
    assert known is not None
    assert processes.is_alive(child.pid, known)
    assert not processes.is_alive(os.getpid(), known)
    child.kill()
    child.wait()
    assert not processes.is_alive(child.pid, known)


def test_a_zombie_is_not_alive(start: Start) -> None:
    child = start(SLEEPER)
    known = processes.identity(child.pid) or ""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_alive(child.pid, known)


def test_only_processes_with_the_mark_are_found(run: RunDirectory, start: Start) -> None:
    ours = start(SLEEPER, **{MARK: run.mark})
    start(SLEEPER, **{MARK: run.mark + "-other"})
    start(SLEEPER, OTHER=run.mark)
    start(f"# {run.mark}\n{SLEEPER}")
    assert [process.pid for process in processes.of_run(run)] == [ours.pid]


def test_grandchildren_are_found_though_their_parents_are_gone(
    run: RunDirectory, start: Start
) -> None:
    parent = start(
        "import subprocess, sys, signal\n"
        f"subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)\n"
        "signal.pause()",
        **{MARK: run.mark},
    )
    parent.kill()
    parent.wait()
    (orphan,) = processes.end(lambda: processes.of_run(run))
    assert orphan.pid != parent.pid
    assert processes.of_run(run) == []


def test_a_process_that_renamed_itself_over_its_environment_is_known_by_its_log(
    run: RunDirectory, tmp_path: Path
) -> None:
    run.ray_dir.mkdir(mode=0o700)
    try:
        with (run.ray_dir / "agent.log").open("w") as log:
            agent = subprocess.Popen(
                ["ray::Agent", "-c", SLEEPER],
                executable=sys.executable,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            assert agent.stdout is not None
            assert agent.stdout.readline() == "up\n"
            follower = subprocess.Popen(["tail", "-f", log.name], stdout=subprocess.DEVNULL)
        found = [process.pid for process in processes.of_run(run)]
        follower.kill()
        agent.kill()
        agent.communicate()
        follower.wait()
    finally:
        (run.ray_dir / "agent.log").unlink()
        run.ray_dir.rmdir()
    assert found == [agent.pid]


def test_what_does_not_end_when_asked_is_ended(run: RunDirectory, start: Start) -> None:
    child = start(STUBBORN, **{MARK: run.mark})
    processes.end(lambda: processes.of_run(run), patience_seconds=0.1)
    assert child.wait() == -signal.SIGKILL


def test_what_ends_when_asked_is_only_asked(run: RunDirectory, start: Start) -> None:
    child = start(SLEEPER, **{MARK: run.mark})
    processes.end(lambda: processes.of_run(run), patience_seconds=30)
    assert child.wait() == -signal.SIGTERM


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


@pytest.mark.parametrize("mode", [None, 0o755, 0o777, 0o770, 0o700])
def test_a_data_directory_is_its_owners_alone(tmp_path: Path, mode: int | None) -> None:
    run = RunDirectory.of(tmp_path / "data")
    if mode is not None:
        run.data_dir.mkdir()
        run.data_dir.chmod(mode)
    run.make_private()
    assert stat.S_IMODE(run.data_dir.stat().st_mode) == 0o700
    assert run.path.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two other users")
def test_a_data_directory_that_another_user_left_open_is_refused(tmp_path: Path) -> None:
    code = (
        "import os\nfrom pathlib import Path\n"
        "from lookalike_serving.machine.rundir import RunDirectory\n"
        f"run = RunDirectory.of(Path({str(tmp_path / 'data')!r}))\n"
        "os.umask(0)\nrun.data_dir.mkdir()\nrun.data_dir.chmod(0o777)\n"
        "os.chown(run.data_dir, 12345, 12345)\n"
        "for path in run.data_dir.parents: path.stat().st_mode & 1 or os.chmod(path, 0o755)\n"
        "os.setgroups([])\nos.setgid(54321)\nos.setuid(54321)\n"
        "try:\n    run.make_private()\n"
        "except PermissionError:\n    print('refused')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "refused\n"


def test_a_folder_of_somebody_else_is_not_used(run: RunDirectory, tmp_path: Path) -> None:
    run.ray_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(CannotStart, match="belongs to somebody else"):
            prepare(run)
    finally:
        run.ray_dir.unlink()


def test_down_clears_what_a_killed_server_left(
    run: RunDirectory, start: Start, lookalike: Command
) -> None:
    left = start(SLEEPER, **{MARK: run.mark})
    run.write_state(STATE)
    run.ray_dir.mkdir()
    ran = lookalike("down", "--data-dir", run.data_dir, "-o", "json")
    assert ran.json == {"stopped": False, "leftovers": 1}
    assert left.wait() == -signal.SIGTERM
    assert not run.ray_dir.exists()
    assert not run.state_file.exists()
