"""Starting the server process, and learning from its files how it fares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_cli.failure import Failure
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import Phase, RunDirectory, State

if TYPE_CHECKING:
    from lookalike_cli.rendering import Rendered

_POLL_SECONDS = 0.1
_ENDING_SECONDS = 60.0
_LEAST_FREE_BYTES = 256 << 20
"""Edge reserves write-ahead logs and segments ahead; a server without room dies of a bus error."""
_FULL_BYTES = 8 << 20
_TAIL_BYTES = 65536
_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Start:
    """How the server is to be started."""

    data_dir: Path
    host: str
    port: int
    api_keys_file: Path | None
    detached: bool
    ingest: bool


@dataclass(slots=True)
class ServerProcess:
    """The server process, as its parent sees it."""

    run: RunDirectory
    process: subprocess.Popen[bytes]
    _lifeline: int | None = field(default=None)
    """Write end of the pipe whose end is the server's; held open, never written."""

    def state(self) -> State | None:
        """What this process – not an earlier one – has written."""
        state = self.run.read_state()
        return state if state is not None and state.pid == self.process.pid else None

    def state_while_alive(self) -> State | None:
        """The same. Raises Failure if it has ended."""
        if self.process.poll() is not None:
            raise self.failure()
        return self.state()

    def wait_until_ready(self, waiting: Callable[[], None]) -> State:
        """Raises Failure with the cause where it ends before; calls `waiting` again and again."""
        while True:
            ended = self.process.poll() is not None
            state = self.state()
            if ended or (state is not None and state.phase is Phase.FAILED):
                raise self.failure()
            if state is not None and state.phase is Phase.READY:
                return state
            waiting()
            time.sleep(_POLL_SECONDS)

    def failure(self) -> Failure:
        """Why the server ended, in its own words, or else with the end of its log."""
        self.process.wait()
        state = self.state()
        if state is not None and state.error:
            return Failure(
                f"the server did not start: {state.error}\nIts log: {self.run.server_log}"
            )
        code = self.process.returncode
        how = f"signal {-code} ended it" if code < 0 else f"it ended with code {code}"
        if shutil.disk_usage(self.run.path).free < _FULL_BYTES:
            how += f", and the disk of {self.run.data_dir} is full"
        tail = "\n".join(f"  {line}" for line in last_lines(self.run.server_log))
        return Failure(f"the server has ended: {how}. The end of {self.run.server_log}:\n{tail}")

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.terminate()
        try:
            self.process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        processes.end(lambda: processes.of_run(self.run))


def claim(data_dir: Path, waiting: Callable[[str], None]) -> RunDirectory:
    """The data directory, free to be used.

    A server that is about to end, since the `up` it belonged to has, is waited for. Raises Failure
    where one lives, or the directory cannot be written.
    """
    run = RunDirectory.of(data_dir)
    try:
        run.make_private()
    except (FileExistsError, NotADirectoryError):
        raise Failure(f"--data-dir {data_dir} is a file: name a directory") from None
    except PermissionError as error:
        raise Failure(
            f"--data-dir {data_dir} cannot be written, or belongs to another user and is open to "
            f"others: {error.strerror}: choose another"
        ) from None
    except OSError as error:
        raise Failure(
            f"--data-dir {data_dir} cannot be written: {error.strerror}: choose another"
        ) from None
    free = shutil.disk_usage(run.path).free
    if free < _LEAST_FREE_BYTES:
        raise Failure(
            f"--data-dir {data_dir}: {free >> 20} MiB are free on its disk, and a server needs "
            f"{_LEAST_FREE_BYTES >> 20}: make room, or choose another"
        )
    deadline = time.monotonic() + _ENDING_SECONDS
    while run.is_locked():
        state = run.read_state()
        if state is None or not _is_ending(state):
            raise _in_use(data_dir, state)
        if time.monotonic() > deadline:
            raise _in_use(data_dir, state)
        waiting("waiting for the previous server to end")
        time.sleep(_POLL_SECONDS)
    return run


def spawn(run: RunDirectory, rendered: Rendered, start: Start) -> ServerProcess:
    """Write what the server reads and start it, in a session of its own."""
    rendered.write(run)
    run.state_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lookalike_serving.local"]
    command += ["--config", str(run.serving_config)]
    if start.ingest:
        for path in run.ingestion_configs().values():
            command += ["--ingest", str(path)]
    reading, writing = (None, None) if start.detached else os.pipe()
    if reading is not None:
        command += ["--parent", str(os.getpid()), "--parent-pipe", str(reading)]
    if run.server_log.exists():
        run.server_log.replace(run.server_log.with_suffix(".log.1"))
    with run.server_log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=() if reading is None else (reading,),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    if reading is not None:
        os.close(reading)
    return ServerProcess(run, process, writing)


def last_lines(path: Path) -> list[str]:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]


def _is_ending(state: State) -> bool:
    if state.phase in (Phase.STOPPING, Phase.FAILED):
        return True
    orphaned = state.parent_pid is not None and not processes.is_alive(
        state.parent_pid, state.parent_identity or ""
    )
    return orphaned or not processes.is_alive(state.pid, state.identity)


def _in_use(data_dir: Path, state: State | None) -> Failure:
    who = f"process {state.pid} at {state.url}" if state is not None else "another process"
    return Failure(
        f"--data-dir {data_dir} is in use: {who}. `lookalike apply -f FILE --data-dir "
        f"{data_dir}` applies changed files to it; `lookalike down --data-dir {data_dir}` stops "
        "it"
    )
