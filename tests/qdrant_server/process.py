"""The stand-in as a process of its own, for as long as a test needs it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_CHECKOUT = Path(__file__).resolve().parents[2]
_START_SECONDS = 120
"""Importing takes two seconds, on a machine with much else to do many more."""
_END_SECONDS = 30


@dataclass(frozen=True, slots=True)
class StandIn:
    """A running stand-in, and what can be done to it."""

    url: str
    grpc_port: int

    def faults(self, **faults: Any) -> None:
        """From now on these, and no others: see `faults.Faults`."""
        answer = httpx.post(f"{self.url}/__faults", json=faults, timeout=_END_SECONDS)
        if answer.status_code != 200:
            raise ValueError(answer.text)

    def heal(self) -> None:
        """No faults."""
        httpx.delete(f"{self.url}/__faults", timeout=_END_SECONDS).raise_for_status()

    def calls(self, method: str) -> int:
        """How often `Points/Upsert`, say, was called since the start."""
        answer = httpx.get(f"{self.url}/__faults", timeout=_END_SECONDS)
        return int(answer.raise_for_status().json()["calls"].get(method, 0))

    def lose(self, collection: str) -> None:
        """Delete the collection behind everybody's back."""
        answer = httpx.delete(f"{self.url}/__collections/{collection}", timeout=_END_SECONDS)
        if not answer.raise_for_status().json()["deleted"]:
            raise ValueError(f"there is no collection {collection} at {self.url}")


@contextmanager
def running(
    *,
    api_key: str | None = None,
    version: str | None = None,
    http_port: int = 0,
    grpc_port: int = 0,
) -> Iterator[StandIn]:
    """Start one, answer it once both ports do, end it. Ports 0: any free ones."""
    with tempfile.TemporaryDirectory(prefix="qdrant-") as folder:
        ready, log = Path(folder) / "ready.json", Path(folder) / "log"
        command = [sys.executable, "-m", "tests.qdrant_server", "--ready-file", str(ready)]
        command += ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
        if api_key is not None:
            command += ["--api-key", api_key]
        if version is not None:
            command += ["--version", version]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=_CHECKOUT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            _wait(process, ready, log)
            ports = json.loads(ready.read_text())
            yield StandIn(f"http://127.0.0.1:{ports['http']}", ports["grpc"])
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready.exists():
        if process.poll() is not None:
            raise RuntimeError(f"the stand-in ended at its start: {log.read_text()[-2000:]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the stand-in has not started within {_START_SECONDS} s")
        time.sleep(0.02)
