"""Azure Blob Storage: an account key, a shared access signature, a service principal, or the
identity of the machine or pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from obstore.store import AzureStore

from lookalike_crds.buckets import Bucket
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import bucket_error, no_credentials
from lookalike_serving.images.buckets.protocol import ObjectStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore as AnyStore

_KEYS = {
    "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
    "AZURE_STORAGE_SAS_TOKEN": "sas_key",
    "AZURE_CLIENT_ID": "client_id",
    "AZURE_CLIENT_SECRET": "client_secret",
    "AZURE_TENANT_ID": "tenant_id",
}


def open_bucket(bucket: Bucket) -> ObjectStore:
    return rust_store.RustStore(bucket, _store)


def _store(bucket: Bucket, secret: Mapping[str, str] | None) -> AnyStore:
    given: dict[str, Any] = {}
    if bucket.credentials is not None:
        given = {_KEYS[name]: value for name, value in (secret or {}).items() if name in _KEYS}
        if not given:
            raise no_credentials(bucket)
        if "sas_key" in given:
            given["sas_key"] = given["sas_key"].lstrip("?")
    if bucket.endpoint is not None:
        given["endpoint"] = bucket.endpoint.rstrip("/")
    try:
        return AzureStore(
            bucket.name,
            account_name=bucket.account,
            client_options=rust_store.client_options(bucket.endpoint, secret),
            retry_config=rust_store.RETRIES,
            **given,
        )
    except Exception as error:  # a key that is no key
        raise bucket_error(
            bucket, "InvalidAuthenticationInfo", None, rust_store.brief(str(error))
        ) from None
