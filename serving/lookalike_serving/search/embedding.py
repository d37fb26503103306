"""Queries -> vectors, in the space of each collection's model.

Three steps: check every query against what the models can do, load what must be loaded (images,
stored documents), embed. Each distinct model embeds a query once, however many collections use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lookalike_serving.documents import ids
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import split
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.images import checked_size
from lookalike_serving.index.protocol import Vector
from lookalike_serving.problems import Wrong, invalid, wrong
from lookalike_serving.search.combine import EmbeddedQuery
from lookalike_serving.search.plan import SearchPlan, Target
from lookalike_serving.search.request import PART_PREFIX, QueryPart, QueryType
from lookalike_serving.search.timing import Stopwatch
from lookalike_serving.service import Service
from lookalike_serving.together import together

MAX_TEXT = 2000
_SHOWN = 200
"""Characters of a text that a warning shows."""
_LARGEST = 1e15
"""Vectors of larger numbers overflow float32 when they are multiplied."""


@dataclass(frozen=True, slots=True)
class EmbeddedRequest:
    """All queries in each collection's space."""

    queries: dict[str, tuple[EmbeddedQuery, ...]]
    """By collection, in the request's order; empty if its model understands none of them."""
    asked_with: dict[str, tuple[str, ...]]
    """By collection, the points of the documents that were searched with."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _StoredDocument:
    """A document that is a query: where it lies, its vectors, its image."""

    vectors: dict[str, Vector]
    """By collection."""
    image: str


async def embed_queries(
    service: Service, plan: SearchPlan, parts: Mapping[str, bytes], clock: Stopwatch
) -> EmbeddedRequest:
    """Raises Problem 422 for queries that are wrong or that a model cannot serve."""
    queries = list(enumerate(plan.request.queries))
    warnings = _check(plan.targets, queries)
    with clock.stage("load"):
        documents = {
            position: await _find(plan.targets, position, query)
            for position, query in queries
            if query.type is QueryType.DOCUMENT
        }
        images = await _load_images(service, plan.targets, queries, documents, parts)
    with clock.stage("embed"):
        spaces = {id(t.state.embedder): t.state.embedder for t in plan.targets}
        wanted = [
            (space, position, query)
            for space in spaces
            for position, query in queries
            if (query.type is not QueryType.DOCUMENT or position in images)
            and not _means_nothing(spaces[space], query)
        ]
        made = (
            await together([_embed(spaces[s], position, q, images) for s, position, q in wanted])
            if wanted
            else []
        )
        vectors = {}
        for (space, position, _), (made_of, left_out) in zip(wanted, made, strict=True):
            vectors[space, position] = made_of
            warnings += [f"queries[{position}].value: {told}" for told in left_out]
    embedded: dict[str, tuple[EmbeddedQuery, ...]] = {}
    for target in plan.targets:
        of_target = []
        for position, query in queries:
            if _means_nothing(target.state.embedder, query):
                continue
            vector = _stored_vector(target, plan.targets, documents.get(position))
            if vector is None:
                vector = vectors[id(target.state.embedder), position]
            of_target.append(EmbeddedQuery(position, query.type, query.weight, vector))
        embedded[target.name] = tuple(of_target)
    asked_with = {
        target.name: tuple(
            point_id(target.name, str(query.value))
            for position, query in queries
            if position in documents and target.name in documents[position].vectors
        )
        for target in plan.targets
    }
    return EmbeddedRequest(embedded, asked_with, tuple(dict.fromkeys(warnings)))


def _check(targets: Sequence[Target], queries: Sequence[tuple[int, QueryPart]]) -> list[str]:
    """Warnings; raises where a query cannot be served at all."""
    errors: list[Wrong] = []
    warnings: list[str] = []
    for position, query in queries:
        at = f"queries[{position}]"
        if message := _wrong_value(query):
            errors.append(Wrong(f"{at}.value", message))
            continue
        for target in {t.state.embedder.info.fingerprint: t for t in targets}.values():
            if message := _unservable(query, target):
                errors.append(Wrong(f"{at}.value", message))
        for target in targets:
            if query.embedding_model is None or query.embedding_model in names_of(target):
                continue
            told = (
                f"{query.embedding_model!r} is not the model of collection {target.name!r}, "
                f"which is {model_name(target)!r}"
            )
            if query.type is QueryType.VECTOR:
                errors.append(
                    Wrong(
                        f"{at}.embedding_model",
                        f"{told}: vectors of different models cannot be compared",
                    )
                )
            else:
                warnings.append(f"{at}.embedding_model: {told}; that model embedded the query")
        if query.type is QueryType.TEXT:
            warnings.extend(_unread(targets, at, str(query.value)))
    if errors:
        raise invalid(errors)
    return list(dict.fromkeys(warnings))


def _wrong_value(query: QueryPart) -> str | None:
    value = query.value
    match query.type:
        case QueryType.VECTOR:
            if not isinstance(value, list) or not value:
                return (
                    "a vector query takes a list of numbers, or base64 of them as little-endian "
                    "float32"
                )
            vector = np.asarray(value, dtype=np.float64)
            if not np.isfinite(vector).all():
                return f"holds {value[int((~np.isfinite(vector)).argmax())]}: only finite numbers"
            if float(np.abs(vector).max()) > _LARGEST:
                return f"holds numbers beyond {_LARGEST:g}: scale it down"
        case QueryType.TEXT:
            if not isinstance(value, str) or not value.strip():
                return "a text query takes a text that is not empty"
            if len(value) > MAX_TEXT:
                return f"has {len(value)} characters: at most {MAX_TEXT} are allowed"
        case QueryType.IMAGE:
            if not isinstance(value, str) or not value:
                return (
                    "an image query takes an https URL, a data URL, base64, or part:<name> of a "
                    "multipart request"
                )
        case QueryType.DOCUMENT:
            if not isinstance(value, str) or not value:
                return "a document query takes the id of a stored document"
    return None


def _unservable(query: QueryPart, target: Target) -> str | None:
    info = target.state.embedder.info
    if query.type is QueryType.TEXT and not info.supports_text:
        return (
            f"{info.name!r}, the model of collection {target.name!r}, does not understand text: "
            "query with an image, or with a document of the collection"
        )
    if query.type is QueryType.VECTOR and len(query.value or ()) != info.dimension:
        return (
            f"has {len(query.value or ())} numbers, but vectors of model {info.name!r} have "
            f"{info.dimension}"
        )
    return None


def model_name(target: Target) -> str:
    model = target.state.config.model
    return "/".join(part for part in (model.name or str(model.provider), model.weights) if part)


def names_of(target: Target) -> set[str]:
    """Every way a caller may name a collection's model."""
    model = target.state.config.model
    info = target.state.embedder.info
    names = {info.name, info.provider, f"{info.provider}/{info.name}", model_name(target)}
    return names | {name for name in (model.name, model.weights) if name}


def _unread(targets: Sequence[Target], at: str, text: str) -> list[str]:
    warnings = []
    for embedder in {id(t.state.embedder): t.state.embedder for t in targets}.values():
        info, words = embedder.info, embedder.unknown_words(text)
        listed = ", ".join(repr(word) for word in words[:10])
        if not embedder.understands(text):
            reason = (
                f"{info.name} knows none of {listed}"
                if words
                else f"{_shortened(text)!r} names nothing that {info.name} knows"
            )
            warnings.append(
                f"{at}.value: {reason}, so nothing is searched for; the model {info.ability}"
            )
        elif words:
            warnings.append(f"{at}.value: the model does not know {listed} and ignores such words")
        if unread := embedder.left_out(text):
            warnings.append(
                f"{at}.value: {info.name} reads only the beginning of a text this long; "
                f"not searched for: {_shortened(unread)!r}"
            )
    return warnings


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _means_nothing(embedder: BatchedEmbedder, query: QueryPart) -> bool:
    """Whether the model knows no word of a text: it would find what is near to nothing."""
    return query.type is QueryType.TEXT and not embedder.understands(str(query.value))


async def _find(targets: Sequence[Target], position: int, query: QueryPart) -> _StoredDocument:
    """The document a query names. Raises Problem 422 if none has the id, or several have."""
    at = f"queries[{position}]"
    document_id = ids.asked(str(query.value), f"{at}.value")
    names = [target.name for target in targets]
    if query.collection is not None and query.collection not in names:
        message = f"{query.collection!r} is not searched by this retriever: {', '.join(names)} are"
        raise wrong(f"{at}.collection", message)
    asked = [t for t in targets if query.collection in (None, t.name)]
    found = await together(
        [
            target.state.index.retrieve([point_id(target.name, document_id)], with_vector=True)
            for target in asked
        ]
    )
    vectors: dict[str, Vector] = {}
    images: dict[str, str] = {}
    for target, records in zip(asked, found, strict=True):
        if records and records[0].vector is not None:
            vectors[target.name] = records[0].vector
            images[target.name] = split(records[0].payload)[1].image
    if not vectors:
        where = ", ".join(target.name for target in asked)
        raise wrong(f"{at}.value", f"there is no document {document_id!r} in {where}")
    if len(set(images.values())) > 1:
        message = (
            f"{document_id!r} is a different document in {', '.join(images)}: name one of them"
        )
        raise wrong(f"{at}.collection", message)
    return _StoredDocument(vectors, next(iter(images.values())))


def _stored_vector(
    target: Target, targets: Sequence[Target], document: _StoredDocument | None
) -> Vector | None:
    """A document's own vector in a target's space, where one is stored."""
    if document is None:
        return None
    if target.name in document.vectors:
        return document.vectors[target.name]
    model = target.state.embedder.info.fingerprint
    for other in targets:
        if other.name in document.vectors and other.state.embedder.info.fingerprint == model:
            return document.vectors[other.name]
    return None


async def _load_images(
    service: Service,
    targets: Sequence[Target],
    queries: Sequence[tuple[int, QueryPart]],
    documents: Mapping[int, _StoredDocument],
    parts: Mapping[str, bytes],
) -> dict[int, bytes]:
    """Image files by position: of image queries, and of documents some model has not embedded."""
    loading = {}
    for position, query in queries:
        if query.type is QueryType.IMAGE:
            at = f"queries[{position}].value"
            loading[position] = query_bytes(service, str(query.value), parts, at)
        elif position in documents and any(
            _stored_vector(target, targets, documents[position]) is None for target in targets
        ):
            loading[position] = _document_bytes(service, documents[position].image)
    if not loading:
        return {}
    return dict(zip(loading, await together(list(loading.values())), strict=True))


async def query_bytes(service: Service, value: str, parts: Mapping[str, bytes], path: str) -> bytes:
    """The bytes of a part of the multipart request, or of a caller's URL, data URL or base64.

    Never of a file of this machine. Raises ImageError, Problem 422.
    """
    if not value.startswith(PART_PREFIX):
        return await service.reader.read(value)
    name = value.removeprefix(PART_PREFIX)
    if name not in parts:
        known = ", ".join(sorted(parts)) or "none: send multipart/form-data"
        raise wrong(path, f"there is no file part {name!r}; parts sent: {known}")
    return checked_size(parts[name], service.config.fetch.max_bytes)


async def _document_bytes(service: Service, image: str) -> bytes:
    data, _ = await service.images.get(image)
    return data


async def _embed(
    embedder: BatchedEmbedder, position: int, query: QueryPart, images: Mapping[int, bytes]
) -> tuple[Vector, tuple[str, ...]]:
    """A query's vector, and what was lost when its image was decoded."""
    if position in images:
        embedded = await embedder.embed_image_timed(images[position], query=True)
        return embedded.vector, embedded.image.warnings if embedded.image is not None else ()
    if isinstance(query.value, list):
        return np.asarray(query.value, dtype=np.float32), ()
    return await embedder.embed_text(str(query.value)), ()
