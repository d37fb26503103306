"""Unusual images are decoded by a process of its own, within memory and time, and ended otherwise.

    decode_image -> cost: unusual -> a child that waits -> pixels, or an ImageError

Children are started when they are first needed, half as many as there are cores, at a lower
priority: what they do never keeps an ordinary image waiting. The kernel bounds their memory
(RLIMIT_AS) and their CPU time for each image (RLIMIT_CPU); a clock in the parent bounds the rest. A
child that was ended is replaced; one that has nothing to do goes away.

    python -m lookalike_serving.images.isolated        the child's side
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lookalike_serving.images.errors import Code, ImageError

MEMORY_BYTES = 1536 * 1024**2
"""What a child may take on top of its programs."""
CPU_SECONDS = 10
_WALL_SECONDS = 120.0
_IDLE_SECONDS = 120.0
_LENGTH = struct.Struct("<Q")

Decoded = tuple[dict[str, Any], NDArray[np.uint8]]


def decode(
    data: bytes, min_side: int | None, max_pixels: int, cpu_seconds: int = CPU_SECONDS
) -> Decoded:
    """(facts, pixels) from a child. Waits for a free one. Raises ImageError."""
    free = _children()
    child = free.get()
    try:
        if child is None or child.ended:
            child = _Child()
        try:
            return child.decode(data, min_side, max_pixels, cpu_seconds)
        except _WentIdle:
            child = _Child()
            return child.decode(data, min_side, max_pixels, cpu_seconds)
    finally:
        free.put(child)


class _WentIdle(Exception):
    """The child left just when it was needed."""


class _Child:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def decode(
        self, data: bytes, min_side: int | None, max_pixels: int, cpu_seconds: int
    ) -> Decoded:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        clock = threading.Timer(_WALL_SECONDS, process.kill)
        clock.daemon = True
        clock.start()
        try:
            _send(process.stdin, json.dumps([min_side, max_pixels, cpu_seconds]).encode(), data)
            facts = json.loads(_receive(process.stdout))
            pixels = _receive(process.stdout)
        except (OSError, EOFError):
            raise self._death(cpu_seconds) from None
        finally:
            clock.cancel()
        if "code" in facts:
            raise ImageError(Code(facts["code"]), facts["message"])
        return facts, np.frombuffer(pixels, np.uint8).reshape(facts.pop("shape"))

    def _death(self, cpu_seconds: int) -> Exception:
        process = self._process
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        code = process.wait()
        if code == 0:
            return _WentIdle()
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            bound = f"{cpu_seconds} seconds of processor time"
        else:
            bound = f"{MEMORY_BYTES // 1024**2:,} MiB of memory"
        return ImageError(
            Code.TOO_COSTLY,
            f"the image takes more than {bound} to decode: export it again as a plain JPEG or PNG",
        )


_lock = threading.Lock()
_slots: list[queue.LifoQueue[_Child | None]] = []


def _children() -> queue.LifoQueue[_Child | None]:
    """The children that are free, and places for those not started yet."""
    # Here, since the embedders import this package.
    from lookalike_serving.machine.cpus import usable_cpus

    with _lock:
        if not _slots:
            free: queue.LifoQueue[_Child | None] = queue.LifoQueue()
            for _ in range(max(1, usable_cpus() // 2)):
                free.put(None)
            _slots.append(free)
        return _slots[0]


def _send(pipe: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        pipe.write(_LENGTH.pack(len(part)))
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """One part. Raises EOFError."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (size,) = _LENGTH.unpack(head)
    part = pipe.read(size)
    if len(part) < size:
        raise EOFError
    return part


def _main() -> None:
    from lookalike_serving.images.decode import decode_here

    source, target = sys.stdin.buffer, sys.stdout.buffer
    os.nice(10)
    _bound_memory()
    while select.select([source], [], [], _IDLE_SECONDS)[0]:
        try:
            asked = _receive(source)
        except EOFError:
            return
        data = _receive(source)
        min_side, max_pixels, cpu_seconds = json.loads(asked)
        _bound_time(cpu_seconds)
        pixels = b""
        try:
            image = decode_here(data, min_side=min_side, max_pixels=max_pixels)
        except ImageError as error:
            facts: dict[str, Any] = {"code": error.code, "message": error.message}
        else:
            facts = {
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "warnings": image.warnings,
                "box": image.box,
                "exif": base64.b64encode(image.exif).decode(),
                "shape": image.pixels.shape,
            }
            pixels = image.pixels.tobytes()
        _send(target, json.dumps(facts).encode(), pixels)


def _bound_memory() -> None:
    """From here on, MEMORY_BYTES more than what is mapped already."""
    import resource

    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _bound_time(seconds: int) -> None:
    """So many seconds of processor time from now, rounded up."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    _main()
