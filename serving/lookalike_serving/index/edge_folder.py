"""The folder of an Edge index: one lock, one manifest, one shard that counts.

    <folder>/lock            held (flock) by the one process that has the index open, and by the
                             process of its shard if that is large (`edge_process.py`)
    <folder>/lookalike.json  the manifest: what the index was made for, which shard counts
    <folder>/shard-<n>/      Qdrant Edge's own files

The manifest is replaced atomically, so that changing its `generation` swaps one shard for
another at once (see `edge_optimize.py`): whatever was killed when, the folder holds exactly one
shard that counts, and shards of other generations are leftovers, removed at the next opening.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lookalike_crds.ownership import IndexOwner, is_anothers
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch, IndexUnavailable
from lookalike_serving.index.spaces import CopySpace
from lookalike_serving.machine.edge_places import MANIFEST

_LOCK_POLL_SECONDS = 0.05


class Manifest(BaseModel):
    """What an index was made for. `None`s: an index of payloads only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    generation: int = 1
    dimension: int | None
    distance: str | None
    fingerprint: str | None
    datatype: Literal["Float32", "Float16"] | None
    settings: str
    """The vector settings (HNSW, quantisation) that the shard was last optimised with."""
    written: int = 0
    """Points written since then, noted now and again. Edge itself does not tell: a point that is
    written again waits outside the graph, but still counts as indexed."""
    built: int = 0
    """Points in the shard when it was last optimised as a whole; its thresholds follow from it."""
    beside: int = 0
    """Points that were written since then and have graphs of their own: see edge_growth.py."""
    owner: IndexOwner | None = None
    """Whose it is; None in folders of early releases, until somebody opens them."""
    model: str | None = None
    """What it was made for in words, for people: the fingerprint is what counts."""
    copy_dimension: int | None = None
    copy_fingerprint: str | None = None
    """Of the copy model; None if it has none."""
    types: dict[str, str] = {}
    former_types: dict[str, list[str]] = {}
    """Of its fields: see payload_indexes.py."""

    @property
    def copies(self) -> CopySpace | None:
        if self.copy_dimension is None or self.copy_fingerprint is None:
            return None
        return CopySpace(self.copy_dimension, self.copy_fingerprint)

    def as_json(self) -> str:
        # What earlier releases do not know is left out as long as it says nothing.
        silent = {"copy_dimension", "copy_fingerprint"} if self.copies is None else None
        return json.dumps(self.model_dump(exclude=silent), indent=2)

    def check_owner(self, where: Path, owner: IndexOwner | None) -> None:
        """Raises IndexMismatch if the index is another's than `owner`'s."""
        if is_anothers(self.owner, owner):
            raise IndexMismatch(
                f"the index in {where} belongs to {self.owner}, and is opened for {owner}: give "
                "this one a folder of its own, or delete the folder and ingest again"
            )

    def check(
        self,
        where: Path,
        dimension: int | None,
        distance: str | None,
        fingerprint: str | None,
        copies: CopySpace | None = None,
    ) -> None:
        """Raises IndexMismatch if the index was made for something else than the arguments."""
        for name, stored, wanted in (
            ("dimension", self.dimension, dimension),
            ("distance", self.distance, distance),
            ("model fingerprint", self.fingerprint, fingerprint),
            ("copy model fingerprint", self.copy_fingerprint, copies and copies.fingerprint),
        ):
            if stored != wanted:
                raise IndexMismatch(
                    f"the index in {where} has {name} {stored}, and the configuration {wanted}: "
                    "configure what it was created for, or give the collection another "
                    "index.path (or delete the folder) and ingest again"
                )


class EdgeFolder:
    """An Edge index's folder, locked by this process until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    async def acquire(cls, path: Path, wait_seconds: float) -> EdgeFolder:
        """Create the folder if it is missing, and lock it.

        A holder that is just ending is waited for, `wait_seconds` at most; then raises
        IndexUnavailable.
        """
        lock = _opened_lock(path)
        give_up = time.monotonic() + wait_seconds
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if cls(path, lock).is_present:
                        break
                    # Who held it has dropped the folder.
                    dropped, lock = lock, _opened_lock(path)
                    os.close(dropped)
                    continue
                except BlockingIOError:
                    if time.monotonic() >= give_up:
                        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
                        raise IndexUnavailable(
                            f"the index in {path} is already open"
                            f"{f' in process {holder}' if holder else ''}, still after "
                            f"{wait_seconds:g} s: one process opens an Edge index at a time; "
                            "end that one, or use engine: Qdrant for several"
                        ) from None
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    @property
    def lock(self) -> int:
        """The lock's descriptor. A process that inherits it holds the lock as long as it lives."""
        return self._lock

    def release(self) -> None:
        os.close(self._lock)

    @property
    def is_present(self) -> bool:
        """Whether the path still leads to the folder that was opened."""
        try:
            there = os.stat(self.path / "lock")
        except FileNotFoundError:
            return False
        here = os.fstat(self._lock)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def check_present(self) -> None:
        """Raises IndexUnavailable if the folder was deleted or replaced under us.

        Writes would go on succeeding, into files that no longer have a name.
        """
        if not self.is_present:
            raise IndexUnavailable(
                f"the index folder {self.path} was deleted or replaced while open: "
                "restart the process and ingest again"
            )

    def shard(self, generation: int) -> Path:
        return self.path / f"shard-{generation}"

    def read_manifest(self) -> Manifest | None:
        """The manifest; None if the folder holds no index yet."""
        try:
            text = (self.path / MANIFEST).read_text()
        except FileNotFoundError:
            self._check_vacant()
            return None
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            raise IndexFailure(
                f"{self.path / MANIFEST} cannot be read: {error.errors()[0]['msg']}; "
                "restore the folder from a backup, or delete it and ingest again"
            ) from error

    def _check_vacant(self) -> None:
        # The manifest is written right after the first shard, before any point: what a killed
        # creation leaves behind is an empty shard-1. Anything more is somebody's data.
        foreign = [
            entry.name
            for entry in self.path.iterdir()
            if entry.name not in {"lock", "lookalike.json.new", "shard-1"}
        ]
        if foreign:
            raise IndexMismatch(
                f"the folder {self.path} has other files ({', '.join(sorted(foreign)[:3])}) but "
                "no lookalike.json: choose an empty folder, or restore that file"
            )

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest: after this call the new one counts, whatever is killed."""
        new = self.path / "lookalike.json.new"
        with open(new, "w") as file:
            file.write(manifest.as_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path / MANIFEST)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove_leftovers(self, generation: int | None) -> None:
        """Remove shards other than `generation` (None: all of them)."""
        keep = None if generation is None else self.shard(generation).name
        for entry in self.path.glob("shard-*"):
            if entry.name != keep:
                shutil.rmtree(entry, ignore_errors=True)

    def drop(self) -> None:
        """Delete the folder and release the lock."""
        # The manifest first: a half-deleted folder must not look like an index.
        with contextlib.suppress(FileNotFoundError):
            (self.path / MANIFEST).unlink()
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()


def _opened_lock(path: Path) -> int:
    """A descriptor of the folder's lock file; both are created if they are missing."""
    try:
        os.makedirs(path, exist_ok=True)
        return os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise IndexFailure(
            f"the index folder {path} cannot be used: {error.strerror}; "
            "choose a folder that can be written"
        ) from error
