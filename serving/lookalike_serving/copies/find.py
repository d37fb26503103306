"""Which documents of a collection are this picture, or copies of it?

    picture -> hashes, embedding -> candidates -> the image of each -> verdict, best first

Candidates are few, however large the collection is: the documents whose hashes are nearest, and the
nearest by embedding. They are compared in this order, until as many copies are found as are asked
for: equal hashes need no image, near ones no keypoints. A candidate is compared by its features, or
else by its image, which is read from where it is kept; pictures that were compared lately are still
at hand. A candidate whose image cannot be read is `exact` if its stored hash says so, and is
otherwise left out, and the answer says how many were. Documents of which a person has said that
they are not copies of the picture are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lookalike_crds.image_collection import SimilarityStatus
from lookalike_serving.books.store import Books
from lookalike_serving.copies.calibration import chance_of, status_of, target_of
from lookalike_serving.copies.dismissals import dismissals_of
from lookalike_serving.documents.layout import Origin
from lookalike_serving.documents.stored import FoundDocument, read_record
from lookalike_serving.duplicates.verdicts import Comparison, Sensitivity, Verdict
from lookalike_serving.images import ImageError
from lookalike_serving.images.decode import decode_image
from lookalike_serving.index.filters.tree import And, Filter, HasId
from lookalike_serving.index.protocol import Vector
from lookalike_serving.indexes.hashes import Coverage, NearHash, check_comparing
from lookalike_serving.service import CollectionState, Service

if TYPE_CHECKING:
    from lookalike_serving.duplicates.compare import Picture, StoredPicture
    from lookalike_serving.duplicates.thresholds import Thresholds

log = logging.getLogger("lookalike.copies")

BY_EMBEDDING = 10
BY_HASH = 10
BY_PART = 3
"""For each part of the picture, if nothing else was found: see parts.py."""
MAX_TOP_K = 100
_AT_ONCE = 4
"""Candidates that are read and compared beside each other."""
_RADIUS = 47
"""Bits of PDQ. Larger ones propose what the pixels then refuse."""
_SECONDS = 15.0
"""That comparing may take in all."""


@dataclass(frozen=True, slots=True)
class Match:
    document: FoundDocument
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class FoundCopies:
    matches: tuple[Match, ...]
    """Strongest first."""
    content_hash: str
    """Of the picture's pixels, in hexadecimal digits."""
    coverage: Coverage
    warnings: tuple[str, ...]
    similarity: SimilarityStatus | None = None
    """From which score pictures were similar; None if none were asked for."""


async def find_copies(
    service: Service,
    collection: str,
    data: bytes,
    *,
    sensitivity: Sensitivity,
    top_k: int,
    similar: bool = True,
    target_fpr: float | None = None,
    but: str | None = None,
    filter: Filter | None = None,
    within: CollectionState | None = None,
    vector: Vector | None = None,
) -> FoundCopies:
    """Documents that are this image, copies of it, or – if asked for – similar to it.

    `target_fpr`: share of the pairs of different pictures that may be called similar, 0 to 1;
    default: that of the collection. It decides about no copy.
    `but`: the point of a document that is left out. `filter`: only documents that match. `within`:
    the collection with an index that does not answer yet. `vector`: of the image, by the model
    that finds copies, if it is known.
    Raises Problem 404 or 503, ImageError, ModelError, PackageMissing, IndexFailure.
    """
    from lookalike_serving.duplicates.thresholds import THRESHOLDS

    state = within or service.collection(collection)
    check_comparing()
    lost: tuple[str, ...] = ()
    if vector is None:
        embedded, (picture, coverage, near) = await asyncio.gather(
            state.finder.embed_image_timed(data, query=True),
            _hashed(service, state, data),
        )
        vector = embedded.vector
        lost = embedded.image.warnings if embedded.image else ()
    else:
        picture, coverage, near = await _hashed(service, state, data)
    limit = max(BY_EMBEDDING, top_k if similar else 0) + 1
    hits = await state.index.query(state.near(vector, limit, filter))
    near = await _matching(state, near, filter)
    by_hash = {each.id: each.distance for each in near if each.id != but}
    by_embedding = [hit.id for hit in hits if hit.id != but]
    ids = list(dict.fromkeys([*by_hash, *by_embedding]))
    candidates = await _read(state, ids, vector)
    content = picture.hashes.content
    dismissals = await dismissals_of(service, collection)

    async def not_dismissed(some: list[_Candidate]) -> list[_Candidate]:
        same = [each.document.origin for each in candidates if each.has(content)]
        gone = await dismissals.dismissed(
            content.hex(), [each.document.origin for each in some], same
        )
        return [each for each in some if each.document.origin.document_id not in gone]

    candidates = await not_dismissed(candidates)
    compared = set([*by_hash][:BY_HASH]) | set(by_embedding[:BY_EMBEDDING])
    similarity = None
    if similar:
        target = target_of(state.config.duplicates) if target_fpr is None else target_fpr
        chance = await chance_of(service, state)
        similarity = status_of(chance, target)
    similar_from = None if similarity is None else similarity.similar_from
    books = await service.books(collection)

    async def stored(candidate: _Candidate) -> StoredPicture:
        return await _stored_picture(service, books, candidate)

    told = await _compared(
        service, stored, picture, candidates, compared, THRESHOLDS[sensitivity], similar_from, top_k
    )
    copied = any(match.comparison.verdict is not Verdict.SIMILAR for match in told.matches)
    if not copied and sensitivity is not Sensitivity.STRICT:
        more = await not_dismissed(
            await _by_parts(state, picture, {*ids, *((but,) if but else ())}, filter)
        )
        told = told.and_also(
            await _compared(
                service,
                stored,
                picture,
                more,
                {each.id for each in more},
                THRESHOLDS[sensitivity],
                None,
                top_k,
            )
        )
    matches = sorted(told.matches, key=lambda match: match.comparison.order, reverse=True)
    warnings = [*lost, *told.warnings]
    warnings += _on_coverage(state, coverage)
    if similarity is not None and target_fpr is not None:
        warnings += _on_similarity(similarity)
    return FoundCopies(
        tuple(matches[:top_k]),
        content.hex(),
        coverage,
        tuple(dict.fromkeys(warnings)),
        similarity,
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: str
    document: FoundDocument
    cosine: float | None

    def has(self, content: bytes) -> bool:
        """Whether its pixels are known to be these."""
        from lookalike_serving.duplicates.hashes import Hashes

        hashes = Hashes.read(self.document.origin.copies)
        return hashes is not None and hashes.content == content


async def _read(state: CollectionState, ids: Sequence[str], vector: Vector) -> list[_Candidate]:
    """The documents that are there, in this order."""
    records = await state.index.retrieve(ids, with_payload=True, with_vector=True)
    return [
        _Candidate(record.id, found, _cosine(vector, state.found_by(record)))
        for record in records
        if (found := read_record(record)) is not None
    ]


async def _matching(
    state: CollectionState, near: list[NearHash], filter: Filter | None
) -> list[NearHash]:
    """Those whose documents match."""
    if filter is None or not near:
        return near
    ids = HasId(tuple(each.id for each in near))
    page = await state.index.scroll(filter=And((ids, filter)), limit=len(near), with_payload=False)
    there = {record.id for record in page.records}
    return [each for each in near if each.id in there]


async def _by_parts(
    state: CollectionState, picture: Picture, known: set[str], filter: Filter | None
) -> list[_Candidate]:
    """Further candidates: the nearest ones to parts of the picture."""
    from lookalike_serving.duplicates.parts import parts

    views = parts(picture.view)
    if not views:
        return []
    vectors = [
        each.vector
        for each in await state.finder.embed_images(views)
        if not isinstance(each, Exception)
    ]
    near = await state.index.query_batch([state.near(each, BY_PART, filter) for each in vectors])
    found = dict.fromkeys(hit.id for hits in near for hit in hits if hit.id not in known)
    records = await state.index.retrieve([*found], with_payload=True)
    return [
        _Candidate(record.id, document, None)
        for record in records
        if (document := read_record(record)) is not None
    ]


@dataclass(frozen=True, slots=True)
class _Compared:
    matches: list[Match]
    warnings: list[str]

    def and_also(self, other: _Compared) -> _Compared:
        return _Compared([*self.matches, *other.matches], [*self.warnings, *other.warnings])


async def _compared(
    service: Service,
    stored: Callable[[_Candidate], Awaitable[StoredPicture]],
    picture: Picture,
    candidates: Sequence[_Candidate],
    compared: set[str],
    thresholds: Thresholds,
    similar_from: float | None,
    enough: int,
) -> _Compared:
    """The verdicts on candidates; those of `compared` by their pixels, a few at a time, until
    `enough` of them are copies."""
    from lookalike_serving.duplicates.compare import compare, compare_stored

    def alone(candidate: _Candidate) -> Comparison:
        return compare_stored(
            picture,
            candidate.document.origin.copies,
            cosine=candidate.cosine,
            similar_from=similar_from,
        )

    async def by_pixels(candidate: _Candidate) -> Comparison:
        there = await stored(candidate)
        return await service.in_thread(
            compare,
            picture,
            there,
            thresholds,
            cosine=candidate.cosine,
            similar_from=similar_from,
        )

    told = {each.id: alone(each) for each in candidates}
    open_ = [each for each in candidates if each.id in compared and not told[each.id].exact]
    unread: list[str] = []
    late = 0
    ends = asyncio.get_running_loop().time() + _SECONDS
    for start in range(0, len(open_), _AT_ONCE):
        if sum(each.verdict in _COPIES for each in told.values()) >= enough:
            break
        if asyncio.get_running_loop().time() > ends:
            late = len(open_) - start
            break
        some = open_[start : start + _AT_ONCE]
        results = await asyncio.gather(*map(by_pixels, some), return_exceptions=True)
        for candidate, result in zip(some, results, strict=True):
            if isinstance(result, ImageError):
                unread.append(f"{candidate.document.origin.document_id} ({result.code})")
            elif isinstance(result, BaseException):
                raise result
            else:
                told[candidate.id] = result
    warnings = []
    if unread:
        shown = ", ".join(unread[:3])
        warnings.append(
            f"the images of {len(unread)} candidates could not be read, so they were not compared: "
            f"{shown}"
        )
    if late:
        warnings.append(
            f"{late} candidates were not compared, since the others took {_SECONDS:g} seconds"
        )
    matches = [
        Match(each.document, told[each.id])
        for each in candidates
        if told[each.id].verdict is not None
    ]
    return _Compared(matches, warnings)


_COPIES = (Verdict.EXACT, Verdict.COPY)


async def _hashed(
    service: Service, state: CollectionState, data: bytes
) -> tuple[Picture, Coverage, list[NearHash]]:
    """The picture, and the documents whose hashes are near. If there are none, keypoints are to
    decide, and are made while the model embeds the picture. Raises ImageError."""
    picture = await service.in_thread(_picture, data, service.config.fetch.max_pixels)
    coverage = await state.hashes.ready()
    near = await service.in_thread(state.hashes.search, picture.hashed, _RADIUS, BY_HASH + 1)
    if not near:
        await service.in_thread(lambda: picture.asked)
    return picture, coverage, near


def _picture(data: bytes, max_pixels: int) -> Picture:
    """Blocks. Raises ImageError."""
    from lookalike_serving.duplicates.compare import Picture

    return Picture(decode_image(data, max_pixels=max_pixels).pixels)


async def _stored_picture(service: Service, books: Books, candidate: _Candidate) -> StoredPicture:
    """The picture of a document: by its features, or else by its image. Raises ImageError."""
    origin = candidate.document.origin
    key = f"{origin.image}\x00{origin.fingerprint}\x00{origin.sha256}"
    known: StoredPicture | None = service.pictures.get(key)
    if known is not None:
        return known
    made = None
    if origin.features is not None and origin.width is not None and origin.height is not None:
        from lookalike_serving.duplicates.compare import StoredPicture

        features = await books.features_of(candidate.id, origin.sha256)
        made = StoredPicture.kept(features, origin.copies, origin.width, origin.height)
    if made is None:
        data, _ = await service.images.get(origin.image)
        made = await service.in_thread(_made, data, origin, service.config.fetch.max_pixels)
    service.pictures[key] = made
    return made


def _made(data: bytes, origin: Origin, max_pixels: int) -> StoredPicture:
    """Blocks. If its hashes are stored, only as many pixels are decoded as are compared. Raises
    ImageError."""
    from lookalike_serving.duplicates.compare import StoredPicture
    from lookalike_serving.duplicates.features import VIEW_SIDE
    from lookalike_serving.duplicates.hashes import Hashes

    hashes = Hashes.read(origin.copies)
    if hashes is None or origin.width is None or origin.height is None:
        return _picture(data, max_pixels)
    pixels = decode_image(data, min_side=VIEW_SIDE, max_pixels=max_pixels).pixels
    return StoredPicture(pixels, hashes, origin.width, origin.height)


def _cosine(a: Vector, b: Vector | None) -> float | None:
    if b is None:
        return None
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else None


def _on_similarity(similarity: SimilarityStatus) -> list[str]:
    """Whether the sample is large enough for what was asked."""
    target, pairs = similarity.target_fpr, similarity.pairs
    if similarity.similar_from is None or target * pairs >= 1:
        return []
    return [
        f"target_fpr {target:g} is less than one of the {pairs:,} pairs of different pictures on "
        "which it was measured: only pictures that are more alike than all of these are similar"
    ]


def _on_coverage(state: CollectionState, coverage: Coverage) -> list[str]:
    if state.config.duplicates is None:
        return [
            "spec.duplicates is not set, so no hashes are kept: copies were looked for among the "
            f"{BY_EMBEDDING} nearest documents by embedding only"
        ]
    if not coverage.complete:
        return [
            f"the hashes of documents are still being read ({coverage.hashed:,} so far): ask again "
            "in a moment"
        ]
    missing = coverage.documents - coverage.hashed
    if missing <= 0:
        return []
    return [
        f"{missing:,} of {coverage.documents:,} documents have no hashes, since they were stored "
        "before spec.duplicates was set: they are found by embedding only until they are ingested "
        "or uploaded again"
    ]
