"""Finds and ends the processes that belong to one data directory, and only those.

Ray, its workers and HAProxy do not all end with the process that started them: after a SIGKILL of
the driver HAProxy keeps the port and Ray's agents linger (Ray 2.60). Their command lines say
little, since Ray's processes rewrite theirs, but all of them inherit the environment, and with it
the mark. Two of Ray's agents overwrite it with their new name; these are recognised by the log
files that they hold open in Ray's folder. On Linux, /proc is read; elsewhere, `ps` gives the same
information.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lookalike_serving.machine.rundir import RunDirectory

MARK = "LOOKALIKE_DATA_DIR_OF_RUN"
"""Environment variable that says which data directory a process works for."""

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    identity: str
    command: str


def identity(pid: int) -> str | None:
    """A text that distinguishes two processes that had the same pid; None if there is no process.

    Linux: boot id and start time in clock ticks since boot. Elsewhere the start time, as `ps` says.
    """
    if not _PROC.joinpath("self/stat").exists():
        return _ps("-o", "lstart=", "-p", str(pid)).strip() or None
    fields = _stat(pid)
    if fields is None or fields[0] == "Z":
        return None
    boot = _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{fields[19]}"


def is_alive(pid: int, known_identity: str) -> bool:
    """Whether this very process is alive, and not another one that got its pid since."""
    return identity(pid) == known_identity


def of_run(run: RunDirectory) -> list[Process]:
    """Every other process of this user that works for the data directory."""
    find = _by_proc if _PROC.joinpath("self/environ").exists() else _by_ps
    return [process for process in find(run) if process.pid != os.getpid()]


def end(find: Callable[[], Iterable[Process]], *, patience_seconds: float = 3.0) -> list[Process]:
    """Ask the processes that are found to end, and then kill them; returns those that were found.

    `find` is called repeatedly, because a process may start another one while it ends. Raises
    TimeoutError for a process that even SIGKILL does not end (one that waits for a dead disk).
    """
    ended: dict[tuple[int, str], Process] = {}
    started = time.monotonic()
    wait = 0.02
    while True:
        left = list(find())
        elapsed = time.monotonic() - started
        if not left:
            return list(ended.values())
        if elapsed > patience_seconds + 10:
            names = ", ".join(f"{process.pid} ({process.command[:60]})" for process in left)
            raise TimeoutError(f"cannot end process {names}: end it by hand")
        for process in left:
            key = (process.pid, process.identity)
            if elapsed > patience_seconds:
                _signal(process, signal.SIGKILL)
            elif key not in ended:
                _signal(process, signal.SIGTERM)
            ended[key] = process
        time.sleep(wait)
        wait = min(wait * 1.5, 0.25)


def _signal(process: Process, number: signal.Signals) -> None:
    if is_alive(process.pid, process.identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _by_proc(run: RunDirectory) -> list[Process]:
    wanted = f"{MARK}={run.mark}".encode()
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = entry.joinpath("environ").read_bytes().split(b"\0")
            command = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            ours = wanted in environment or (
                command.startswith("ray::") and _holds_open(entry, run.ray_dir)
            )
        except (OSError, UnicodeDecodeError):  # ended in the meantime, or another user's
            continue
        pid = int(entry.name)
        if ours and (known := identity(pid)) is not None:
            found.append(Process(pid, known, command.strip()))
    return found


def _holds_open(process: Path, folder: Path) -> bool:
    prefix = f"{folder}/"
    return any(os.readlink(link).startswith(prefix) for link in process.joinpath("fd").iterdir())


def _by_ps(run: RunDirectory) -> list[Process]:
    """`ps` prints the environment behind the command."""
    found = []
    for line in _ps("-E", "-ww", "-U", str(os.getuid()), "-o", "pid=,command=").splitlines():
        pid, _, rest = line.strip().partition(" ")
        ours = f" {MARK}={run.mark} " in f"{rest} "
        if ours and (known := identity(int(pid))) is not None:
            found.append(Process(int(pid), known, rest.split(f" {MARK}=")[0]))
    return found


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the third (state) on: the second may hold anything."""
    try:
        text = _PROC.joinpath(str(pid), "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
