"""Finding and ending the processes that belong to a data directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lookalike_serving.machine import processes
from lookalike_serving.machine.processes import MARK
from lookalike_serving.machine.rundir import RunDirectory

Start = Callable[..., "subprocess.Popen[str]"]
SLEEPER = "import signal\nprint('up', flush=True)\nsignal.pause()"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER


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
