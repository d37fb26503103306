"""From which score two pictures of a collection look alike: measured, kept beside its records, and
measured again as the collection grows or has another model.

What is kept are the highest scores of a sample, so any `target_fpr` is answered without measuring
again. Whoever asks first measures; other processes read the record.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lookalike_crds.image_collection import DuplicatesSpec, SimilarityStatus
from lookalike_crds.payload_indexes import RESERVED
from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.index.protocol import Point, PointStore
from lookalike_serving.service import CollectionState, Service

if TYPE_CHECKING:
    from lookalike_serving.duplicates.chance import Chance

log = logging.getLogger("lookalike.copies")

_AGAIN_AFTER = 30.0
"""Seconds after which the number of documents is compared again."""
_COPIES = f"{RESERVED}.copies"


def target_of(spec: DuplicatesSpec | None) -> float:
    """The share that a collection asks for, unless a request says otherwise."""
    return (spec or DuplicatesSpec()).target_fpr


async def chance_of(service: Service, state: CollectionState) -> Chance:
    """As it is known, or measured now. Raises Problem 503, IndexFailure."""
    holder = state.hashes
    now = time.monotonic()
    if holder.chance is not None and now - holder.chance_checked_at < _AGAIN_AFTER:
        return holder.chance
    async with holder.measuring:
        if holder.chance is not None and now < holder.chance_checked_at:
            return holder.chance  # somebody else has just looked
        documents = (await state.index.info()).points
        model = state.finder.info.fingerprint
        known = holder.chance or await known_chance(service, state)
        if known is None or not known.holds(model, documents):
            known = await _measured(service, state, documents, model)
            index, id = await _place(service, state)
            await index.upsert([Point(id, None, known.as_payload())])
        holder.chance, holder.chance_checked_at = known, time.monotonic()
        return known


async def known_chance(service: Service, state: CollectionState) -> Chance | None:
    """As it was measured last, in whatever process. Raises Problem 503, IndexFailure."""
    from lookalike_serving.duplicates.chance import Chance

    if state.hashes.chance is not None:
        return state.hashes.chance
    index, id = await _place(service, state)
    found = await index.retrieve([id])
    if not found:
        return None
    read = Chance.read(found[0].payload)
    if read is None:
        log.warning(
            "the record of how alike different pictures of collection %s are cannot be used: it is "
            "measured again",
            state.name,
        )
    return read


def status_of(chance: Chance, target: float) -> SimilarityStatus:
    """As the status of an ImageCollection has it."""
    return SimilarityStatus(
        target_fpr=target,
        similar_from=chance.similar_from(target),
        pairs=chance.pairs,
        sampled=chance.sampled,
        documents=chance.documents,
        measured_at=chance.measured_at,
    )


async def _measured(service: Service, state: CollectionState, documents: int, model: str) -> Chance:
    from lookalike_serving.duplicates.chance import SAMPLE, measured
    from lookalike_serving.duplicates.hashes import Hashes

    # Ids are hashes, so the first ones are a sample.
    page = await state.index.scroll(limit=SAMPLE, with_payload=(_COPIES,), with_vector=True)
    sample = [
        (vector, Hashes.read((record.payload.get(RESERVED) or {}).get("copies")))
        for record in page.records
        if (vector := state.found_by(record)) is not None
    ]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return await service.in_thread(measured, sample, documents, model, at)


async def _place(service: Service, state: CollectionState) -> tuple[PointStore, str]:
    await service.books(state.name)  # opens the place where the records are
    return service.books_index(state.config), Scope.of(state.config).id(Kind.CHANCE)
