"""The operations of one Edge shard, in the types of the index: plain calls that block.

The same engine runs in the serving process (`LocalShard`) and, for a large shard, in a process of
its own (`edge_process.py`). The caller checks the values (`edge.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import qdrant_edge as edge

from lookalike_crds.image_collection import Distance, FieldSpec, VectorSpec
from lookalike_crds.payload_indexes import key_of
from lookalike_serving.index import edge_settings
from lookalike_serving.index.edge_filters import compile_filter
from lookalike_serving.index.edge_folder import Manifest
from lookalike_serving.index.edge_shard import (
    failure_of,
    load_shard,
    match_payload_indexes,
    translated,
)
from lookalike_serving.index.facets import (
    MAX_DISTINCT,
    check_ordered,
    chosen,
    counted_type,
    ordered_values,
    value_at,
)
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import (
    Choice,
    Extent,
    Hit,
    IndexRefused,
    Page,
    Query,
    Record,
    ValueCounts,
)
from lookalike_serving.index.scores import engine_threshold, score_of
from lookalike_serving.index.spaces import checked_query, copies_of, distance_of, own_of, points_of
from lookalike_serving.index.tuning import EF, Tuning, decoded, oversampling, usual
from lookalike_serving.index.values import checked_path

StoredPoint = tuple[str, Any, dict[str, Any]]
"""(id, vector as a list of floats or {} for none, payload), all checked."""


@dataclass(frozen=True, slots=True)
class ShardPlace:
    """A shard to open, and what it is opened for."""

    folder: Path
    manifest: Manifest
    vector: VectorSpec | None
    fields: tuple[FieldSpec, ...] | None
    """Those with a payload index; None: those that have one keep it."""

    @property
    def path(self) -> Path:
        return self.folder / f"shard-{self.manifest.generation}"

    @property
    def tuning_file(self) -> Path:
        """Among Edge's own files, so that it counts and goes with them."""
        return self.path / "lookalike-tuning.json"

    def tuning(self) -> Tuning | None:
        try:
            return decoded(json.loads(self.tuning_file.read_bytes()))
        except (OSError, ValueError):  # none has been measured, or its file is damaged
            return None


@dataclass(frozen=True, slots=True)
class ShardState:
    points: int
    indexed_vectors: int
    payload_indexes: dict[str, str]
    """Key -> FieldType value."""
    tuning: Tuning | None


class ShardEngine:
    """One open shard. Its methods hold Python's interpreter lock until they return."""

    def __init__(
        self, shard: edge.EdgeShard, place: ShardPlace, tuning: Tuning | None = None
    ) -> None:
        self._shard = shard
        self._tuning = tuning
        self._path = place.folder
        self._fields = place.fields or ()
        self._dimension = place.manifest.dimension
        self._copies = place.manifest.copies
        self._distance = Distance(place.manifest.distance or Distance.COSINE)
        self._untuned = oversampling(place.vector)
        self._oversampling = oversampling(place.vector) if tuning is None else tuning.oversampling
        self._usual = usual(self._params_for, place.vector, tuning)
        if place.fields is not None:
            self.take_fields(place.fields)

    @classmethod
    def load(cls, place: ShardPlace) -> ShardEngine:
        """Open the shard with today's settings. Raises IndexFailure."""
        return cls(load_shard(place.path, place.manifest, place.vector), place, place.tuning())

    # Writing

    def take_fields(self, fields: tuple[FieldSpec, ...]) -> None:
        with translated(f"making the payload indexes of {self._path}"):
            match_payload_indexes(self._shard, fields)
        self._fields = fields

    def upsert(self, points: Sequence[StoredPoint]) -> None:
        self._update(edge.UpdateOperation.upsert_points([edge.Point(*point) for point in points]))

    def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        self._check_existing(id)
        self._update(edge.UpdateOperation.set_payload([id], payload))

    def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        self._check_existing(id)
        self._update(edge.UpdateOperation.overwrite_payload([id], payload))

    def delete(self, ids: Sequence[str]) -> None:
        self._update(edge.UpdateOperation.delete_points(list(ids)))

    def _check_existing(self, id: str) -> None:
        with translated(f"reading the index in {self._path}"):
            found = self._shard.retrieve([id], False, False)
        if not found:
            raise IndexRefused(
                f"there is no point {id}: it was deleted in the meantime; write it again"
            )

    def _update(self, operation: edge.UpdateOperation) -> None:
        with translated(f"writing to the index in {self._path}"):
            self._shard.update(operation)

    def flush(self) -> None:
        with translated(f"flushing the index in {self._path}"):
            self._shard.flush()

    # Reading

    def retrieve(
        self, ids: Sequence[str], with_payload: bool | tuple[str, ...], with_vector: bool
    ) -> list[Record]:
        wanted: list[Any] = list(ids)
        with translated(f"reading the index in {self._path}"):
            found = self._shard.retrieve(wanted, _payload_selector(with_payload), with_vector)
        return [_record(record, with_vector) for record in found]

    def stored(self, ids: Sequence[str]) -> list[StoredPoint]:
        """The points that exist, as `upsert` takes them."""
        wanted: list[Any] = list(ids)
        with translated(f"reading the index in {self._path}"):
            found = self._shard.retrieve(wanted, True, True)
        return [(str(r.id), r.vector or {}, r.payload or {}) for r in found]

    def scroll(
        self,
        filter: Filter | None,
        limit: int,
        start: str | None,
        with_payload: bool | tuple[str, ...],
        with_vector: bool,
    ) -> Page:
        """One page from the id `start` on; its `next` is where the following one starts."""
        request = edge.ScrollRequest(
            offset=start,
            limit=limit,
            filter=self._compiled(filter),
            with_payload=_payload_selector(with_payload),
            with_vector=with_vector,
        )
        with translated(f"reading the index in {self._path}"):
            part, offset = self._shard.scroll(request)
        records = tuple(_record(record, with_vector) for record in part)
        return Page(records, None if offset is None else str(offset))

    def count(self, filter: Filter | None) -> int:
        if filter is None:
            return self.state().points  # the engine's own count visits every one of them
        request = edge.CountRequest(exact=True, filter=self._compiled(filter))
        with translated(f"counting in the index in {self._path}"):
            return self._shard.count(request)

    def estimate(self, filter: Filter) -> int:
        """About how many points meet the filter, from the statistics of its payload indexes."""
        request = edge.CountRequest(exact=False, filter=self._compiled(filter))
        with translated(f"counting in the index in {self._path}"):
            return self._shard.count(request)

    def facet(self, key: str, choice: Choice, filter: Filter | None) -> ValueCounts:
        wanted = counted_type(key, self._fields)
        # Not `exact`, which counts each value again, 100 times as long: within one shard, where
        # every point lies in one segment, both give the same.
        request = edge.FacetRequest(
            checked_path(key), limit=MAX_DISTINCT, filter=self._compiled(filter)
        )
        with translated(f"counting values in the index in {self._path}"):
            hits = self._shard.facet(request).hits
        counts = {hit.value: hit.count for hit in hits if type(hit.value) is wanted}
        return chosen(counts, choice, exact=True)

    def extent(self, key: str, filter: Filter | None) -> Extent:
        field_type = check_ordered(key, self._fields)
        ends = []
        for direction, end in ((edge.Direction.Asc, min), (edge.Direction.Desc, max)):
            request = edge.ScrollRequest(
                limit=1,
                filter=self._compiled(filter),
                with_payload=[checked_path(key)],
                order_by=edge.OrderBy(checked_path(key), direction),
            )
            with translated(f"reading the index in {self._path}"):
                found, _ = self._shard.scroll(request)
            payload = (found[0].payload or {}) if found else {}
            values = ordered_values(value_at(payload, key), field_type)
            if not values:
                return None
            ends.append(end(values))
        return ends[0], ends[1]

    def query(self, query: Query) -> list[Hit]:
        request = self._request(query)
        if request is None:
            return []
        # Not `with translated`: what Python does here counts among a few hundred microseconds,
        # the more so as it runs with the CPU's caches full of vectors.
        try:
            return self._hits(self._shard.query(request), query)
        except BaseException as error:
            failure = failure_of(error, f"searching the index in {self._path}")
            if failure is error:
                raise
            raise failure from error

    def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        answers: list[list[Hit]] = [[] for _ in queries]
        asked = [
            (number, query, request)
            for number, query in enumerate(queries)
            if (request := self._request(query)) is not None
        ]
        batch = edge.QueryBatchRequest([request for _, _, request in asked])
        with translated(f"searching the index in {self._path}"):
            found = self._shard.query_batch(batch)
        for (number, query, _), points in zip(asked, found, strict=True):
            answers[number] = self._hits(points, query)
        return answers

    def _request(self, query: Query) -> edge.QueryRequest | None:
        """The engine's request; None if the answer is known to be empty."""
        vector, using = checked_query(query, self._dimension, self._copies)
        distance = distance_of(query, self._distance)
        if query.limit < 1 or query.offset < 0:
            if query.limit == 0:
                return None
            raise IndexRefused(
                f"limit {query.limit} and offset {query.offset} must not be negative"
            )
        min_score = query.min_score
        if min_score is not None:
            if min_score > 1 and distance is Distance.EUCLID:
                return None
            min_score = engine_threshold(distance, min_score)
        return edge.QueryRequest(
            query.limit,
            query.offset,
            edge.Query.Nearest(vector) if using is None else edge.Query.Nearest(vector, using),
            with_vector=query.with_vector,
            with_payload=_payload_selector(query.with_payload),
            filter=None if query.filter is None else self._compiled(query.filter),
            score_threshold=min_score,
            params=self._params(query),
        )

    def _params(self, query: Query) -> edge.SearchParams:
        if query.of_copies and query.ef is None and not query.exact:
            # What was measured is the other vectors' settings.
            return self._params_for(EF, self._untuned)
        if query.ef is not None or query.exact:
            oversampled = query.oversampling or self._oversampling
            return edge_settings.search_params(query.ef or EF, query.exact, oversampled)
        return self._usual(query.limit + query.offset)

    @staticmethod
    def _params_for(ef: int, oversampled: float) -> edge.SearchParams:
        return edge_settings.search_params(ef, False, oversampled)

    def _hits(self, points: list[edge.ScoredPoint], query: Query) -> list[Hit]:
        compared = distance_of(query, self._distance)
        if compared is not Distance.EUCLID and not query.with_vector:
            if query.with_payload:
                return [Hit(str(p.id), p.score, p.payload or {}) for p in points]
            return [Hit(str(p.id), p.score) for p in points]
        hits = []
        for point in points:
            score, distance = score_of(compared, point.score)
            payload = (point.payload or {}) if query.with_payload else {}
            vector = own_of(point.vector) if query.with_vector else None
            hits.append(Hit(str(point.id), score, payload, distance, vector))
        return hits

    def _compiled(self, filter: Filter | None) -> edge.Filter | None:
        if filter is None:
            return None
        with translated("compiling the filter"):
            return compile_filter(filter, self._fields)

    def state(self) -> ShardState:
        with translated(f"reading the index in {self._path}"):
            info = self._shard.info()
        types = {
            key_of(path): edge_settings.field_type_of(index.data_type)
            for path, index in info.payload_schema.items()
        }
        return ShardState(
            points=info.points_count,
            indexed_vectors=points_of(info.indexed_vectors_count, self._copies),
            payload_indexes={key: t.value for key, t in types.items() if t is not None},
            tuning=self._tuning,
        )

    def close(self) -> None:
        with translated(f"closing the index in {self._path}"):
            self._shard.close()


P = ParamSpec("P")
T = TypeVar("T")
Operation = Callable[Concatenate[ShardEngine, P], T]
"""A method of `ShardEngine`, such as `ShardEngine.query`."""


class Shard(Protocol):
    """An open shard, wherever it runs."""

    @property
    def ended(self) -> bool:
        """Whether its process has died, so that it must be opened again."""
        ...

    async def call(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls are carried out in the order in which they were made."""
        ...

    async def close(self) -> None: ...


class LocalShard:
    """A shard in this process: a call costs nothing on top, and stops the process until it ends."""

    ended = False

    def __init__(self, engine: ShardEngine) -> None:
        self._engine = engine

    async def call(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return operation(self._engine, *args, **kwargs)

    async def close(self) -> None:
        self._engine.close()


def _payload_selector(with_payload: bool | tuple[str, ...]) -> bool | list[str]:
    if isinstance(with_payload, bool):
        return with_payload
    return [checked_path(key) for key in with_payload] or False


def _record(record: edge.Record, with_vector: bool) -> Record:
    if not with_vector:
        return Record(str(record.id), record.payload or {})
    stored = record.vector
    return Record(str(record.id), record.payload or {}, own_of(stored), copies_of(stored))
