"""Google Cloud Storage, through Google's own client.

It finds credentials wherever Google's tools do: a service account's key, a federated identity, or
the identity of the machine or pod.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.auth
import requests.exceptions
from google.api_core.client_info import ClientInfo
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import (
    DefaultCredentialsError,
    GoogleAuthError,
    MalformedError,
    TransportError,
)
from google.auth.transport.requests import Request
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account
from obstore.store import GCSStore

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_UNREACHABLE
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import (
    BucketError,
    bucket_error,
    code_of,
    no_credentials,
)
from lookalike_serving.images.buckets.protocol import LabelKinds, Listed, ObjectStore
from lookalike_serving.images.buckets.secret_files import authorities
from lookalike_serving.images.buckets.service_store import (
    Page,
    Range,
    Refusal,
    ServiceStore,
    chosen,
)
from lookalike_serving.images.fetch import AGENT

if TYPE_CHECKING:
    from obstore.store import GCSCredential

_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_IN_ENVIRONMENT = (_KEY, "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS")
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)
_PAGE = 1000
_PATIENCE: dict[str, Any] = {"timeout": (10, 60), "retry": DEFAULT_RETRY.with_timeout(60)}


def open_bucket(bucket: Bucket, kinds: LabelKinds) -> ObjectStore:
    return ServiceStore(bucket, kinds, _client)


class _Client:
    """A listing tells user metadata; there are no tags."""

    anonymous = False

    def __init__(
        self, bucket: Bucket, lists: storage.Client, reads: GCSStore, kinds: LabelKinds
    ) -> None:
        self._declared = bucket
        self._lists = lists
        self._bucket = lists.bucket(bucket.name)
        self._kinds = kinds
        self.reads = reads

    def page(self, prefix: str, after: str | None, token: str | None) -> Page:
        wanted = "name,size,updated,etag,md5Hash" + (",metadata" if self._kinds else "")
        found = self._lists.list_blobs(
            self._bucket,
            prefix=prefix or None,
            start_offset=after,
            page_token=token,
            page_size=_PAGE,
            fields=f"items({wanted}),nextPageToken",
            **_PATIENCE,
        )
        page = next(found.pages, ())
        return Page([self._listed(each) for each in page], found.next_page_token)

    def head(self, key: str) -> Listed | None:
        found = self._bucket.get_blob(key, **_PATIENCE)
        return None if found is None else self._listed(found)

    def labels(self, key: str) -> Mapping[str, str]:
        found = self._bucket.get_blob(key, **_PATIENCE)
        return chosen(self._kinds, None if found is None else found.metadata, None)

    def read(self, key: str, part: Range | None) -> bytes:
        within = {"start": part.start, "end": part.start + part.length - 1} if part else {}
        return bytes(self._bucket.blob(key).download_as_bytes(**within, **_PATIENCE))

    def _listed(self, found: Any) -> Listed:
        # As the interface that obstore speaks tells it: the MD5 digest, if there is one.
        digest = found.md5_hash
        tag = base64.b64decode(digest).hex() if digest else found.etag
        labels = chosen(self._kinds, found.metadata, None) if self._kinds else None
        version = f"{found.size}-{tag}"
        return Listed(found.name, found.size, found.updated, version, None, labels)

    def refusal(self, error: Exception) -> Refusal | BucketError | None:
        return _refusal(self._declared, error)


def _refusal(bucket: Bucket, error: Exception) -> Refusal | BucketError | None:
    if isinstance(error, RetryError) and error.cause is not None:
        error = error.cause
    if isinstance(error, DefaultCredentialsError):
        return no_credentials(bucket)
    if isinstance(error, TransportError | requests.exceptions.RequestException):
        return bucket_error(bucket, None, None, str(error), kind=BUCKET_UNREACHABLE)
    if isinstance(error, GoogleAuthError):
        return Refusal("InvalidAuthenticationInfo", None, str(error.args[0] if error.args else ""))
    if isinstance(error, GoogleAPICallError):
        answer = error.response
        text = "" if answer is None else answer.text
        if "<Message>" in text:
            return Refusal(code_of(text)[0], error.code, rust_store.brief(text))
        try:
            told = json.loads(text)["error"]
            said, code = str(told["message"]), _reason(told)
        except (ValueError, TypeError, KeyError):
            # Of what is no answer of a service of buckets the status alone is told, not its text.
            said, code = f"status code {error.code}", None
        return Refusal(code, error.code, said)
    return None


def _reason(told: Any) -> str:
    """Such as notFound, of a bucket and of an object alike."""
    try:
        return str(told["errors"][0]["reason"])
    except (TypeError, KeyError, IndexError):
        return "error"


def _client(bucket: Bucket, secret: Mapping[str, str] | None, kinds: LabelKinds) -> _Client:
    """Raises BucketError."""
    credentials = _credentials(bucket, secret)
    endpoint = None if bucket.endpoint is None else bucket.endpoint.rstrip("/")
    lists = storage.Client(
        project="none",  # which no call here is about
        credentials=credentials,
        client_info=ClientInfo(user_agent=AGENT),
        client_options=None if endpoint is None else {"api_endpoint": endpoint},
    )
    if (trusted := authorities(bucket.credentials, secret)) is not None:
        lists._http.verify = trusted
    given: dict[str, Any] = {"skip_signature": True}
    if not isinstance(credentials, AnonymousCredentials):

        def current() -> GCSCredential:
            if not credentials.valid:
                credentials.refresh(Request())
            until = credentials.expiry
            return {
                "token": credentials.token,
                "expires_at": None if until is None else until.replace(tzinfo=UTC),
            }

        given = {"credential_provider": current}
    if endpoint is not None:
        given["base_url"] = endpoint
    reads = GCSStore(
        bucket.name,
        client_options=rust_store.client_options(bucket.endpoint, secret),
        retry_config=rust_store.RETRIES,
        **given,
    )
    return _Client(bucket, lists, reads, kinds)


def _credentials(bucket: Bucket, secret: Mapping[str, str] | None) -> Any:
    """Google's object for them. Raises BucketError."""
    try:
        if bucket.credentials is not None:
            key = _key(secret or {})
            if key is None:
                raise no_credentials(bucket)
            return _of_key(json.loads(key))
        if key := os.environ.get(_KEY):
            return _of_key(json.loads(key))
        if file := os.environ.get("GOOGLE_SERVICE_ACCOUNT"):
            return _of_key(json.loads(Path(file).read_text("utf-8")))
        if bucket.endpoint is not None and not any(os.environ.get(n) for n in _IN_ENVIRONMENT):
            # A compatible service, which Google's identity is not for.
            return AnonymousCredentials()
        found, _ = google.auth.default(scopes=_SCOPES)
    except (MalformedError, ValueError, KeyError, TypeError, OSError) as error:  # no such key
        raise bucket_error(
            bucket, "InvalidAuthenticationInfo", None, f"the key cannot be used: {error}"
        ) from None
    except GoogleAuthError:
        raise no_credentials(bucket) from None
    return found


def _of_key(info: Any) -> Credentials:
    """Raises ValueError."""
    made: Credentials = service_account.Credentials.from_service_account_info(info, scopes=_SCOPES)
    return made


def _key(secret: Mapping[str, str]) -> str | None:
    """The service account's key, under its usual name or as the file that Google gives out."""
    files = (value for name, value in secret.items() if name.endswith(".json"))
    return secret.get(_KEY) or next(files, None)
