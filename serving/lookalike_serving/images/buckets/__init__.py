"""Objects of the buckets that sources declare: listed, and read by their address.

    declared bucket --its scheme--> one file that knows the service --> pages of objects, bytes

An address alone opens nothing: it must lie in a declared bucket, below its prefix, and is read with
that bucket's credentials at that bucket's endpoint. So an address that a caller or a manifest names
leads to no other place than those that the collection's author has named.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import BinaryIO, cast

from cachetools import TTLCache

from lookalike_crds.buckets import SCHEMES, Bucket, declared, object_address
from lookalike_crds.failures import BUCKET_UNREACHABLE
from lookalike_serving.images.buckets.errors import BucketError
from lookalike_serving.images.buckets.protocol import (
    NO_LABELS,
    LabelKinds,
    Listed,
    ObjectStore,
)
from lookalike_serving.images.buckets.remote_file import RemoteFile
from lookalike_serving.images.cells import Cells
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.members import Cell, split

__all__ = ["BucketError", "Buckets", "LabelKinds", "Listed", "ObjectStore", "open_store"]

log = logging.getLogger("lookalike.images")

_SERVICES: Mapping[str, str] = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""Scheme -> module here that has `open_bucket`. Imported when a bucket is opened: the clients take
time and memory that nobody needs who has no bucket."""


_SIZE_SECONDS = 10.0
"""For so long an object that holds many images is not asked for its size again."""


def open_store(bucket: Bucket, kinds: LabelKinds = NO_LABELS) -> ObjectStore:
    """A client for one bucket, and for these labels of its objects. Nothing is asked of the service
    yet."""
    module = import_module(f"{__name__}.{_SERVICES[bucket.scheme]}")
    opened: Callable[[Bucket, LabelKinds], ObjectStore] = module.open_bucket
    return opened(bucket, kinds)


class Buckets:
    """Reads objects of some buckets by address. One for an event loop.

    `discreet`: errors are shown to callers, who are not told which Secret is refused and why. The
    log has it.
    """

    schemes = SCHEMES

    def __init__(
        self, buckets: Iterable[Bucket], max_bytes: int, *, discreet: bool = False
    ) -> None:
        self._max_bytes = max_bytes
        self._discreet = discreet
        self._open: dict[tuple[Bucket, LabelKinds], ObjectStore] = {}
        self._cells = Cells(max_bytes)
        self._sizes: TTLCache[str, int] = TTLCache(64, _SIZE_SECONDS)
        self.take(buckets)

    def take(self, buckets: Iterable[Bucket]) -> None:
        """Read objects of these buckets from now on."""
        self._declared = tuple(dict.fromkeys(buckets))
        self._open = {key: store for key, store in self._open.items() if key[0] in self._declared}

    async def read(self, address: str) -> bytes:
        """The object's bytes. Raises ImageError: `forbidden_path` if it lies in no declared
        bucket."""
        where, part = split(address, self._max_bytes)
        store, key = self._store(where, NO_LABELS)
        try:
            if isinstance(part, Cell):
                return await self._cell(store, where, key, part)
            if part is not None:
                return await store.read_range(key, part.start, part.length)
            return await store.read(key, self._max_bytes)
        except BucketError as error:
            raise self._told(where, error) from None

    async def labels(self, address: str, kinds: LabelKinds) -> Mapping[str, str]:
        """The labels of an object. Raises what `read` raises."""
        store, key = self._store(address, kinds)
        try:
            return await store.labels(key)
        except BucketError as error:
            raise self._told(address, error) from None

    async def version(self, address: str) -> str | None:
        """Changes when the object does; None if there is none. Raises what `read` raises."""
        store, key = self._store(address, NO_LABELS)
        try:
            listed = await store.look(key)
        except BucketError as error:
            raise self._told(address, error) from None
        return None if listed is None else listed.version

    def _store(self, address: str, kinds: LabelKinds) -> tuple[ObjectStore, str]:
        """The bucket and the key within it. Raises ImageError."""
        parsed = object_address(address)
        if parsed is None:
            raise ImageError(
                Code.BAD_REFERENCE,
                f"{address[:200]!r} is no address of an object: write it as s3://bucket/key",
            )
        bucket = declared(self._declared, parsed)
        if bucket is None:
            raise ImageError(
                Code.FORBIDDEN_PATH,
                f"{address[:200]} lies in no bucket that a source declares: add a source for it, "
                "or upload the image itself",
            )
        store = self._open.get((bucket, kinds))
        if store is None:
            store = self._open[bucket, kinds] = open_store(bucket, kinds)
        return store, parsed.key

    def _told(self, where: str, error: BucketError) -> ImageError:
        unreachable = error.failure_kind is BUCKET_UNREACHABLE
        code = Code.UNREACHABLE if unreachable else Code.ACCESS_DENIED
        if not self._discreet:
            return ImageError(code, str(error))
        log.warning("an image cannot be read: %s", error)
        return ImageError(
            code,
            f"{where[:200]} cannot be read from its bucket ({error.failure_kind}): try again "
            "later; the log of the service has the cause",
        )

    async def _cell(self, store: ObjectStore, where: str, key: str, cell: Cell) -> bytes:
        """A value of a Parquet file. Raises ImageError and BucketError."""
        size = self._sizes.get(where)
        if size is None:
            size = self._sizes[where] = await store.size(key)
        file = RemoteFile(size, partial(store.read_range, key), asyncio.get_running_loop())
        return await self._cells.read(where, cell, lambda: (cast("BinaryIO", file), str(size)))
