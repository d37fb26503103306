"""Google Cloud Storage: a service account's key, or the identity of the machine or pod."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from obstore.store import GCSStore

from lookalike_crds.buckets import Bucket
from lookalike_serving.images.buckets import rust_store
from lookalike_serving.images.buckets.errors import bucket_error, no_credentials
from lookalike_serving.images.buckets.protocol import ObjectStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore as AnyStore

_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_IN_ENVIRONMENT = (_KEY, "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS")


def open_bucket(bucket: Bucket) -> ObjectStore:
    return rust_store.RustStore(bucket, _store)


def _store(bucket: Bucket, secret: Mapping[str, str] | None) -> AnyStore:
    given: dict[str, Any] = {}
    if bucket.credentials is not None:
        key = _key(secret or {})
        if key is None:
            raise no_credentials(bucket)
        given["service_account_key"] = key
    elif bucket.endpoint is not None and not any(os.environ.get(n) for n in _IN_ENVIRONMENT):
        given["skip_signature"] = True  # a compatible service, which Google's identity is not for
    if bucket.endpoint is not None:
        given["base_url"] = bucket.endpoint.rstrip("/")
    try:
        return GCSStore(
            bucket.name,
            client_options=rust_store.client_options(bucket.endpoint, secret),
            retry_config=rust_store.RETRIES,
            **given,
        )
    except Exception as error:  # a key that is no key
        raise bucket_error(
            bucket, "InvalidAuthenticationInfo", None, rust_store.brief(str(error))
        ) from None


def _key(secret: Mapping[str, str]) -> str | None:
    """The service account's key, under its usual name or as the file that Google gives out."""
    files = (value for name, value in secret.items() if name.endswith(".json"))
    return secret.get(_KEY) or next(files, None)
