"""Weights in a bucket: `s3://bucket/key`, `gs://bucket/key`, `az://container@account/key`.

They are read in parts into the cache folder, with the credentials of the environment or the pod's
own identity. What was fetched once is kept, as with the hub: a new object under the same key must
not change vectors between two restarts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from pathlib import Path

from lookalike_crds.buckets import SCHEMES, Bucket, object_address
from lookalike_crds.failures import BUCKET_UNREACHABLE
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound, WeightsUnreachable
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, ObjectStore, open_store

_PART = 32 * 1024 * 1024
_AT_ONCE = 4
_SCHEMES = tuple(f"{scheme}://" for scheme in SCHEMES)


def in_bucket(said: str | None) -> bool:
    """Whether the weights are in a bucket."""
    return said is not None and said.startswith(_SCHEMES)


def fetched(said: str, cache_dir: Path) -> Path:
    """The path of the file on this machine, which is fetched if necessary.

    Blocks, so do not call it on an event loop. Raises WeightsNotFound, WeightsUnreachable,
    ModelError.
    """
    found = object_address(said)
    if found is None or not found.key or found.key.endswith("/"):
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
    # The suffix tells the format of the file.
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    file = cache_dir / "buckets" / f"{digest}-{Path(found.key).name[-100:]}"
    if file.is_file():
        return file
    bucket = Bucket(
        scheme=found.scheme, name=name, account=account if found.scheme == "az" else None
    )
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(_download(open_store(bucket), found.key, part))
        part.replace(file)
    except BucketError as error:
        unreachable = error.failure_kind is BUCKET_UNREACHABLE
        failure = WeightsUnreachable if unreachable else WeightsNotFound
        raise failure(f"spec.model.weights: {error}") from None
    except ImageError as error:
        raise WeightsNotFound(
            f"spec.model.weights {said!r} cannot be read ({error.code}): correct the bucket and "
            "the key"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return file


async def _download(store: ObjectStore, key: str, to: Path) -> None:
    """Download in parts, a few at once. Raises BucketError, ImageError, OSError."""
    size = await store.size(key)
    room = asyncio.Semaphore(_AT_ONCE)
    with to.open("wb") as file:

        async def part(start: int) -> None:
            async with room:
                data = await store.read_range(key, start, min(_PART, size - start))
                await asyncio.to_thread(os.pwrite, file.fileno(), data, start)

        await asyncio.gather(*(part(start) for start in range(0, size, _PART)))
        file.flush()
        os.fsync(file.fileno())
