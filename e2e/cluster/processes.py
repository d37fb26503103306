"""Programs that run in the background, written down so that a later command can end them.

A process is known by its id and its start time: an id alone may belong to another by now. Only
what is written down here is ever ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.cluster.errors import DidNotStart

_PATIENCE_SECONDS = 15.0
_TAIL_BYTES = 3000


@dataclass(frozen=True, slots=True)
class Running:
    name: str
    pid: int
    started: str
    """Field 22 of /proc/PID/stat: clock ticks since boot."""


class Processes:
    """The processes of one state folder."""

    def __init__(self, state: Path) -> None:
        self._file = state / "processes.json"
        self._logs = state / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a program unless it runs."""
        if self.alive(name):
            return
        with self.log(name).open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | dict(environment or {}),
                start_new_session=True,
            )
        self._children[process.pid] = process
        others = [each for each in self.recorded() if each.name != name]
        self._write([*others, Running(name, process.pid, started(process.pid) or "")])

    def alive(self, name: str) -> bool:
        return any(each.name == name and self._lives(each) for each in self.recorded())

    def wait(self, name: str, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """Until `ready()`. Raises DidNotStart where `name` ends before, or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive(name):
                raise DidNotStart(f"{name} ended while waiting for {what}.\n{self.tail(name)}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{name}: no {what} after {seconds:g} s.\n{self.tail(name)}")
            time.sleep(0.1)

    def tail(self, name: str) -> str:
        try:
            text = self.log(name).read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            text = ""
        return f"The end of {self.log(name)}:\n{text}"

    def stop(self, *names: str, gently: bool = True) -> None:
        """End processes, the last started first; all where none is named.

        `gently=False` is for what is thrown away whole: nothing is asked to save its state.
        """
        known = self.recorded()
        chosen = [each for each in reversed(known) if not names or each.name in names]
        for each in chosen:
            self._end(each, signal.SIGTERM if gently else signal.SIGKILL)
        gone = {each.pid for each in chosen}
        self._write([each for each in known if each.pid not in gone])

    def _end(self, process: Running, number: signal.Signals) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._lives(process):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            soon = time.monotonic() + 3
            while self._lives(process) and time.monotonic() < soon:
                time.sleep(0.05)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _lives(self, process: Running) -> bool:
        child = self._children.get(process.pid)
        if child is not None and child.poll() is not None:
            return False
        return started(process.pid) == process.started

    def recorded(self) -> list[Running]:
        """What was started and not ended by us, whether it lives or not."""
        try:
            return [Running(**each) for each in json.loads(self._file.read_bytes())]
        except (OSError, ValueError, TypeError):
            return []

    def _write(self, processes: list[Running]) -> None:
        written = self._file.with_suffix(".new")
        written.write_text(json.dumps([asdict(each) for each in processes], indent=2))
        written.rename(self._file)


def started(pid: int) -> str | None:
    """When a process was started, in clock ticks since boot; None where none has the id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
