"""A Qdrant server as an `Index`, over gRPC.

The server does what Edge leaves to its caller: it optimises by itself and serves many clients.
qdrant-client's local mode, which keeps everything in this process's memory and searches exactly,
answers the same calls (`url: ":memory:"`); it is for tests.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from qdrant_client import AsyncQdrantClient, models

from lookalike_crds.image_collection import Distance, FieldSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.index.facets import (
    MAX_DISTINCT,
    check_ordered,
    chosen,
    counted_type,
    ordered_values,
    value_at,
)
from lookalike_serving.index.filters.ranges import End, within
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import (
    Choice,
    Extent,
    Hit,
    IndexFailure,
    IndexInfo,
    IndexRefused,
    Page,
    Point,
    Query,
    Record,
    Spread,
    ValueCounts,
)
from lookalike_serving.index.qdrant_client import CredentialFiles
from lookalike_serving.index.qdrant_collection import (
    Wanted,
    adopted,
    as_made,
    ensure_collection,
    former_of,
    note_tuning,
    own_metadata,
    space_of,
    tuning_of,
    types_of,
)
from lookalike_serving.index.qdrant_connection import Connection, connected
from lookalike_serving.index.qdrant_errors import CollectionLost
from lookalike_serving.index.qdrant_filters import NeedsNewer, compile_filter
from lookalike_serving.index.recall import tuned
from lookalike_serving.index.scores import engine_threshold, score_of
from lookalike_serving.index.spaces import (
    CopySpace,
    checked_query,
    checked_vectors,
    copies_of,
    distance_of,
    own_of,
    points_of,
)
from lookalike_serving.index.tuning import EF, Tuning, oversampling, usual
from lookalike_serving.index.values import (
    checked_id,
    checked_path,
    checked_payload,
)
from lookalike_serving.together import together

_SLICE = 256
"""Points in one request: below a megabyte for 512 dimensions."""
_COUNTS_AT_ONCE = 4
"""Of one histogram's buckets: a request may ask for many histograms."""
_OPTIMIZE_POLL_SECONDS = 0.5
PATIENCE_SECONDS = 1.0
"""How long a server that is away is waited for, unless a caller says otherwise."""

T = TypeVar("T")


class QdrantIndex:
    """An `Index` on one collection of a Qdrant server. Make one with `open`."""

    def __init__(self, connection: Connection, wanted: Wanted) -> None:
        self._connection = connection
        self._take(wanted)
        self._where = connection.where
        self._distance = Distance.COSINE if wanted.vector is None else wanted.vector.distance
        self._take_tuning(None)

    @classmethod
    async def open(
        cls,
        addresses: str | Sequence[str],
        name: str,
        *,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...] = (),
        grpc_port: int | None = 6334,
        api_key_file: Path | None = None,
        ca_file: Path | None = None,
        shards: int = 1,
        replication_factor: int = 1,
        patience_seconds: float = PATIENCE_SECONDS,
        owner: IndexOwner | None = None,
        adopts: str | None = None,
        model: str | None = None,
        copies: CopySpace | None = None,
    ) -> QdrantIndex:
        """Open the collection `name`, or make it. `addresses`: of one server's nodes, the one to be
        preferred first. `vector` and `dimension` None: payloads only; `dimension` and `fingerprint`
        alone None: those that the collection was made for; `grpc_port` None: REST alone.

        `copies`: vectors of a copy model, which it has beside the others.

        `owner` and `model`, in words, are written into it. Where there is an index `adopts` that is
        nobody else's, that one is used instead. Raises IndexMismatch if the collection is another
        owner's, or was made for another dimension, distance or model, and IndexUnavailable, with
        the addresses, if none of them answers. Once it is open, a server that goes away is waited
        for as long as `patience_seconds`.
        """
        # A server that was never there is more likely a wrong address: told soon.
        patience = min(patience_seconds, PATIENCE_SECONDS)
        connection = connected(
            [addresses] if isinstance(addresses, str) else addresses,
            grpc_port,
            CredentialFiles(api_key_file, ca_file),
            patience_seconds=patience,
        )
        wanted = Wanted(
            name,
            vector,
            dimension,
            fingerprint,
            fields,
            shards,
            replication_factor,
            owner,
            adopts,
            model,
            copies,
        )
        try:
            index = await cls.open_with(connection, wanted)
        except BaseException:
            await connection.close()
            raise
        connection.patience_seconds = patience_seconds
        return index

    @classmethod
    async def existing(cls, connection: Connection, name: str) -> QdrantIndex:
        """An index that is only read: it is neither made nor changed. `close` closes the
        connection. Raises IndexFailure."""
        await connection.read_versions()
        info = await connection.call(
            f"reading collection {name}", lambda client: client.get_collection(name)
        )
        made_for = own_metadata(info)
        dimension, distance = made_for.get("dimension"), made_for.get("distance")
        vector = VectorSpec() if distance is None else VectorSpec(distance=Distance(distance))
        copies = space_of(made_for)
        return cls(connection, Wanted(name, vector, dimension, None, (), copies=copies))

    @classmethod
    async def open_with(cls, connection: Connection, wanted: Wanted) -> QdrantIndex:
        """Like `open`, over a connection of the caller's, which `close` then closes."""
        index = cls(connection, wanted)
        await connection.read_versions()
        found = await connection.call(
            f"opening collection {wanted.name}", lambda client: adopted(client, wanted)
        )
        if found.vector is not None and found.fingerprint is None:
            missing = found
            found = await connection.call(
                f"opening collection {wanted.name}", lambda client: as_made(client, missing)
            )
        index._take(found)
        await index._ensure()
        return index

    def _take(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._name = wanted.name

    async def _compiled(self, filter: Filter | None) -> models.Filter | None:
        """Raises IndexRefused for what the server's version lacks."""
        try:
            return compile_filter(filter, self._wanted.fields, self._connection.version)
        except NeedsNewer:
            await self._connection.read_versions()  # it may have been upgraded
            return compile_filter(filter, self._wanted.fields, self._connection.version)

    async def _ensure(self) -> None:
        where, local = self._where, self._connection.is_local
        tuning = await self._connection.call(
            f"opening collection {self._name}",
            lambda client: ensure_collection(client, self._wanted, where, local=local),
        )
        self._take_tuning(tuning)

    def _take_tuning(self, tuning: Tuning | None) -> None:
        self._tuning = tuning
        self._usual = usual(_rescored, self._wanted.vector, tuning)

    async def _call(self, doing: str, make: Callable[[AsyncQdrantClient], Awaitable[T]]) -> T:
        doing = f"{doing} collection {self._name}"
        try:
            return await self._connection.call(doing, make)
        except CollectionLost:
            # A collection of vectors is left to ingestion, which makes and fills it: whoever
            # looks would take an empty one for a sound one. Payloads have no other home.
            if self._wanted.vector is not None:
                raise
            await self._ensure()
            return await self._connection.call(doing, make)

    # Writing

    async def upsert(self, points: Sequence[Point]) -> None:
        structs = [self._struct(point) for point in points]
        for start in range(0, len(structs), _SLICE):
            await self._call("writing to", self._upserting(structs[start : start + _SLICE]))

    def _upserting(
        self, points: list[models.PointStruct]
    ) -> Callable[[AsyncQdrantClient], Awaitable[models.UpdateResult]]:
        return lambda client: client.upsert(self._name, points=points, wait=True)

    def _struct(self, point: Point) -> models.PointStruct:
        id = checked_id(point.id)
        payload = checked_payload(point.payload, id)
        if self._wanted.dimension is None:
            if point.vector is not None:
                raise IndexRefused(f"{id}: this index holds payloads only, no vectors")
            return models.PointStruct(id=id, vector={}, payload=payload)
        dimension, copies = self._wanted.dimension, self._wanted.copies
        vector = checked_vectors(point.vector, point.copies, dimension, copies, id)
        return models.PointStruct(id=id, vector=vector, payload=payload)

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        await self._call(
            "writing to",
            lambda client: client.set_payload(self._name, checked, points=[id], wait=True),
        )

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        await self._call(
            "writing to",
            lambda client: client.overwrite_payload(self._name, checked, points=[id], wait=True),
        )

    async def delete(self, ids: Sequence[str]) -> None:
        checked: list[Any] = [checked_id(id) for id in ids]
        if checked:
            selected = models.PointIdsList(points=checked)
            await self._call(
                "writing to", lambda client: client.delete(self._name, selected, wait=True)
            )

    # Reading

    async def retrieve(
        self,
        ids: Sequence[str],
        *,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> list[Record]:
        checked = [checked_id(id) for id in ids]
        if not checked:
            return []
        records = await self._call(
            "reading",
            lambda client: client.retrieve(
                self._name,
                checked,
                with_payload=_payload_selector(with_payload),
                with_vectors=with_vector,
            ),
        )
        found = {str(record.id): _record(record, with_vector) for record in records}
        return [found[id] for id in checked if id in found]

    async def scroll(
        self,
        *,
        filter: Filter | None = None,
        limit: int = 100,
        after: str | None = None,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> Page:
        if limit < 1:
            raise IndexRefused(f"limit is {limit}: ask for at least 1 point")
        compiled = await self._compiled(filter)
        start = None if after is None else checked_id(after)
        records, offset = await self._call(
            "reading",
            lambda client: client.scroll(
                self._name,
                scroll_filter=compiled,
                limit=limit,
                offset=start,
                with_payload=_payload_selector(with_payload),
                with_vectors=with_vector,
            ),
        )
        return Page(
            tuple(_record(record, with_vector) for record in records),
            None if offset is None else str(offset),
        )

    async def count(self, filter: Filter | None = None) -> int:
        compiled = await self._compiled(filter)
        answer = await self._call(
            "counting in",
            lambda client: client.count(self._name, count_filter=compiled, exact=True),
        )
        return int(answer.count)

    async def facet(self, key: str, choice: Choice, filter: Filter | None = None) -> ValueCounts:
        wanted = counted_type(key, self._wanted.fields)
        compiled = await self._compiled(filter)
        # Not `exact`, for which a server counts each value again, 100 times as long. Without it a
        # point counts twice while it lies in two segments, which only an optimisation brings about.
        answer = await self._call(
            "counting values in",
            lambda client: client.facet(
                self._name, checked_path(key), facet_filter=compiled, limit=MAX_DISTINCT
            ),
        )
        counts = {hit.value: hit.count for hit in answer.hits if type(hit.value) is wanted}
        return chosen(counts, choice, exact=await self._is_settled())

    async def _is_settled(self) -> bool:
        """Whether the server optimises nothing at present."""
        info = await self._call("reading", lambda client: client.get_collection(self._name))
        return info.status is models.CollectionStatus.GREEN

    async def extent(self, key: str, filter: Filter | None = None) -> Extent:
        field_type = check_ordered(key, self._wanted.fields)
        compiled = await self._compiled(filter)
        first, last = await together(
            [
                self._end(key, compiled, each)
                for each in (models.Direction.ASC, models.Direction.DESC)
            ]
        )
        low, high = ordered_values(first, field_type), ordered_values(last, field_type)
        return (min(low), max(high)) if low and high else None

    async def spread(
        self, key: str, bounds: Sequence[End | None], filter: Filter | None = None
    ) -> Spread:
        buckets = [within(key, low, high, filter) for low, high in itertools.pairwise(bounds)]
        counts: list[int] = []
        for start in range(0, len(buckets), _COUNTS_AT_ONCE):
            part = buckets[start : start + _COUNTS_AT_ONCE]
            counts += await together([self.count(bucket) for bucket in part])
        return Spread(tuple(counts), True)

    async def _end(
        self, key: str, filter: models.Filter | None, direction: models.Direction
    ) -> Any:
        """What the first point in the order of `key` holds there."""
        path = checked_path(key)
        records, _ = await self._call(
            "reading",
            lambda client: client.scroll(
                self._name,
                scroll_filter=filter,
                limit=1,
                order_by=models.OrderBy(key=path, direction=direction),
                with_payload=[path],
            ),
        )
        return value_at(records[0].payload or {}, key) if records else None

    async def query(self, query: Query) -> list[Hit]:
        return (await self.query_batch([query]))[0]

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        answers: list[list[Hit]] = [[] for _ in queries]
        filters = [await self._compiled(query.filter) for query in queries]
        asked = [
            (number, query, request)
            for number, query in enumerate(queries)
            if (request := self._request(query, filters[number])) is not None
        ]
        if asked:
            requests = [request for _, _, request in asked]
            found = await self._call(
                "searching", lambda client: client.query_batch_points(self._name, requests)
            )
            for (number, query, _), response in zip(asked, found, strict=True):
                answers[number] = [self._hit(point, query) for point in response.points]
        return answers

    def _request(self, query: Query, filter: models.Filter | None) -> models.QueryRequest | None:
        """The server's request; None if the answer is known to be empty."""
        vector, using = checked_query(query, self._wanted.dimension, self._wanted.copies)
        if query.limit < 0 or query.offset < 0:
            raise IndexRefused(
                f"limit {query.limit} and offset {query.offset} must not be negative"
            )
        if query.limit == 0:
            return None
        compared = distance_of(query, self._distance)
        if compared is Distance.EUCLID and (query.min_score or 0) > 1:
            return None
        return models.QueryRequest(
            query=vector,
            using=using,
            limit=query.limit,
            offset=query.offset,
            filter=filter,
            score_threshold=engine_threshold(compared, query.min_score),
            with_payload=_payload_selector(query.with_payload),
            with_vector=query.with_vector,
            params=self._params(query),
        )

    def _params(self, query: Query) -> models.SearchParams | None:
        if self._connection.is_local:
            return None  # local mode is always exact, and warns of parameters
        if query.exact:
            ignored = models.QuantizationSearchParams(ignore=True)
            return models.SearchParams(exact=True, quantization=ignored)
        if query.ef is None and query.of_copies:
            # What was measured is the other vectors' settings.
            return _rescored(EF, oversampling(self._wanted.vector))
        if query.ef is None:
            return self._usual(query.limit + query.offset)
        measured = None if self._tuning is None else self._tuning.oversampling
        oversampled = query.oversampling or measured or oversampling(self._wanted.vector)
        return _rescored(query.ef, oversampled)

    def _hit(self, point: models.ScoredPoint, query: Query) -> Hit:
        score, distance = score_of(distance_of(query, self._distance), point.score)
        return Hit(
            str(point.id),
            score,
            (point.payload or {}) if query.with_payload else {},
            distance,
            own_of(point.vector) if query.with_vector else None,
        )

    async def info(self) -> IndexInfo:
        points = await self.count()
        info = await self._call("reading", lambda client: client.get_collection(self._name))
        types = types_of(info)
        if (tuning := tuning_of(info)) != self._tuning:  # another process has measured it
            self._take_tuning(tuning)
        return IndexInfo(
            points=points,
            indexed_vectors=points_of(info.indexed_vectors_count or 0, self._wanted.copies),
            dimension=self._wanted.dimension,
            distance=None if self._wanted.vector is None else self._distance.value,
            payload_indexes={key: t.value for key, t in types.items() if t is not None},
            status=info.status.value,
            tuning=self._tuning,
            former_types=former_of(own_metadata(info)),
        )

    # Upkeep

    async def optimize(self) -> None:
        """Wait until the server, which optimises by itself, has caught up, and measure search
        settings if none suit."""
        await self._wait_optimized()
        if self._wanted.vector is not None and not self._connection.is_local:
            await self._tune(self._wanted.vector)

    async def _tune(self, vector: VectorSpec) -> None:
        info = await self.info()
        if info.indexed_vectors == 0 or (
            info.tuning is not None and info.tuning.suits(vector, info.points)
        ):
            return
        found = await tuned(self, vector, info.points)
        if found is not None:
            await self._call("writing to", lambda each: note_tuning(each, self._name, found))
            self._take_tuning(found)

    async def _wait_optimized(self) -> None:
        while True:
            doing = "waiting for the optimisation of"
            info = await self._call(doing, lambda client: client.get_collection(self._name))
            match info.status:
                case models.CollectionStatus.GREEN:
                    return
                case models.CollectionStatus.RED:
                    raise IndexFailure(
                        f"collection {self._name} at {self._where} cannot be optimised: "
                        f"{info.optimizer_status}; see the Qdrant server's log"
                    )
                case models.CollectionStatus.GREY:
                    # After its restart a server waits for any update before it continues.
                    await self._call(
                        doing,
                        lambda client: client.update_collection(
                            self._name, optimizers_config=models.OptimizersConfigDiff()
                        ),
                    )
            await asyncio.sleep(_OPTIMIZE_POLL_SECONDS)

    async def drop(self) -> None:
        await self._call("deleting", lambda client: client.delete_collection(self._name))
        await self.close()

    async def close(self) -> None:
        await self._connection.close()


def _rescored(ef: int, oversampled: float) -> models.SearchParams:
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=oversampled)
    return models.SearchParams(hnsw_ef=ef, quantization=rescored)


def _payload_selector(with_payload: bool | tuple[str, ...]) -> bool | list[str]:
    if isinstance(with_payload, bool):
        return with_payload
    return [checked_path(key) for key in with_payload] or False


def _record(record: models.Record, with_vector: bool) -> Record:
    stored = record.vector if with_vector else None
    return Record(str(record.id), record.payload or {}, own_of(stored), copies_of(stored))
