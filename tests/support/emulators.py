"""Emulators of cloud services, as child processes on loopback."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

_START_SECONDS = 60


@contextlib.contextmanager
def emulator(
    name: str, command: Sequence[str], url: str, folder: Path | None = None
) -> Iterator[None]:
    """Runs from when it answers at `url`, in any way, until the end of the block.

    `folder`: where it writes what it writes.
    """
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url)
                break
            assert process.poll() is None, f"{name} ended"
            assert time.monotonic() < until, f"{name} does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
