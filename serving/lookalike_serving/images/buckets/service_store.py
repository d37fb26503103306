"""One bucket through two clients: the service's own, and `obstore`.

    list, look, labels --> the service's own client: every key, its tier, its labels
    bytes              --> obstore, at a fraction of the CPU time
    bytes of keys that obstore cannot name --> the service's own client

The service's own client also finds the credentials, wherever the service's tools find them, and
`obstore` asks it for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import obstore

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_ACCESS_DENIED, BUCKET_NOT_FOUND
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import (
    BucketError,
    bucket_error,
    code_of,
    leaves_open_what_is_missing,
    no_object,
    object_error,
    stray,
    too_large,
)
from lookalike_serving.images.buckets.opened import Opened
from lookalike_serving.images.buckets.protocol import LabelKinds, Listed
from lookalike_serving.images.errors import ImageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Reads

_T = TypeVar("_T")


class Page(NamedTuple):
    objects: Sequence[Listed]
    next: str | None
    """What the next page is asked for with; None: there is none."""


class Range(NamedTuple):
    start: int
    length: int


class Refusal(NamedTuple):
    """What a service answered, or why it was not asked."""

    code: str | None
    status: int | None
    said: str
    region: str | None = None
    """The bucket's own, if the service told it."""


class _NotSaid(BucketError):
    """Something answered that there is no such thing, and did not say what: see
    `leaves_open_what_is_missing`."""

    def __init__(self, bucket: Bucket, told: Refusal) -> None:
        meant = bucket_error(bucket, told.code, told.status, told.said)
        super().__init__(str(meant), meant.failure_kind)
        self.said = told.said


class Client(Protocol):
    """The service's own client of one bucket. Its methods block, and raise whatever they raise."""

    @property
    def reads(self) -> Reads:
        """obstore's client of the bucket."""
        ...

    @property
    def anonymous(self) -> bool:
        """Whether no credentials were found."""
        ...

    def page(self, prefix: str, after: str | None, token: str | None) -> Page:
        """Objects in the order of keys; those up to `after` may be among them. `token`: of the page
        before."""
        ...

    def head(self, key: str) -> Listed | None: ...

    def labels(self, key: str) -> Mapping[str, str]:
        """Those of the kinds that the client was made for."""
        ...

    def read(self, key: str, part: Range | None) -> bytes: ...

    def refusal(self, error: Exception) -> Refusal | BucketError | None:
        """What an exception of the client says; None if it is of another."""
        ...


class ServiceStore:
    """One bucket of any service. `make` may block; it is given the Secret's values."""

    def __init__(
        self,
        bucket: Bucket,
        kinds: LabelKinds,
        make: Callable[[Bucket, Mapping[str, str] | None, LabelKinds], Client],
    ) -> None:
        self._bucket = bucket
        self._opened: Opened[Client] = Opened(
            bucket, lambda declared, secret: make(declared, secret, kinds)
        )

    async def list(
        self, prefix: str, start_after: str | None = None
    ) -> AsyncIterator[Sequence[Listed]]:
        after = start_after
        while True:
            try:
                async for page in self._pages(await self._opened.client(), prefix, after):
                    yield page
                    after = page[-1].key if page else after
                return
            except BucketError as error:
                if not await self._opened.renew_after(error):
                    raise

    async def _pages(
        self, client: Client, prefix: str, after: str | None
    ) -> AsyncIterator[Sequence[Listed]]:
        def page(token: str | None) -> Page:
            try:
                return client.page(prefix, after, token)
            except Exception as error:
                raise self._told(client, error) from None

        coming: asyncio.Task[Page] | None = asyncio.ensure_future(asyncio.to_thread(page, None))
        try:
            while coming is not None:
                found = await coming
                # The next page comes while this one is gone through.
                coming = (
                    asyncio.ensure_future(asyncio.to_thread(page, found.next))
                    if found.next
                    else None
                )
                # Not every service begins where it was asked to.
                yield [each for each in found.objects if rust_store.comes_after(each.key, after)]
        finally:
            if coming is not None:
                coming.cancel()

    async def look(self, key: str) -> Listed | None:
        try:
            found = await self._asked(key, None, lambda client: client.head(key))
        except (ImageError, _NotSaid):
            found = None
        return await self._listed(key) if found is None else found

    async def _listed(self, key: str) -> Listed | None:
        async for page in self.list(key):
            return next((each for each in page if each.key == key), None)
        return None

    async def labels(self, key: str) -> Mapping[str, str]:
        return await self._told_of(key, None, lambda client: client.labels(key))

    async def read(self, key: str, most: int) -> bytes:
        async def quick(client: Client) -> bytes:
            result = await obstore.get_async(client.reads, key)
            if (size := result.meta["size"]) > most:
                raise too_large(self._bucket, key, size, most)
            return bytes(await result.bytes_async())

        def slow(client: Client) -> bytes:
            if (size := _size(client, self._bucket, key)) > most:
                raise too_large(self._bucket, key, size, most)
            return client.read(key, None)

        return await self._told_of(key, quick, slow)

    async def size(self, key: str) -> int:
        async def quick(client: Client) -> int:
            return (await obstore.head_async(client.reads, key))["size"]

        return await self._told_of(key, quick, lambda client: _size(client, self._bucket, key))

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        async def quick(client: Client) -> bytes:
            got = await obstore.get_range_async(client.reads, key, start=start, length=length)
            return bytes(got)

        def slow(client: Client) -> bytes:
            return client.read(key, Range(start, length))

        return await self._told_of(key, quick, slow)

    async def write(self, key: str, content: Path | bytes) -> None:
        async def quick(client: Client) -> None:
            await obstore.put_async(client.reads, key, content)

        def slow(client: Client) -> None:
            raise BucketError(
                f"{self._bucket.address(key)} cannot be written: name it without empty parts, `.` "
                "and control characters",
                BUCKET_NOT_FOUND,
            )

        await self._asked(key, quick, slow)

    async def _told_of(
        self,
        key: str,
        quick: Callable[[Client], Awaitable[_T]] | None,
        slow: Callable[[Client], _T],
    ) -> _T:
        """As `_asked`. An object is missing only if the service says so: else its listing tells."""
        try:
            return await self._asked(key, quick, slow)
        except _NotSaid as unsaid:
            try:
                listed = await self._listed(key)
            except BucketError as refused:
                # A service that may be read and not be listed: it is one, so it meant the object.
                if refused.failure_kind is not BUCKET_ACCESS_DENIED:
                    raise
                listed = None
            if listed is None:
                raise no_object(self._bucket, key) from None
            raise stray(self._bucket, key, unsaid.said) from None

    async def _asked(
        self,
        key: str,
        quick: Callable[[Client], Awaitable[_T]] | None,
        slow: Callable[[Client], _T],
    ) -> _T:
        while True:
            client = await self._opened.client()
            try:
                if quick is not None and rust_store.addressable(key):
                    return await quick(client)
                return await asyncio.to_thread(slow, client)
            except ImageError:
                raise
            except Exception as error:
                told = self._told(client, error, key)
                if isinstance(told, ImageError) or not await self._opened.renew_after(told):
                    raise told from None

    def _told(
        self, client: Client, error: Exception, key: str | None = None
    ) -> BucketError | ImageError:
        if isinstance(error, BucketError):
            return error
        told = client.refusal(error)
        if isinstance(told, BucketError):
            return told
        if told is None:
            text = str(error)
            told = Refusal(*code_of(text), rust_store.brief(text))
        if key is not None:
            if alone := object_error(self._bucket, key, told.code):
                return alone
            if leaves_open_what_is_missing(told.code, told.status):
                return _NotSaid(self._bucket, told)
        return bucket_error(
            self._bucket,
            told.code,
            told.status,
            told.said,
            anonymous=client.anonymous,
            region=told.region,
        )


def _size(client: Client, bucket: Bucket, key: str) -> int:
    """Raises ImageError."""
    found = client.head(key)
    if found is None:
        raise _NotSaid(bucket, Refusal(None, 404, "status code 404"))
    return found.bytes


def chosen(kinds: LabelKinds, user_metadata: Any, tags: Any) -> Mapping[str, str]:
    """The labels that are asked for, of what a service told; None of either: it told none."""
    found: dict[str, str] = {}
    if kinds.user_metadata:
        found |= {str(name): str(value) for name, value in (user_metadata or {}).items()}
    if kinds.tags:
        found |= {str(name): str(value) for name, value in (tags or {}).items()}
    return found
