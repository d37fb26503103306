"""The listing of a bucket, for one process or for several that go through it together."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from lookalike_serving.images.buckets import Listed, ObjectStore
from lookalike_serving.ingest.together import Together, packed, unpacked


async def list_bucket(
    store: ObjectStore, together: Together | None, place: str, prefix: str, start_after: str | None
) -> AsyncGenerator[Sequence[Listed], None]:
    """As `store.list` does; with `together` each key is asked of the service once for all.

    `place` names what is listed, the same in every process. Raises IndexFailure beside what the
    store raises.
    """
    if together is None:
        async for page in store.list(prefix, start_after):
            yield page
        return

    async def read_on(after: str) -> AsyncGenerator[tuple[str, str], None]:
        async for page in store.list(prefix, after or None):
            if page:
                yield after, encoded(page)
                after = page[-1].key
        yield after, encoded(())

    place = "\x00".join((place, prefix, start_after or ""))
    async with together.sharing(place, read_on) as shared:
        async for page in shared.pages(start_after or "", decoded, _last_key):
            yield page


def _last_key(_: str, page: Sequence[Listed]) -> str:
    """A page begins after the last key of the one before."""
    return page[-1].key


def encoded(page: Sequence[Listed]) -> str:
    columns = [
        [each.key for each in page],
        [each.bytes for each in page],
        [each.modified.timestamp() for each in page],
        [each.version for each in page],
        [each.archived for each in page],
        [each.labels for each in page],
    ]
    return packed(json.dumps(columns))


def decoded(page: str) -> list[Listed]:
    return [
        Listed(key, size, datetime.fromtimestamp(modified, UTC), version, archived, labels)
        for key, size, modified, version, archived, labels in zip(*unpacked(page), strict=True)
    ]
