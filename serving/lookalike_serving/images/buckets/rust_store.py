"""Buckets through `obstore`, the Rust client of all three services: bytes, and listing of two.

It addresses objects by paths of non-empty segments, so a few keys that services allow – with `//`,
`.` or control characters – are out of its reach: `addressable` tells which.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError, InvalidPathError

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import SOURCES_UNREADABLE
from lookalike_serving.images.buckets.errors import (
    BucketError,
    bucket_error,
    code_of,
    no_credentials,
    object_error,
    too_large,
)
from lookalike_serving.images.buckets.opened import Opened
from lookalike_serving.images.buckets.protocol import Listed
from lookalike_serving.images.buckets.secret_files import CA
from lookalike_serving.images.errors import ImageError
from lookalike_serving.images.fetch import AGENT

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_T = TypeVar("_T")
_PAGE = 1000
_NO_IDENTITY = ("metadata.google.internal", "169.254.169.254", "169.254.170.2")
"""Where a pod's identity would be told."""
_INVALID = re.compile(r'[Pp]ath "((?:[^"\\]|\\.)*)"')


def client_options(endpoint: str | None, secret: Mapping[str, str] | None = None) -> ClientConfig:
    """`secret`: may have certificates to trust beside the usual ones."""
    options: ClientConfig = {
        "user_agent": AGENT,
        "connect_timeout": "10s",
        "timeout": "60s",
        "allow_http": (endpoint or "").startswith("http://"),
    }
    if secret is not None and CA in secret:
        options["root_certificate"] = secret[CA]
    return options


RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


def addressable(key: str) -> bool:
    """Whether the client can name the object, and names no other instead."""
    return key.isprintable() and all(part not in ("", ".", "..") for part in key.split("/"))


def comes_after(key: str, other: str | None) -> bool:
    """In the order in which services list keys: that of their bytes in UTF-8."""
    return other is None or key.encode() > other.encode()


class RustStore:
    """One bucket of any service."""

    def __init__(
        self, bucket: Bucket, make: Callable[[Bucket, Mapping[str, str] | None], ObjectStore]
    ) -> None:
        self._bucket = bucket
        self._opened: Opened[ObjectStore] = Opened(bucket, make)

    async def list(
        self, prefix: str, start_after: str | None = None
    ) -> AsyncIterator[Sequence[Listed]]:
        after = start_after
        # It knows prefixes of whole segments alone.
        folder = prefix[: prefix.rfind("/") + 1].rstrip("/") or None
        while True:
            store = await self._opened.client()
            begun = after
            try:
                stream = obstore.list(store, folder, offset=begun, chunk_size=_PAGE)
                async for chunk in stream:
                    # Not every service begins where it was asked to.
                    wanted = [
                        each
                        for each in chunk
                        if each["path"].startswith(prefix) and comes_after(each["path"], begun)
                    ]
                    yield [_listed(each) for each in wanted]
                    after = wanted[-1]["path"] if wanted else after
                return
            except InvalidPathError as error:
                found = _INVALID.search(str(error))
                key = f" ({found[1]})" if found else ""
                raise BucketError(
                    f"{self._bucket} has an object whose key this client cannot read{key}: a key "
                    "must not have empty, `.` or `..` segments or control characters. Rename the "
                    "object, or choose a prefix without it",
                    SOURCES_UNREADABLE,
                ) from None
            except (BaseError, FileNotFoundError, OSError, ValueError) as error:
                told = self._told(error)
                if not await self._opened.renew_after(told):
                    raise told from None

    async def look(self, key: str) -> Listed | None:
        async def head(store: ObjectStore) -> Listed:
            return _listed(await obstore.head_async(store, key))

        if not addressable(key):
            return None  # no listing tells it, either
        try:
            return await self._asked(key, head)
        except ImageError:
            # The answer to HEAD has no words: of a bucket that is gone, it is the same.
            async for _ in self.list(key):
                break
            return None

    async def read(self, key: str, most: int) -> bytes:
        async def get(store: ObjectStore) -> bytes:
            result = await obstore.get_async(store, key)
            if (size := result.meta["size"]) > most:
                raise too_large(self._bucket, key, size, most)
            return bytes(await result.bytes_async())

        return await self._asked(key, get)

    async def size(self, key: str) -> int:
        async def ask(store: ObjectStore) -> int:
            return (await obstore.head_async(store, key))["size"]

        return await self._asked(key, ask)

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        async def get(store: ObjectStore) -> bytes:
            return bytes(await obstore.get_range_async(store, key, start=start, length=length))

        return await self._asked(key, get)

    async def _asked(self, key: str, get: Callable[[ObjectStore], Awaitable[_T]]) -> _T:
        while True:
            store = await self._opened.client()
            try:
                return await get(store)
            except ImageError:
                raise
            except (BaseError, FileNotFoundError, OSError, ValueError) as error:
                if (alone := object_error(self._bucket, key, *code_of(str(error)))) is not None:
                    raise alone from None
                told = self._told(error)
                if not await self._opened.renew_after(told):
                    raise told from None

    def _told(self, error: Exception) -> BucketError:
        text = str(error)
        if any(place in text for place in _NO_IDENTITY):
            return no_credentials(self._bucket)
        code, status = code_of(text)
        return bucket_error(self._bucket, code, status, brief(text))


def _listed(found: Any) -> Listed:
    modified = found["last_modified"]
    # Some services quote it in the answer to HEAD alone.
    tag = (found["e_tag"] or f"{modified.timestamp()}").strip('"')
    return Listed(found["path"], found["size"], modified, f"{found['size']}-{tag}")


def brief(text: str) -> str:
    """What a service said, without the client's own account of how it came about."""
    said = text.partition("Debug source")[0]
    if message := re.search(r"<Message>(.*?)</Message>", said, re.DOTALL):
        detail = re.search(r"<AuthenticationErrorDetail>(Sign(?:ed|ature) .*?)</", said, re.DOTALL)
        return f"{detail[1]} {message[1]}" if detail else message[1]
    # Of what is no answer of a service of buckets the status alone is told, not its text.
    said = re.sub(r"(non-2xx status code: \d{3}[A-Za-z ]*).*", r"\1", said, flags=re.DOTALL)
    return re.sub(r"Error performing [A-Z]+ \S+ in \S+ - ", "", said)
