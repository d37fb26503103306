"""Carries documents from the index that answers to one that another model fills.

    the former index  ->  what is behind in the new one?  ->  image embedded again | payload copied

Sources bring their own documents into the new index. What they do not bring – uploads, documents of
a source that is no longer declared, or whose object has gone – is embedded again from the image
that its document names. So every document of the former index is compared, whoever brought it. A
document that cannot be embedded again is reported by whoever carries; it is never left out
silently.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lookalike_serving.documents.build import Kept, Seen, image_facts, look
from lookalike_serving.documents.layout import RESERVED, Origin, payload, split
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.images import ImageFile
from lookalike_serving.index.protocol import Point, PointStore, Record

_PAGE = 1000

DeletionsOf = Callable[[Sequence[str]], Awaitable[Mapping[str, Any]]]
"""Of these points, those of documents that somebody deleted."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Documents of the former index that the new one lacks, or has as they were earlier."""

    images: tuple[Record, ...]
    """To be embedded, with their whole payload."""
    payloads: tuple[Record, ...]
    """Embedded already: only what is stored about them has changed."""


async def behind(before: PointStore, after: PointStore, since: str = "") -> AsyncIterator[Behind]:
    """A page of the former index at a time: of what was written `since` then (RFC 3339, UTC).

    Raises IndexFailure.
    """
    start: str | None = None
    while True:
        page = await before.scroll(limit=_PAGE, after=start, with_payload=(RESERVED,))
        mine = {
            id: origin
            for id, origin in _origins(page.records).items()
            if (origin.updated_at or "") >= since
        }
        stored = await after.retrieve(list(mine), with_payload=(RESERVED,)) if mine else []
        there = _origins(stored)
        embed, rewrite = [], []
        for id, origin in mine.items():
            new = there.get(id)
            if new is None or _shows_another_image(origin, new):
                embed.append(id)
            elif _says_more(origin, new):
                rewrite.append(id)
        if embed or rewrite:
            whole = {each.id: each for each in await before.retrieve([*embed, *rewrite])}
            # A document that was deleted in the meantime is in neither.
            yield Behind(
                tuple(whole[id] for id in embed if id in whole),
                tuple(Record(id, _copied(whole[id], there[id])) for id in rewrite if id in whole),
            )
        if page.next is None:
            return
        start = page.next


async def gone(
    before: PointStore, after: PointStore, sources: Iterable[str], deletions_of: DeletionsOf
) -> AsyncIterator[list[str]]:
    """Points of the new index whose documents have been deleted from the former one.

    The new index may have been filled earlier, and a source may have brought into it what the
    former index never had: a document of one of the `sources` is gone only if somebody deleted it.
    """
    known = frozenset(sources)
    start: str | None = None
    while True:
        page = await after.scroll(limit=_PAGE, after=start, with_payload=(RESERVED,))
        mine = _origins(page.records)
        stored = await before.retrieve(list(mine), with_payload=False) if mine else []
        there = {each.id for each in stored}
        missing = [id for id in mine if id not in there]
        deleted = await deletions_of(missing) if missing else {}
        found = [id for id in missing if mine[id].source not in known or id in deleted]
        if found:
            yield found
        if page.next is None:
            return
        start = page.next


async def carried(
    record: Record,
    data: bytes,
    embedder: BatchedEmbedder,
    *,
    copier: BatchedEmbedder | None = None,
    kept: Kept,
    max_pixels: int,
) -> tuple[Point, Seen]:
    """The document of the former index, as the new model sees its image.

    Features that are kept of the same image stay: they do not depend on the model. Raises
    ImageError, Overloaded, ModelError.
    """
    metadata, origin = split(record.payload)
    file = ImageFile.of(data)
    if origin.features is not None and origin.sha256 == file.sha256:
        kept = replace(kept, features=False)
    seen = await look(file, embedder, copier=copier, kept=kept, max_pixels=max_pixels)
    if origin.sha256 != seen.file.sha256:
        # Its address shows another image now: what is stored about the image follows it.
        origin = replace(origin, **image_facts(seen), features=None, etag=None, last_modified=None)
    features = origin.features if seen.features is None else len(seen.features)
    origin = replace(origin, copies=seen.hashes, features=features)
    return Point(record.id, seen.vector, payload(metadata, origin), seen.copies), seen


def _origins(records: Iterable[Record]) -> dict[str, Origin]:
    """By point; points that another program wrote are left out."""
    return {each.id: split(each.payload)[1] for each in records if RESERVED in each.payload}


def _shows_another_image(before: Origin, after: Origin) -> bool:
    """An upload that was replaced. What sources bring is newer in the new index."""
    return before.source is None and after.source is None and before.sha256 != after.sha256


def _says_more(before: Origin, after: Origin) -> bool:
    """Whether something was changed, by a request, that the new index does not have."""
    if before.source != after.source or before.fingerprint != after.fingerprint:
        return False
    if (before.updated_at or "") > (after.updated_at or ""):
        return True
    # A source has just brought it into the new index, without what a request changed.
    return before.source is not None and (after.created_at or "") > (before.created_at or "")


def _copied(before: Record, after: Origin) -> dict[str, Any]:
    """The payload of the former index, with what only the new one knows of the image."""
    metadata, origin = split(before.payload)
    kept = replace(
        origin, copies=after.copies or origin.copies, features=after.features or origin.features
    )
    return payload(metadata, kept)
