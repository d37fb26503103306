"""Azure Blob Storage, through Microsoft's own client.

Credentials are an account key, a shared access signature, a service principal, or whatever identity
Microsoft's tools find: of the machine, of the pod, of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.storage.blob import ContainerClient, ExponentialRetry
from obstore.store import AzureStore

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_UNREACHABLE
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import (
    BucketError,
    bucket_error,
    code_of,
    no_credentials,
    tags_denied,
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
    from obstore.store import AzureCredential

_ACCOUNT_KEY, _SAS = "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"
_PRINCIPAL = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
_SCOPE = "https://storage.azure.com/.default"
_PAGE = 5000


def open_bucket(bucket: Bucket, kinds: LabelKinds) -> ObjectStore:
    return ServiceStore(bucket, kinds, _client)


class _Client:
    """A listing tells user metadata and tags."""

    anonymous = False

    def __init__(
        self, bucket: Bucket, lists: ContainerClient, reads: AzureStore, kinds: LabelKinds
    ) -> None:
        self._bucket = bucket
        self._lists = lists
        self._kinds = kinds
        self._include = [
            name
            for name, wanted in (("metadata", kinds.user_metadata), ("tags", kinds.tags))
            if wanted
        ]
        self.reads = reads

    def page(self, prefix: str, after: str | None, token: str | None) -> Page:
        pages: Any = self._lists.list_blobs(
            name_starts_with=prefix or None,
            include=self._include or None,
            results_per_page=_PAGE,
        ).by_page(token)
        page = [self._listed(each) for each in next(pages, ())]
        return Page(page, pages.continuation_token or None)

    def head(self, key: str) -> Listed:
        return self._listed(self._lists.get_blob_client(key).get_blob_properties())

    def labels(self, key: str) -> Mapping[str, str]:
        blob, kinds = self._lists.get_blob_client(key), self._kinds
        user_metadata = blob.get_blob_properties().metadata if kinds.user_metadata else None
        return chosen(kinds, user_metadata, blob.get_blob_tags() if kinds.tags else None)

    def read(self, key: str, part: Range | None) -> bytes:
        start, length = part or (None, None)
        return self._lists.get_blob_client(key).download_blob(start, length).readall()

    def _listed(self, found: Any) -> Listed:
        modified = found.last_modified
        # Some services quote it in the answer to HEAD alone.
        tag = (found.etag or f"{modified.timestamp()}").strip('"')
        tier = str(found.blob_tier or "")
        return Listed(
            found.name,
            found.size,
            modified,
            f"{found.size}-{tag}",
            tier if tier == "Archive" else None,
            chosen(self._kinds, found.metadata, found.tags) if self._kinds else None,
        )

    def refusal(self, error: Exception) -> Refusal | BucketError | None:
        if isinstance(error, HttpResponseError) and error.status_code is not None:
            told = _answer(error)
            if self._kinds.tags and told.code == "AuthorizationPermissionMismatch":
                return tags_denied(self._bucket, told.said)
            return told
        if isinstance(error, ClientAuthenticationError):  # no identity was found
            return no_credentials(self._bucket)
        if isinstance(error, AzureError):
            said = str(error.message)
            if "prohibited" in said and "TLS" in said:  # a token is not sent over http://
                return no_credentials(self._bucket)
            return bucket_error(self._bucket, None, None, said, kind=BUCKET_UNREACHABLE)
        return None


def _answer(error: HttpResponseError) -> Refusal:
    try:
        text = "" if error.response is None else error.response.text()
    except Exception:  # a body that was streamed
        text = ""
    # Of what is no answer of a service of buckets the status alone is told, not its text.
    said = rust_store.brief(text) if "<Message>" in text else f"status code {error.status_code}"
    code = code_of(text)[0]
    if code is None:  # of an answer without a body, a header tells it
        told = getattr(error, "error_code", None)
        code = str(getattr(told, "value", told) or "") or None
    return Refusal(code, error.status_code, said)


def _client(bucket: Bucket, secret: Mapping[str, str] | None, kinds: LabelKinds) -> _Client:
    """Raises BucketError."""
    given = dict(os.environ) if bucket.credentials is None else secret or {}
    account = bucket.account or ""
    credential: AzureNamedKeyCredential | AzureSasCredential | TokenCredential
    reading: dict[str, Any]
    try:
        if key := given.get(_ACCOUNT_KEY):
            credential, reading = AzureNamedKeyCredential(account, key), {"account_key": key}
        elif token := given.get(_SAS):
            signature = token.lstrip("?")
            credential, reading = AzureSasCredential(signature), {"sas_key": signature}
        else:
            credential = _identity(bucket, given)
            reading = {"credential_provider": _provider(credential)}
        endpoint = None if bucket.endpoint is None else bucket.endpoint.rstrip("/")
        if endpoint is not None:
            reading["endpoint"] = endpoint
        trusted = authorities(bucket.credentials, secret)
        trust: dict[str, Any] = {} if trusted is None else {"connection_verify": trusted}
        lists = ContainerClient(
            endpoint or f"https://{account}.blob.core.windows.net",
            bucket.name,
            credential=credential,
            retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=4),
            connection_timeout=10,
            read_timeout=60,
            user_agent=AGENT,
            **trust,
        )
        reads = AzureStore(
            bucket.name,
            account_name=account,
            client_options=rust_store.client_options(bucket.endpoint, secret),
            retry_config=rust_store.RETRIES,
            **reading,
        )
    except BucketError:
        raise
    except Exception as error:  # a key that is no key
        raise bucket_error(
            bucket, "InvalidAuthenticationInfo", None, rust_store.brief(str(error))
        ) from None
    return _Client(bucket, lists, reads, kinds)


def _identity(bucket: Bucket, given: Mapping[str, str]) -> TokenCredential:
    """Raises BucketError."""
    if bucket.credentials is None:
        return DefaultAzureCredential()
    if not all(given.get(name) for name in _PRINCIPAL):
        raise no_credentials(bucket)
    tenant, client, password = (given[name] for name in _PRINCIPAL)
    return ClientSecretCredential(tenant, client, password)


def _provider(credential: TokenCredential) -> Any:
    """What gives the reading client the token that the other one has."""

    def current() -> AzureCredential:
        token = credential.get_token(_SCOPE)
        return {
            "token": token.token,
            "expires_at": datetime.fromtimestamp(token.expires_on, UTC),
        }

    return current
