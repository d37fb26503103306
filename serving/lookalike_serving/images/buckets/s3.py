"""S3 and what speaks its protocol: listed by `botocore`, read by `obstore`.

`botocore` finds credentials wherever any tool of Amazon's does (environment, shared files, web
identity, pod identity, instance role), follows a bucket to its region, and lists every key with
its storage class. `obstore` reads bytes, at a fraction of the CPU time, with the
credentials that `botocore` found; the few keys that it cannot name are read by `botocore`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions as failures
import botocore.session
import obstore
from botocore import UNSIGNED
from botocore.config import Config
from obstore.store import S3Store

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_CREDENTIALS_EXPIRED, BUCKET_CREDENTIALS_REFUSED
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import (
    BucketError,
    bucket_error,
    code_of,
    no_credentials,
    object_error,
    too_large,
)
from lookalike_serving.images.buckets.opened import Opened
from lookalike_serving.images.buckets.protocol import Listed, ObjectStore
from lookalike_serving.images.buckets.secret_files import CA
from lookalike_serving.images.errors import ImageError
from lookalike_serving.images.fetch import AGENT

if TYPE_CHECKING:
    from obstore.store import S3Credential

_T = TypeVar("_T")
ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes that nothing can be read from. GLACIER_IR is not one of them."""
PAGE = 1000
"""Keys that a service lists at once, at most."""
_DEFAULT_REGION = "us-east-1"
_RENEWED = timedelta(minutes=5)


def open_bucket(bucket: Bucket) -> ObjectStore:
    return S3Bucket(bucket)


@dataclass(frozen=True, slots=True)
class _Clients:
    lists: Any
    """botocore's client."""
    reads: S3Store
    anonymous: bool


class S3Bucket:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._opened: Opened[_Clients] = Opened(bucket, _opened)

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
        self, clients: _Clients, prefix: str, after: str | None
    ) -> AsyncIterator[Sequence[Listed]]:
        asked: dict[str, Any] = {**self._asks, "Prefix": prefix, "MaxKeys": PAGE}
        if after:
            asked["StartAfter"] = after

        def page(token: str | None) -> dict[str, Any]:
            more = {} if token is None else {"ContinuationToken": token}
            try:
                found: dict[str, Any] = clients.lists.list_objects_v2(**asked, **more)
                return found
            except (failures.ClientError, failures.BotoCoreError) as error:
                raise self._told(clients, error) from None

        coming: asyncio.Task[dict[str, Any]] | None = asyncio.ensure_future(
            asyncio.to_thread(page, None)
        )
        try:
            while coming is not None:
                found = await coming
                token = found.get("NextContinuationToken") if found.get("IsTruncated") else None
                # The next page comes while this one is gone through.
                coming = token and asyncio.ensure_future(asyncio.to_thread(page, token))
                yield [_listed(each) for each in found.get("Contents", ())]
        finally:
            if coming:
                coming.cancel()

    async def look(self, key: str) -> Listed | None:
        def head(clients: _Clients) -> Listed:
            told = clients.lists.head_object(**self._asks, Key=key)
            facts = {"Key": key, "Size": told["ContentLength"], **told}
            return _listed(facts)

        try:
            return await self._read(key, None, head)
        except ImageError:
            # The answer to HEAD has no words: of a bucket that is gone, it is the same.
            async for page in self.list(key):
                return next((each for each in page if each.key == key), None)
            return None

    async def read(self, key: str, most: int) -> bytes:
        async def quick(clients: _Clients) -> bytes:
            result = await obstore.get_async(clients.reads, key)
            if (size := result.meta["size"]) > most:
                raise too_large(self._bucket, key, size, most)
            return bytes(await result.bytes_async())

        def slow(clients: _Clients) -> bytes:
            answer = clients.lists.get_object(**self._asks, Key=key)
            if (size := answer["ContentLength"]) > most:
                raise too_large(self._bucket, key, size, most)
            return bytes(answer["Body"].read())

        return await self._read(key, quick, slow)

    async def size(self, key: str) -> int:
        async def quick(clients: _Clients) -> int:
            return (await obstore.head_async(clients.reads, key))["size"]

        def slow(clients: _Clients) -> int:
            return int(clients.lists.head_object(**self._asks, Key=key)["ContentLength"])

        return await self._read(key, quick, slow)

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        async def quick(clients: _Clients) -> bytes:
            got = await obstore.get_range_async(clients.reads, key, start=start, length=length)
            return bytes(got)

        def slow(clients: _Clients) -> bytes:
            wanted = f"bytes={start}-{start + length - 1}"
            answer = clients.lists.get_object(**self._asks, Key=key, Range=wanted)
            return bytes(answer["Body"].read())

        return await self._read(key, quick, slow)

    async def _read(
        self,
        key: str,
        quick: Callable[[_Clients], Awaitable[_T]] | None,
        slow: Callable[[_Clients], _T],
    ) -> _T:
        while True:
            clients = await self._opened.client()
            try:
                if quick is not None and rust_store.addressable(key):
                    return await quick(clients)
                return await asyncio.to_thread(slow, clients)
            except ImageError:
                raise
            except Exception as error:
                told = self._told(clients, error, key)
                if isinstance(told, ImageError) or not await self._opened.renew_after(told):
                    raise told from None

    @property
    def _asks(self) -> dict[str, str]:
        """What every request to the bucket says."""
        payer = {"RequestPayer": "requester"} if self._bucket.requester_pays else {}
        return {"Bucket": self._bucket.name, **payer}

    def _told(
        self, clients: _Clients, error: Exception, key: str | None = None
    ) -> BucketError | ImageError:
        region = None
        if isinstance(error, failures.ClientError):
            answer = error.response
            code = answer.get("Error", {}).get("Code")
            meta = answer.get("ResponseMetadata", {})
            status = meta.get("HTTPStatusCode")
            region = answer.get("Error", {}).get("Region") or meta.get("HTTPHeaders", {}).get(
                "x-amz-bucket-region"
            )
            said = answer.get("Error", {}).get("Message") or str(error)
        elif isinstance(error, failures.NoCredentialsError | failures.PartialCredentialsError):
            return no_credentials(self._bucket)
        elif isinstance(error, failures.BotoCoreError):
            return _of_this_machine(self._bucket, error)
        else:
            code, status = code_of(str(error))
            said = rust_store.brief(str(error))
        if key is not None and (alone := object_error(self._bucket, key, code, status)):
            return alone
        return bucket_error(
            self._bucket, code, status, said, anonymous=clients.anonymous, region=region
        )


def _listed(found: dict[str, Any]) -> Listed:
    size, modified = found["Size"], found["LastModified"]
    tag = found.get("ETag") or f"{modified.timestamp()}"
    kept = found.get("StorageClass")
    return Listed(found["Key"], size, modified, f"{size}-{tag}", kept if kept in ARCHIVED else None)


_EXPIRED = (
    failures.SSOTokenLoadError,
    failures.TokenRetrievalError,
    failures.UnauthorizedSSOTokenError,
)
_NO_CREDENTIALS = (
    failures.ConfigNotFound,
    failures.ConfigParseError,
    failures.CredentialRetrievalError,
    failures.InvalidConfigError,
    failures.ProfileNotFound,
)


def _of_this_machine(bucket: Bucket, error: failures.BotoCoreError) -> BucketError:
    """What the client found wrong before the service was asked, or without an answer of it."""
    kind = None
    if isinstance(error, _EXPIRED):
        kind = BUCKET_CREDENTIALS_EXPIRED
    elif isinstance(error, _NO_CREDENTIALS):
        kind = BUCKET_CREDENTIALS_REFUSED
    return bucket_error(bucket, None, None, str(error), kind=kind)


def _opened(bucket: Bucket, secret: Mapping[str, str] | None) -> _Clients:
    """Raises BucketError."""
    try:
        return _clients(bucket, secret)
    except failures.BotoCoreError as error:
        raise _of_this_machine(bucket, error) from None


def _clients(bucket: Bucket, secret: Mapping[str, str] | None) -> _Clients:
    session = botocore.session.Session()
    if secret is not None and secret.keys() != {CA}:
        if not secret.get("AWS_ACCESS_KEY_ID") or not secret.get("AWS_SECRET_ACCESS_KEY"):
            raise no_credentials(bucket)
        session.set_credentials(
            secret["AWS_ACCESS_KEY_ID"],
            secret["AWS_SECRET_ACCESS_KEY"],
            secret.get("AWS_SESSION_TOKEN"),
        )
    elif bucket.credentials is not None and secret is None:
        raise no_credentials(bucket)
    credentials = session.get_credentials()
    anonymous = credentials is None
    endpoint = bucket.endpoint or _endpoint_of_environment()
    path_style = endpoint is not None if bucket.path_style is None else bucket.path_style
    configured = session.get_config_variable("region") if bucket.endpoint is None else None
    region = bucket.region or configured or _DEFAULT_REGION
    lists = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        verify=_authorities(bucket, secret),
        config=Config(
            signature_version=UNSIGNED if anonymous else None,
            s3={"addressing_style": "path" if path_style else "auto"},
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=10,
            read_timeout=60,
            user_agent_extra=AGENT,
        ),
    )
    if endpoint is None:
        region = _region(lists, bucket) or region
    given: dict[str, Any] = {"skip_signature": True}
    if credentials is not None:

        def current() -> S3Credential:
            frozen = credentials.get_frozen_credentials()
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": datetime.now(UTC) + _RENEWED,
            }

        given = {"credential_provider": current}
    if endpoint is not None:
        given["endpoint"] = _for_reading(endpoint, bucket.name, path_style)
    reads = S3Store(
        bucket.name,
        region=region,
        virtual_hosted_style_request=not path_style and "." not in bucket.name,
        request_payer=bucket.requester_pays,
        client_options=rust_store.client_options(endpoint, secret),
        retry_config=rust_store.RETRIES,
        **given,
    )
    return _Clients(lists, reads, anonymous)


def _authorities(bucket: Bucket, secret: Mapping[str, str] | None) -> str | None:
    """The file of certificates to trust; None: the usual ones."""
    if bucket.credentials is None or secret is None or CA not in secret:
        return None
    return str(bucket.credentials / CA)


def _endpoint_of_environment() -> str | None:
    """As every tool of Amazon's reads it: how one machine names a compatible service."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _for_reading(endpoint: str, bucket: str, path_style: bool) -> str:
    """The endpoint as the reading client wants it: with the bucket in the host, if it is there."""
    if path_style:
        return endpoint.rstrip("/")
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{bucket}.{parts.netloc}"


def _region(lists: Any, bucket: Bucket) -> str | None:
    """The bucket's own, which the service tells whether or not it lets us in."""
    try:
        headers = lists.head_bucket(Bucket=bucket.name)["ResponseMetadata"]["HTTPHeaders"]
    except failures.ClientError as error:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    except failures.BotoCoreError:
        return None  # listing and reading tell why
    found: str | None = headers.get("x-amz-bucket-region")
    return found
