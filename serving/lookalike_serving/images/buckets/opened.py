"""A client that is made when it is first needed, and again once its credentials were rotated."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import (
    BUCKET_ACCESS_DENIED,
    BUCKET_CREDENTIALS_EXPIRED,
    BUCKET_CREDENTIALS_REFUSED,
    BUCKET_UNREACHABLE,
)
from lookalike_serving.images.addresses import is_of_the_platform
from lookalike_serving.images.buckets.errors import BucketError
from lookalike_serving.images.buckets.secret_files import read_secret

_Client = TypeVar("_Client")
_OF_CREDENTIALS = (BUCKET_ACCESS_DENIED, BUCKET_CREDENTIALS_EXPIRED, BUCKET_CREDENTIALS_REFUSED)


def _check_endpoint(bucket: Bucket) -> None:
    """Raises BucketError for an endpoint that leads to the platform itself.

    Whoever writes a source must not learn by it what only the machine may ask. Private addresses
    are allowed: many services of buckets are in the cluster.
    """
    host = urlsplit(bucket.endpoint or "").hostname
    if host is None:
        return
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return  # the client says so
    if any(map(is_of_the_platform, found)):
        raise BucketError(
            f"{bucket} has the endpoint {bucket.endpoint}, which is a link-local or metadata "
            "address: name the service of the bucket",
            BUCKET_UNREACHABLE,
        )


class Opened(Generic[_Client]):
    """Holds a client of one bucket. `make` may block; it is given the Secret's values."""

    def __init__(
        self, bucket: Bucket, make: Callable[[Bucket, Mapping[str, str] | None], _Client]
    ) -> None:
        self._bucket = bucket
        self._make = make
        self._lock = threading.Lock()
        self._client: _Client | None = None
        self._secret: Mapping[str, str] | None = None

    async def client(self) -> _Client:
        """Raises BucketError."""
        made = self._client
        return await asyncio.to_thread(self._made) if made is None else made

    async def renew_after(self, error: BucketError) -> bool:
        """Whether the Secret says something else by now, so that another attempt makes sense."""
        if error.failure_kind not in _OF_CREDENTIALS or self._bucket.credentials is None:
            return False
        return await asyncio.to_thread(self._renewed)

    def _made(self) -> _Client:
        with self._lock:
            if self._client is None:
                _check_endpoint(self._bucket)
                self._secret = read_secret(self._bucket.credentials)
                self._client = self._make(self._bucket, self._secret)
            return self._client

    def _renewed(self) -> bool:
        with self._lock:
            if read_secret(self._bucket.credentials) == self._secret:
                return False
            self._client = None
            return True
