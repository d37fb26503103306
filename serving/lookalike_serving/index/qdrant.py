"""A Qdrant server as an `Index`, over gRPC.

The server does what Edge leaves to its caller: it optimises by itself and serves many clients.
qdrant-client's local mode, which keeps everything in this process's memory and searches exactly,
answers the same calls (`url: ":memory:"`); it is for tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from qdrant_client import AsyncQdrantClient, models

from lookalike_crds.image_collection import Distance, FieldSpec, VectorSpec
from lookalike_serving.index.filters import Filter
from lookalike_serving.index.predicates import json_path
from lookalike_serving.index.protocol import (
    Hit,
    IndexFailure,
    IndexInfo,
    IndexRefused,
    Page,
    Point,
    Query,
    Record,
)
from lookalike_serving.index.qdrant_collection import (
    Wanted,
    ensure_collection,
    field_type_of,
    translated,
)
from lookalike_serving.index.qdrant_filters import compile_filter
from lookalike_serving.index.scores import engine_threshold, score_of
from lookalike_serving.index.tuning import EF, oversampling
from lookalike_serving.index.values import checked_id, checked_payload, checked_vector

TIMEOUT_SECONDS = 20
_SLICE = 256
"""Points in one request: below a megabyte for 512 dimensions."""
_OPTIMIZE_POLL_SECONDS = 0.5
_IN_MEMORY = ":memory:"


class QdrantIndex:
    """An `Index` on one collection of a Qdrant server. Make one with `open`."""

    def __init__(self, client: AsyncQdrantClient, wanted: Wanted, where: str) -> None:
        self._client = client
        self._wanted = wanted
        self._name = wanted.name
        self._where = where
        self._distance = Distance.COSINE if wanted.vector is None else wanted.vector.distance
        self._tuned = self._params(None, exact=False)

    @classmethod
    async def open(
        cls,
        url: str,
        name: str,
        *,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...] = (),
        grpc_port: int = 6334,
        api_key_file: Path | None = None,
        shards: int = 1,
        replication_factor: int = 1,
    ) -> QdrantIndex:
        """Open the collection `name`, or make it. `vector` and `dimension` None: payloads only.

        Raises IndexMismatch where it was made for another dimension, distance or model, and
        IndexUnavailable, with the url, where the server does not answer.
        """
        client = connect(url, grpc_port, api_key_file)
        wanted = Wanted(name, vector, dimension, fingerprint, fields, shards, replication_factor)
        try:
            return await cls.open_with(client, wanted, url)
        except BaseException:
            await client.close()
            raise

    @classmethod
    async def open_with(cls, client: AsyncQdrantClient, wanted: Wanted, where: str) -> QdrantIndex:
        """Like `open`, over a client of the caller's, which `close` then closes."""
        with translated(f"opening collection {wanted.name}", where):
            await ensure_collection(client, wanted, where, local=where == _IN_MEMORY)
        return cls(client, wanted, where)

    # Writing

    async def upsert(self, points: Sequence[Point]) -> None:
        structs = [self._struct(point) for point in points]
        for start in range(0, len(structs), _SLICE):
            with self._translated("writing to"):
                await self._client.upsert(
                    self._name, points=structs[start : start + _SLICE], wait=True
                )

    def _struct(self, point: Point) -> models.PointStruct:
        id = checked_id(point.id)
        payload = checked_payload(point.payload, id)
        if self._wanted.dimension is None:
            if point.vector is not None:
                raise IndexRefused(f"{id}: this index holds payloads only, no vectors")
            return models.PointStruct(id=id, vector={}, payload=payload)
        vector = checked_vector(point.vector, self._wanted.dimension, f"the vector of {id}")
        return models.PointStruct(id=id, vector=vector, payload=payload)

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        with self._translated("writing to"):
            await self._client.set_payload(self._name, checked, points=[id], wait=True)

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        with self._translated("writing to"):
            await self._client.overwrite_payload(self._name, checked, points=[id], wait=True)

    async def delete(self, ids: Sequence[str]) -> None:
        checked: list[Any] = [checked_id(id) for id in ids]
        if checked:
            with self._translated("writing to"):
                await self._client.delete(
                    self._name, models.PointIdsList(points=checked), wait=True
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
        with self._translated("reading"):
            records = await self._client.retrieve(
                self._name,
                checked,
                with_payload=_payload_selector(with_payload),
                with_vectors=with_vector,
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
        with self._translated("reading"):
            records, offset = await self._client.scroll(
                self._name,
                scroll_filter=compile_filter(filter, self._wanted.fields),
                limit=limit,
                offset=None if after is None else checked_id(after),
                with_payload=_payload_selector(with_payload),
                with_vectors=with_vector,
            )
        return Page(
            tuple(_record(record, with_vector) for record in records),
            None if offset is None else str(offset),
        )

    async def count(self, filter: Filter | None = None) -> int:
        with self._translated("counting in"):
            answer = await self._client.count(
                self._name, count_filter=compile_filter(filter, self._wanted.fields), exact=True
            )
        return int(answer.count)

    async def query(self, query: Query) -> list[Hit]:
        return (await self.query_batch([query]))[0]

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        answers: list[list[Hit]] = [[] for _ in queries]
        asked = [
            (number, query, request)
            for number, query in enumerate(queries)
            if (request := self._request(query)) is not None
        ]
        if asked:
            with self._translated("searching"):
                found = await self._client.query_batch_points(
                    self._name, [request for _, _, request in asked]
                )
            for (number, query, _), response in zip(asked, found, strict=True):
                answers[number] = [self._hit(point, query) for point in response.points]
        return answers

    def _request(self, query: Query) -> models.QueryRequest | None:
        """The server's request; None where the answer is known to be empty."""
        vector = checked_vector(query.vector, self._wanted.dimension, "the query vector")
        if query.limit < 0 or query.offset < 0:
            raise IndexRefused(
                f"limit {query.limit} and offset {query.offset} must not be negative"
            )
        if query.limit == 0:
            return None
        if self._distance is Distance.EUCLID and (query.min_score or 0) > 1:
            return None
        return models.QueryRequest(
            query=vector,
            limit=query.limit,
            offset=query.offset,
            filter=compile_filter(query.filter, self._wanted.fields),
            score_threshold=engine_threshold(self._distance, query.min_score),
            with_payload=_payload_selector(query.with_payload),
            with_vector=query.with_vector,
            params=self._tuned
            if query.ef is None and not query.exact
            else self._params(query.ef, query.exact),
        )

    def _params(self, ef: int | None, exact: bool) -> models.SearchParams | None:
        if self._where == _IN_MEMORY:
            return None  # local mode is always exact, and warns of parameters
        if exact:
            ignored = models.QuantizationSearchParams(ignore=True)
            return models.SearchParams(exact=True, quantization=ignored)
        rescored = models.QuantizationSearchParams(
            rescore=True, oversampling=oversampling(self._wanted.vector)
        )
        return models.SearchParams(hnsw_ef=ef or EF, quantization=rescored)

    def _hit(self, point: models.ScoredPoint, query: Query) -> Hit:
        score, distance = score_of(self._distance, point.score)
        return Hit(
            str(point.id),
            score,
            (point.payload or {}) if query.with_payload else {},
            distance,
            np.asarray(point.vector, dtype=np.float32) if query.with_vector else None,
        )

    async def info(self) -> IndexInfo:
        points = await self.count()
        with self._translated("reading"):
            info = await self._client.get_collection(self._name)
        types = {key: field_type_of(index.data_type) for key, index in info.payload_schema.items()}
        return IndexInfo(
            points=points,
            indexed_vectors=info.indexed_vectors_count or 0,
            dimension=self._wanted.dimension,
            distance=None if self._wanted.vector is None else self._distance.value,
            payload_indexes={key: t.value for key, t in types.items() if t is not None},
            status=info.status.value,
        )

    # Upkeep

    async def optimize(self) -> None:
        """Wait until the server, which optimises by itself, has caught up."""
        while True:
            with self._translated("waiting for the optimisation of"):
                info = await self._client.get_collection(self._name)
                match info.status:
                    case models.CollectionStatus.GREEN:
                        return
                    case models.CollectionStatus.RED:
                        raise IndexFailure(
                            f"collection {self._name} at {self._where} cannot be optimised: "
                            f"{info.optimizer_status}; see the Qdrant server's log"
                        )
                    case models.CollectionStatus.GREY:
                        # After its restart a server waits for any update before it goes on.
                        await self._client.update_collection(
                            self._name, optimizers_config=models.OptimizersConfigDiff()
                        )
            await asyncio.sleep(_OPTIMIZE_POLL_SECONDS)

    async def drop(self) -> None:
        with self._translated("deleting"):
            await self._client.delete_collection(self._name)
        await self.close()

    async def close(self) -> None:
        await self._client.close()

    def _translated(self, doing: str) -> Any:
        return translated(f"{doing} collection {self._name}", self._where)


def connect(url: str, grpc_port: int, api_key_file: Path | None) -> AsyncQdrantClient:
    """A client for `url`; reads the API key from the file's first line. Does not connect yet."""
    if url == _IN_MEMORY:
        return AsyncQdrantClient(location=_IN_MEMORY)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise IndexFailure(
            f"index.url {url!r} is no address of a Qdrant server: write http(s)://host:port"
        )
    api_key = None
    if api_key_file is not None:
        try:
            api_key = api_key_file.read_text().strip()
        except OSError as error:
            raise IndexFailure(
                f"index.api_key_file {api_key_file} cannot be read: {error.strerror}"
            ) from error
    return AsyncQdrantClient(
        url=url,
        grpc_port=grpc_port,
        prefer_grpc=True,
        api_key=api_key,
        timeout=TIMEOUT_SECONDS,
        check_compatibility=False,  # it would ask the server here, blocking the event loop
    )


def _payload_selector(with_payload: bool | tuple[str, ...]) -> bool | list[str]:
    if isinstance(with_payload, bool):
        return with_payload
    return [json_path(key) for key in with_payload] or False


def _record(record: models.Record, with_vector: bool) -> Record:
    return Record(
        str(record.id),
        record.payload or {},
        np.asarray(record.vector, dtype=np.float32) if with_vector and record.vector else None,
    )
