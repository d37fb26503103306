"""Fetch a large file in parts, once: resumed after a cut, verified, and by one process at a time.

    FILE              whole and verified, or not there
    FILE + .part      what has arrived, at its place
    FILE + .part.json which version it is of, and which parts have arrived
    FILE + .lock      locked by the process that fetches

Several pods that share a folder fetch once: the others wait for the lock, and then find the file.
The kernel gives up the lock of a process that is killed, and the next one continues where it was.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_serving.embed.arriving import Arriving
from lookalike_serving.embed.protocol import WeightsUnreachable
from lookalike_serving.machine.disk import free_bytes
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.locks import locked

PART = 32 * 1024 * 1024
_AT_ONCE = 4
_TRIES = 4
_TELL_SECONDS = 10.0
_MEGABYTE = 1_000_000

log = logging.getLogger("lookalike.models")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file somewhere else."""

    said: str
    """What messages call it."""
    version: str
    """Changes with its content."""
    size: int
    read_range: Callable[[int, int], Awaitable[bytes]]
    """`(start, length)` -> bytes."""
    sha256: str | None = None
    """If the place tells it."""


class Damaged(WeightsUnreachable):
    """What arrived is not what was announced. It is removed, so another attempt is a new one."""


def only_one(file: Path, said: str) -> AbstractContextManager[bool]:
    """Hold the lock of `file`, waiting for it if another process has it. On a file system without
    locks, two processes may fetch the same file, each in full."""

    def waits() -> None:
        log.info("%s is being fetched by another process: waiting for it", said)

    return locked(file.with_name(f"{file.name}.lock"), waits)


async def fetch(remote: Remote, file: Path, *, part: int = PART) -> None:
    """Fetch `remote` into `file`; the caller holds `only_one`.

    Raises OSError if the disk is full, Damaged, and what `read_range` raises at its last try.
    """
    scratch, notes = (file.with_name(f"{file.name}.{end}") for end in ("part", "part.json"))
    arrived = _arrived(notes, scratch, remote, part)
    missing = [start for start in range(0, remote.size, part) if start not in arrived]
    _check_room(file, sum(min(part, remote.size - start) for start in missing), remote.said)
    progress = _Progress(remote, file, sum(min(part, remote.size - start) for start in arrived))
    if arrived:
        log.info("%s: continuing where an earlier attempt ended", remote.said)
    room = asyncio.Semaphore(_AT_ONCE)
    mode = "r+b" if arrived else "wb"
    with closing(progress), scratch.open(mode) as out:

        async def one(start: int) -> None:
            async with room:
                data = await _read(remote, start, min(part, remote.size - start))
                await asyncio.to_thread(_put, out.fileno(), data, start)
                arrived.add(start)
                # After the data: a note never promises what is not there.
                said = {**_identity(remote, part), "arrived": sorted(arrived)}
                write_atomically(notes, json.dumps(said).encode(), durable=False)
                progress.add(len(data))

        async with asyncio.TaskGroup() as group:
            for start in missing:
                group.create_task(one(start))
    if remote.sha256 is not None:
        await asyncio.to_thread(_verify, scratch, notes, remote)
    scratch.replace(file)
    notes.unlink(missing_ok=True)


async def _read(remote: Remote, start: int, length: int) -> bytes:
    for turn in range(1, _TRIES + 1):
        try:
            data = await remote.read_range(start, length)
        except Exception:
            if turn == _TRIES:
                raise
        else:
            if len(data) == length:
                return data
            if turn == _TRIES:
                raise Damaged(
                    f"{remote.said}: {len(data)} bytes from {start} on arrived, not {length}: it "
                    "changed while it was read, or the connection was cut; try again"
                )
        await asyncio.sleep(0.2 * 2**turn)
    raise AssertionError("unreachable")


def _put(handle: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, start)
        view, start = view[written:], start + written
    os.fsync(handle)


def _verify(scratch: Path, notes: Path, remote: Remote) -> None:
    with scratch.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != remote.sha256:
        notes.unlink(missing_ok=True)
        scratch.unlink(missing_ok=True)
        raise Damaged(
            f"{remote.said} has the SHA-256 {found}, and {remote.sha256} was announced: it was "
            "damaged on its way or at its place. Put it there again, or correct what was announced"
        )


def _check_room(file: Path, needed: int, said: str) -> None:
    free = free_bytes(file.parent)
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{said} needs {needed // _MEGABYTE + 1} MB, and {free // _MEGABYTE} MB are free: make "
            "room, or use a larger volume",
            str(file.parent),
        )


def _identity(remote: Remote, part: int) -> dict[str, Any]:
    return {"version": remote.version, "size": remote.size, "part": part}


def _arrived(notes: Path, scratch: Path, remote: Remote, part: int) -> set[int]:
    """Where the parts begin that an earlier attempt has brought of the same version."""
    try:
        said = json.loads(notes.read_text("utf-8"))
        if {key: said[key] for key in ("version", "size", "part")} != _identity(remote, part):
            return set()
        there = scratch.stat().st_size
        return {
            start
            for start in map(int, said["arrived"])
            if start % part == 0 and start + min(part, remote.size - start) <= there
        }
    except (OSError, ValueError, KeyError, TypeError):
        return set()


class _Progress:
    def __init__(self, remote: Remote, file: Path, done: int) -> None:
        self._remote, self._done = remote, done
        self._note = Arriving(file, remote.size, done)
        self._told = time.monotonic()

    def close(self) -> None:
        self._note.close()

    def add(self, count: int) -> None:
        self._done += count
        self._note.add(count)
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS or self._done == self._remote.size:
            self._told = now
            done, total = self._done // _MEGABYTE, self._remote.size // _MEGABYTE
            log.info("%s: %d of %d MB", self._remote.said, done, total)
