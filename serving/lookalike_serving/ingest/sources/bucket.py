"""Images in a bucket of S3, Google Cloud Storage or Azure Blob Storage."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from lookalike_crds.buckets import Bucket, object_address
from lookalike_crds.failures import ENTRY_BAD_ID, ENTRY_BAD_METADATA
from lookalike_crds.source_kinds import BucketSource as BucketSpec
from lookalike_crds.source_kinds import S3Source
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, Listed, ObjectStore, open_store
from lookalike_serving.images.buckets.remote_file import RemoteFile
from lookalike_serving.images.buckets.rust_store import comes_after
from lookalike_serving.images.errors import Code
from lookalike_serving.ingest.listing import list_bucket
from lookalike_serving.ingest.sources import archives, inventory
from lookalike_serving.ingest.sources.contents import (
    Holder,
    Inside,
    reading_on,
    shared_contents,
)
from lookalike_serving.ingest.sources.files import SIDECAR, Files, label_kinds
from lookalike_serving.ingest.sources.opening import Opening
from lookalike_serving.ingest.sources.protocol import (
    Entry,
    Gone,
    Item,
    Rejected,
    Seen,
    Skipped,
    SourceError,
    legible,
)

MAX_TABLE_BYTES = 4 * 1024**3
"""Of a metadata file: it is copied to the scratch folder."""

_ASKED_AT_ONCE = 16
_ARCHIVED = "is archived ({}): restore it, or change its storage class"

_Read = Callable[[Holder], AsyncIterator[Sequence[Inside]]]


def open_bucket_source(spec: BucketSpec, opening: Opening) -> BucketSource:
    bucket = spec.as_bucket(opening.secrets)
    assert bucket is not None
    return BucketSource(spec, bucket, opening)


class BucketSource:
    """The objects below a prefix, in the order of keys; a page of them is in memory.

    An object is an image candidate by its key; whether it is one, its content says when it is
    decoded. Keys are told relative to the prefix's folder, as paths of a folder of files are.
    """

    def __init__(self, spec: BucketSpec, bucket: Bucket, opening: Opening) -> None:
        self.name = opening.name
        self.skipped = Skipped()
        self._spec = spec
        self._bucket = bucket
        self._opening = opening
        self._kinds = label_kinds(opening.mapping)
        self._inventory = spec.inventory if isinstance(spec, S3Source) else None
        self._after, self._before = _time(spec.modified_after), _time(spec.modified_before)
        self._store: ObjectStore | None = None
        self._files: Files | None = None
        """For single keys; made again when the metadata file is another one."""
        self._table_version: str | None = None

    async def list(self) -> AsyncIterator[Entry]:
        store = open_store(self._bucket, self._kinds)
        try:
            files = self._new_files(await self._table(store))
            for unreadable in files.unreadable():
                yield unreadable
            root = len(self._bucket.root)
            async with self._reading(store, files) as read, aclosing(self._pages(store)) as pages:
                async for page in pages:
                    listed = [each for each in page if isinstance(each, Listed)]
                    beside = await self._sidecars(store, files, listed, self._inventory is None)
                    for found in page:
                        if isinstance(found, Rejected):
                            yield found
                            continue
                        key = found.key[root:]
                        if files.is_archive(key):
                            async for entry in self._members(files, key, found, read):
                                yield entry
                        elif (image := self._one(files, key, found, beside)) is not None:
                            yield image
            for warning in files.warnings():
                yield warning
        except BucketError as error:
            told = f"source {self.name}: {error}"
            raise SourceError(told, error.failure_kind) from None

    async def _pages(self, store: ObjectStore) -> AsyncGenerator[Sequence[Listed | Rejected], None]:
        """Every object, a page at a time. Raises SourceError and BucketError."""
        after = self._spec.start_after
        if self._inventory is None:
            place = f"{self.name} {self._bucket} {self._kinds}"
            prefix, together = self._bucket.prefix, self._opening.together
            async with aclosing(list_bucket(store, together, place, prefix, after)) as pages:
                async for page in pages:
                    yield page
            return
        async for found in inventory.objects(self._inventory, self._bucket, self.name):
            yield [
                each for each in found if isinstance(each, Rejected) or comes_after(each.key, after)
            ]

    def goes_through_all(self, key: str) -> bool:
        return key == self._opening.mapping.file

    async def look(self, keys: Iterable[str]) -> Sequence[Seen]:
        store = self._opened()
        room = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def one(key: str) -> Seen:
            async with room:
                found = await store.look(self._bucket.root + key)
            version = None if found is None else found.version
            return Seen(key, version, found, self.goes_through_all(key))

        try:
            wanted = dict.fromkeys(keys)
            if self._opening.mapping.sidecars:
                for key in [key for key in wanted if key.endswith(SIDECAR)]:
                    wanted |= dict.fromkeys(await self._described_by(store, key))
            return await asyncio.gather(*(one(key) for key in wanted if self._is_listed(key)))
        except BucketError as error:
            told = f"source {self.name}: {error}"
            raise SourceError(told, error.failure_kind) from None

    async def _described_by(self, store: ObjectStore, sidecar: str) -> Sequence[str]:
        """The images that a sidecar describes, which are next to it."""
        stem = sidecar.removesuffix(SIDECAR)
        root = self._bucket.root
        async for page in store.list(f"{root}{stem}."):
            return [
                each.key[len(root) :]
                for each in page
                if posixpath.splitext(each.key)[0] == root + stem
            ]
        return []

    def _is_listed(self, key: str) -> bool:
        """Whether a listing would come to the object, if it is there."""
        whole = self._bucket.root + key
        within = whole.startswith(self._bucket.prefix)
        return within and comes_after(whole, self._spec.start_after)

    async def entries(self, seen: Iterable[Seen]) -> AsyncIterator[Entry | Gone]:
        store = self._opened()
        try:
            files = await self._files_for_keys(store)
            seen = list(seen)
            present = [each.found for each in seen if each.found is not None]
            beside = await self._sidecars(store, files, present, ordered=False)
            labels = await self._labels(store, files, present)
            for each in seen:
                one: Entry | Gone | None
                if each.found is None:
                    one = files.gone(each.key, self._address(each.key))
                elif files.is_archive(each.key):
                    read = partial(self._read, store, files)
                    async for entry in self._members(files, each.key, each.found, read):
                        yield entry
                    continue
                else:
                    found = replace(each.found, labels=labels.get(each.found.key))
                    one = self._one(files, each.key, found, beside)
                if one is not None:
                    yield one
        except BucketError as error:
            told = f"source {self.name}: {error}"
            raise SourceError(told, error.failure_kind) from None

    def key_of(self, uri: str) -> str | None:
        address = None if "#" in uri else object_address(uri)
        if address is None or not self._bucket.may_read(address):
            return None
        return address.key[len(self._bucket.root) :]

    def _address(self, key: str) -> str:
        return self._bucket.address(self._bucket.root + key)

    def _opened(self) -> ObjectStore:
        if self._store is None:
            self._store = open_store(self._bucket, self._kinds)
        return self._store

    async def _files_for_keys(self, store: ObjectStore) -> Files:
        file = self._opening.mapping.file
        version = None
        if file is not None:
            listed = await store.look(self._bucket.root + file)
            version = None if listed is None else listed.version
        if self._files is None or version != self._table_version:
            table = await self._table(store)
            self._files = await asyncio.to_thread(self._new_files, table)
            self._table_version = version
        return self._files

    def _new_files(self, table: Path | None) -> Files:
        opening = self._opening
        return Files(
            self.name,
            self._spec.glob,
            opening.mapping,
            opening.fields,
            self.skipped,
            table,
            opening.scratch,
            self._spec.image_column,
            archives=self._spec.archives,
        )

    async def _sidecars(
        self, store: ObjectStore, files: Files, page: Sequence[Listed], ordered: bool
    ) -> dict[str, bytes | ImageError]:
        """The sidecars of the images of a page, by key; those that do not exist are left out.

        `ordered`: the page is all that there is between its first and its last key, so that what
        is not in it and would be, does not exist.
        """
        root = len(self._bucket.root)
        keys = [each.key[root:] for each in page]
        wanted = {beside for key in keys if (beside := files.sidecar_of(key)) is not None}
        if ordered and keys:
            there, first, last = set(keys), keys[0].encode(), keys[-1].encode()
            wanted = {k for k in wanted if k in there or not first < k.encode() < last}
        room = asyncio.Semaphore(_ASKED_AT_ONCE)
        found: dict[str, bytes | ImageError] = {}

        async def one(key: str) -> None:
            async with room:
                try:
                    found[key] = await store.read(self._bucket.root + key, archives.MOST_METADATA)
                except ImageError as error:
                    if error.code is not Code.NOT_FOUND:
                        found[key] = error

        await asyncio.gather(*(one(key) for key in wanted))
        return found

    async def _labels(
        self, store: ObjectStore, files: Files, found: Sequence[Listed]
    ) -> dict[str, Mapping[str, str]]:
        """The labels of images that are looked at one by one, by the object's key: a changed tag is
        seen here although the object is the same. Raises BucketError."""
        root = len(self._bucket.root)
        room = asyncio.Semaphore(_ASKED_AT_ONCE)
        told: dict[str, Mapping[str, str]] = {}

        async def one(key: str) -> None:
            async with room:
                with suppress(ImageError):  # it is gone, which reading it tells
                    told[key] = await store.labels(key)

        wanted = [each.key for each in found if self._kinds and files.is_image(each.key[root:])]
        await asyncio.gather(*(one(key) for key in wanted))
        return told

    def _one(
        self, files: Files, key: str, found: Listed, beside: Mapping[str, bytes | ImageError]
    ) -> Entry | None:
        """What becomes of an object that is no archive; None if it stands for a folder, or is no
        image."""
        if key.endswith("/") or not key or not files.wants(key):
            return None
        sidecar = files.sidecar_of(key)
        return self._entry(files, key, found, None if sidecar is None else beside.get(sidecar))

    async def _members(
        self, files: Files, key: str, found: Listed, read: _Read
    ) -> AsyncIterator[Entry]:
        """The images of an archive."""
        uri = self._bucket.address(found.key)
        if found.archived is not None:
            yield Rejected(legible(key), _ARCHIVED.format(found.archived), uri, hides=True)
            return
        holder = Holder(found.key, found.version, found.bytes)
        modified = found.modified.timestamp()
        async for entry in files.archive(key, uri, found.version, modified, read(holder)):
            yield entry

    def _read(
        self, store: ObjectStore, files: Files, holder: Holder
    ) -> AsyncGenerator[Sequence[Inside], None]:
        """What is in an archive, of which headers are read by ranges."""
        loop = asyncio.get_running_loop()

        def opened() -> BinaryIO:
            read = partial(store.read_range, holder.key)
            return cast("BinaryIO", RemoteFile(holder.bytes, read, loop))

        return files.read(holder.key, opened)

    @asynccontextmanager
    async def _reading(self, store: ObjectStore, files: Files) -> AsyncIterator[_Read]:
        """How archives are read that a listing comes to: by one process for all that share it."""
        together = self._opening.together
        read = partial(self._read, store, files)
        if together is None or not self._spec.archives:
            yield read
            return
        root = len(self._bucket.root)

        async def holders() -> AsyncGenerator[Holder, None]:
            async with aclosing(self._pages(store)) as pages:
                async for page in pages:
                    for each in page:
                        if isinstance(each, Rejected) or each.archived is not None:
                            continue
                        if files.is_archive(each.key[root:]):
                            yield Holder(each.key, each.version, each.bytes)

        place = f"{self.name} {self._bucket} contents"
        async with together.sharing(place, reading_on(read, holders)) as shared:
            yield partial(shared_contents, shared)

    def _entry(
        self, files: Files, key: str, found: Listed, beside: bytes | ImageError | None
    ) -> Entry:
        uri = self._bucket.address(found.key)
        if found.archived is not None:
            return files.leave_out(_ARCHIVED.format(found.archived), key, uri)
        if (outside := self._outside(found)) is not None:
            return files.leave_out(outside, key, uri)
        if not found.key.isprintable():
            told = "has a key with control characters: rename it"
            return Rejected(legible(key), told, uri, ENTRY_BAD_ID)
        if isinstance(beside, ImageError):
            told = f"its metadata cannot be read: {beside.message}"
            return Rejected(legible(key), told, uri, ENTRY_BAD_METADATA)
        facts = (key, uri, found.version, found.bytes, found.modified.timestamp())
        if files.sidecar_of(key) is None:
            return self._stale(files.entry(*facts, labels=found.labels))
        return self._stale(files.with_sidecar(*facts, beside, found.labels))

    def _stale(self, entry: Entry) -> Entry:
        """What an inventory tells may be gone by now."""
        if self._inventory is None or not isinstance(entry, Item):
            return entry
        return replace(entry, if_gone=inventory.GONE)

    def _outside(self, found: Listed) -> str | None:
        """Why an object is not among those that the source asks for; None if it is."""
        spec = self._spec
        if found.bytes < spec.min_bytes:
            few = f"is smaller than minBytes ({spec.min_bytes:,})"
            return few if found.bytes else "has no bytes"
        if spec.max_bytes is not None and found.bytes > spec.max_bytes:
            return f"is larger than maxBytes ({spec.max_bytes:,})"
        if self._after is not None and found.modified < self._after:
            return "was last modified before modifiedAfter"
        if self._before is not None and found.modified >= self._before:
            return "was last modified at modifiedBefore or later"
        return None

    async def _table(self, store: ObjectStore) -> Path | None:
        """The metadata file, copied to this machine. Raises SourceError and BucketError."""
        file = self._opening.mapping.file
        if file is None:
            return None
        key = self._bucket.root + file
        try:
            data = await store.read(key, MAX_TABLE_BYTES)
        except ImageError as error:
            told = f"source {self.name}: metadata.file {file}: {error.message}"
            raise SourceError(told) from None
        copied = self._opening.scratch / f"{self.name}-{Path(file).name}"
        copied.write_bytes(data)
        return copied


def _time(said: str | None) -> datetime | None:
    return None if said is None else datetime.fromisoformat(said)
