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
from lookalike_serving.images.buckets.protocol import Listed, ObjectStore
from lookalike_serving.images.buckets.remote_file import RemoteFile
from lookalike_serving.images.cells import Cells
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.members import Cell, split

__all__ = ["BucketError", "Buckets", "Listed", "ObjectStore", "open_store"]

log = logging.getLogger("lookalike.images")

_SERVICES: Mapping[str, str] = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""Scheme -> module here that has `open_bucket`. Imported when a bucket is opened: the clients take
time and memory that nobody needs who has no bucket."""


_SIZE_SECONDS = 10.0
"""For so long an object that holds many images is not asked for its size again."""


def open_store(bucket: Bucket) -> ObjectStore:
    """A client for one bucket. Nothing is asked of the service yet."""
    module = import_module(f"{__name__}.{_SERVICES[bucket.scheme]}")
    opened: Callable[[Bucket], ObjectStore] = module.open_bucket
    return opened(bucket)


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
        self._open: dict[Bucket, ObjectStore] = {}
        self._cells = Cells(max_bytes)
        self._sizes: TTLCache[str, int] = TTLCache(64, _SIZE_SECONDS)
        self.take(buckets)

    def take(self, buckets: Iterable[Bucket]) -> None:
        """Read objects of these buckets from now on."""
        self._declared = tuple(dict.fromkeys(buckets))
        self._open = {b: store for b, store in self._open.items() if b in self._declared}

    async def read(self, address: str) -> bytes:
        """The object's bytes. Raises ImageError: `forbidden_path` if it lies in no declared
        bucket."""
        where, part = split(address, self._max_bytes)
        parsed = object_address(where)
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
        store = self._open.get(bucket)
        if store is None:
            store = self._open[bucket] = open_store(bucket)
        try:
            if isinstance(part, Cell):
                return await self._cell(store, where, parsed.key, part)
            if part is not None:
                return await store.read_range(parsed.key, part.start, part.length)
            return await store.read(parsed.key, self._max_bytes)
        except BucketError as error:
            unreachable = error.failure_kind is BUCKET_UNREACHABLE
            code = Code.UNREACHABLE if unreachable else Code.ACCESS_DENIED
            if not self._discreet:
                raise ImageError(code, str(error)) from None
            log.warning("an image cannot be read: %s", error)
            raise ImageError(
                code,
                f"{where[:200]} cannot be read from its bucket ({error.failure_kind}): try again "
                "later; the log of the service has the cause",
            ) from None

    async def _cell(self, store: ObjectStore, where: str, key: str, cell: Cell) -> bytes:
        """A value of a Parquet file. Raises ImageError and BucketError."""
        size = self._sizes.get(where)
        if size is None:
            size = self._sizes[where] = await store.size(key)
        file = RemoteFile(size, partial(store.read_range, key), asyncio.get_running_loop())
        return await self._cells.read(where, cell, lambda: (cast("BinaryIO", file), str(size)))
