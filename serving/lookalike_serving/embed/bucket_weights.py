"""Weights in a bucket: `s3://bucket/key`, `gs://bucket/key`, `az://container@account/key`.

They are read in parts into the cache folder (`fetching`), with the credentials of the environment
or the pod's own identity. What was fetched once is kept, as with the hub: a new object under the
same key must not change vectors between two restarts. An object `key.sha256` beside it, as
`sha256sum` writes it, tells the digest that it must have.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike_crds.buckets import SCHEMES, Bucket, object_address
from lookalike_crds.failures import BUCKET_UNREACHABLE
from lookalike_serving.embed.fetching import PART, Remote, fetch, only_one
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound, WeightsUnreachable
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, ObjectStore, open_store

_PART = PART
_LONGEST_DIGEST = 4096
_SCHEMES = tuple(f"{scheme}://" for scheme in SCHEMES)


def in_bucket(said: str | None) -> bool:
    """Whether the weights are in a bucket."""
    return said is not None and said.startswith(_SCHEMES)


@contextmanager
def told() -> Iterator[None]:
    """What buckets raise, as errors of weights. Raises WeightsNotFound, WeightsUnreachable."""
    try:
        yield
    except BucketError as error:
        unreachable = error.failure_kind is BUCKET_UNREACHABLE
        failure = WeightsUnreachable if unreachable else WeightsNotFound
        raise failure(f"spec.model.weights: {error}") from None


def opened(said: str) -> tuple[ObjectStore, str]:
    """The bucket of an address, and the key in it. Raises ModelError."""
    found = object_address(said)
    if found is None:
        raise ModelError(
            f"spec.model.weights {said!r} names no object: write s3://bucket/key, gs://bucket/key "
            "or az://container@account/key"
        )
    name, _, place = found.authority.partition("@")
    account = place or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if found.scheme == "az" and not account:
        raise ModelError(
            f"spec.model.weights {said!r} names no storage account: write "
            f"az://{name}@account/{found.key}"
        )
    if found.scheme != "az" and place:
        raise ModelError(
            f"spec.model.weights {said!r}: the address of a compatible service is set by the "
            f"environment variable AWS_ENDPOINT_URL; write {found.scheme}://{name}/{found.key}"
        )
    bucket = Bucket(
        scheme=found.scheme, name=name, account=account if found.scheme == "az" else None
    )
    return open_store(bucket), found.key


def fetched(said: str, cache_dir: Path) -> Path:
    """The path on this machine of one object, which is fetched if necessary.

    Blocks, so do not call it on an event loop. Raises WeightsNotFound, WeightsUnreachable,
    ModelError.
    """
    store, key = opened(said)
    # The suffix tells the format of the file.
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    file = cache_dir / "buckets" / f"{digest}-{Path(key).name[-100:]}"
    if file.is_file():
        return file
    try:
        with told(), only_one(file, said):
            if not file.is_file():
                asyncio.run(_download(store, key, said, file))
    except ImageError as error:
        raise WeightsNotFound(
            f"spec.model.weights {said!r} cannot be read ({error.code}): correct the bucket and "
            "the key"
        ) from None
    return file


async def _download(store: ObjectStore, key: str, said: str, to: Path) -> None:
    """Raises BucketError, ImageError, OSError, ModelError."""
    size = await store.size(key)
    look = await store.look(key)
    remote = Remote(
        said=said,
        version=look.version if look is not None else "",
        size=size,
        read_range=lambda start, length: store.read_range(key, start, length),
        sha256=await _digest(store, key),
    )
    try:
        await fetch(remote, to, part=_PART)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _digest(store: ObjectStore, key: str) -> str | None:
    """What the object beside it says, if there is one."""
    try:
        said = await store.read(f"{key}.sha256", _LONGEST_DIGEST)
    except ImageError:
        return None
    digest = said.decode("ascii", "replace").split()[:1]
    if not digest or not re.fullmatch("[0-9a-fA-F]{64}", digest[0]):
        raise ModelError(
            f"{key}.sha256 holds no SHA-256: write it with sha256sum, or remove the object"
        )
    return digest[0].lower()
