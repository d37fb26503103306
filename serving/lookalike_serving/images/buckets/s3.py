"""S3 and what speaks its protocol, through `botocore`.

It finds credentials wherever any tool of Amazon's does (environment, shared files, web identity,
pod identity, instance role), follows a bucket to its region, and lists every key with its storage
class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.exceptions as failures
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from obstore.store import S3Store

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_CREDENTIALS_EXPIRED, BUCKET_CREDENTIALS_REFUSED
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import (
    BucketError,
    bucket_error,
    no_credentials,
    tags_denied,
)
from lookalike_serving.images.buckets.protocol import LabelKinds, Listed, ObjectStore
from lookalike_serving.images.buckets.secret_files import CA, authorities
from lookalike_serving.images.buckets.service_store import (
    Page,
    Range,
    Refusal,
    ServiceStore,
    chosen,
)
from lookalike_serving.images.fetch import AGENT

if TYPE_CHECKING:
    from obstore.store import S3Credential

ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes that nothing can be read from. GLACIER_IR is not one of them."""
PAGE = 1000
"""Keys that a service lists at once, at most."""
_DEFAULT_REGION = "us-east-1"


def open_bucket(bucket: Bucket, kinds: LabelKinds) -> ObjectStore:
    return ServiceStore(bucket, kinds, _opened)


class _Client:
    """A listing tells no labels: `labels` asks for those of one object."""

    def __init__(
        self, bucket: Bucket, lists: Any, reads: S3Store, kinds: LabelKinds, *, anonymous: bool
    ) -> None:
        self._bucket = bucket
        self._kinds = kinds
        self._lists = lists
        """botocore's client."""
        self.reads = reads
        self.anonymous = anonymous
        # What every request to the bucket says.
        payer = {"RequestPayer": "requester"} if bucket.requester_pays else {}
        self._asks: dict[str, Any] = {"Bucket": bucket.name, **payer}

    def page(self, prefix: str, after: str | None, token: str | None) -> Page:
        asked: dict[str, Any] = {**self._asks, "Prefix": prefix, "MaxKeys": PAGE}
        if after:
            asked["StartAfter"] = after
        if token is not None:
            asked["ContinuationToken"] = token
        found: dict[str, Any] = self._lists.list_objects_v2(**asked)
        more = found.get("NextContinuationToken") if found.get("IsTruncated") else None
        return Page([_listed(each) for each in found.get("Contents", ())], more)

    def head(self, key: str) -> Listed:
        told = self._lists.head_object(**self._asks, Key=key)
        return _listed({"Key": key, "Size": told["ContentLength"], **told})

    def labels(self, key: str) -> Mapping[str, str]:
        user_metadata, tags, kinds = None, None, self._kinds
        if kinds.user_metadata:
            user_metadata = self._lists.head_object(**self._asks, Key=key).get("Metadata")
        if kinds.tags:
            told = self._lists.get_object_tagging(**self._asks, Key=key)
            tags = {each["Key"]: each["Value"] for each in told["TagSet"]}
        return chosen(kinds, user_metadata, tags)

    def read(self, key: str, part: Range | None) -> bytes:
        wanted = {"Range": f"bytes={part.start}-{part.start + part.length - 1}"} if part else {}
        answer = self._lists.get_object(**self._asks, Key=key, **wanted)
        return bytes(answer["Body"].read())

    def refusal(self, error: Exception) -> Refusal | BucketError | None:
        if isinstance(error, failures.ClientError):
            answer = error.response
            told = answer.get("Error", {})
            meta = answer.get("ResponseMetadata", {})
            region = told.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
            said = told.get("Message") or str(error)
            if error.operation_name == "GetObjectTagging" and told.get("Code") == "AccessDenied":
                return tags_denied(self._bucket, said)
            return Refusal(told.get("Code"), meta.get("HTTPStatusCode"), said, region)
        if isinstance(error, failures.NoCredentialsError | failures.PartialCredentialsError):
            return no_credentials(self._bucket)
        if isinstance(error, failures.BotoCoreError):
            return _of_this_machine(self._bucket, error)
        return None


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


def _opened(bucket: Bucket, secret: Mapping[str, str] | None, kinds: LabelKinds) -> _Client:
    """Raises BucketError."""
    try:
        return _client(bucket, secret, kinds)
    except failures.BotoCoreError as error:
        raise _of_this_machine(bucket, error) from None


def _client(bucket: Bucket, secret: Mapping[str, str] | None, kinds: LabelKinds) -> _Client:
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
        verify=authorities(bucket.credentials, secret),
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
                "expires_at": datetime.now(UTC) + rust_store.RENEWED,
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
    return _Client(bucket, lists, reads, kinds, anonymous=anonymous)


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
