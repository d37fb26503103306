"""The one state behind both ports: qdrant-client's local mode, and what it does not keep.

Local mode keeps points, aliases and metadata. What it drops – payload indexes, the graph's and
the quantisation's settings, shard numbers – is kept here, because callers read it back to find
out whether a collection is as it should be.

Every call runs to its end without awaiting, so that calls are atomic, as each is on a server.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from typing import Any

from qdrant_client import QdrantClient, models
from tests.qdrant_server.refusals import already_exists, no_collection, no_point, wrong_input


@dataclass(slots=True)
class _Settings:
    """What was asked for when the collection was made or changed."""

    made: models.CreateCollection
    hnsw: dict[str, Any] = field(default_factory=dict)
    quantization: Any = None
    on_disk: dict[str, bool] = field(default_factory=dict)
    """By vector name; `""` is the unnamed one."""
    indexes: dict[str, Any] = field(default_factory=dict)
    """Payload indexes: a PayloadSchemaType, or parameters."""


class Store:
    """Collections and their points."""

    def __init__(self, version: str | None = None) -> None:
        """`version`: of the server that is played; today's where None."""
        self.version = version or package_version("qdrant-client")
        self._local = QdrantClient(":memory:")
        self._settings: dict[str, _Settings] = {}

    # Collections

    def names(self) -> list[str]:
        return sorted(self._settings)

    def exists(self, name: str) -> bool:
        return name in self._settings or name in self._aliases()

    def create(self, name: str, made: models.CreateCollection) -> bool:
        if self.exists(name):
            raise already_exists(name)
        with _translated():
            self._local.create_collection(
                name, vectors_config=made.vectors or {}, metadata=made.metadata
            )
        settings = _Settings(made, quantization=made.quantization_config)
        if made.hnsw_config is not None:
            settings.hnsw = made.hnsw_config.model_dump(exclude_none=True)
        self._settings[name] = settings
        return True

    def update(self, name: str, change: models.UpdateCollection) -> bool:
        name = self._resolved(name)
        settings = self._settings[name]
        for vector, diff in (change.vectors or {}).items():
            if vector not in _vector_names(settings.made):
                raise wrong_input(f"Not existing vector name error: {vector}")
            if diff.on_disk is not None:
                settings.on_disk[vector] = diff.on_disk
        if change.hnsw_config is not None:
            settings.hnsw |= change.hnsw_config.model_dump(exclude_none=True)
        if change.quantization_config is not None:
            disabled = change.quantization_config == models.Disabled.DISABLED
            settings.quantization = None if disabled else change.quantization_config
        if change.metadata is not None:
            self._local.update_collection(name, metadata=change.metadata)
        return True

    def delete_collection(self, name: str) -> bool:
        """False where there is none, as a server answers too."""
        if name not in self._settings:
            return False
        del self._settings[name]
        return bool(self._local.delete_collection(name))

    def info(self, name: str) -> models.CollectionInfo:
        name = self._resolved(name)
        settings = self._settings[name]
        info = self._local.get_collection(name)
        config = info.config
        config.params.shard_number = settings.made.shard_number or 1
        config.params.replication_factor = settings.made.replication_factor or 1
        for vector, on_disk in settings.on_disk.items():
            kept = config.params.vectors
            (kept[vector] if isinstance(kept, dict) else kept).on_disk = on_disk
        config.hnsw_config = config.hnsw_config.model_copy(update=settings.hnsw)
        config.quantization_config = settings.quantization
        info.payload_schema = {
            key: _index_info(schema, info.points_count or 0)
            for key, schema in settings.indexes.items()
        }
        return info

    def create_index(self, name: str, key: str, schema: Any) -> None:
        self._settings[self._resolved(name)].indexes[key] = schema

    def delete_index(self, name: str, key: str) -> None:
        self._settings[self._resolved(name)].indexes.pop(key, None)

    def aliases(self, name: str | None = None) -> list[models.AliasDescription]:
        found = self._local.get_aliases().aliases
        return [alias for alias in found if name in (None, alias.collection_name)]

    def change_aliases(self, operations: Sequence[Any]) -> bool:
        for operation in operations:
            if isinstance(operation, models.CreateAliasOperation):
                target = operation.create_alias.collection_name
                if target not in self._settings:
                    raise no_collection(target)
        with _translated():
            return bool(self._local.update_collection_aliases(list(operations)))

    # Points

    def upsert(self, name: str, points: list[models.PointStruct]) -> None:
        with self._collection(name) as local:
            local.upsert(name, points=points)

    def delete(self, name: str, selector: Any) -> None:
        with self._collection(name) as local:
            local.delete(name, points_selector=selector)

    def set_payload(self, name: str, payload: dict[str, Any], selector: Any, key: str | None):
        with self._collection(name) as local:
            local.set_payload(name, payload, points=selector, key=key)

    def overwrite_payload(self, name: str, payload: dict[str, Any], selector: Any) -> None:
        with self._collection(name) as local:
            local.overwrite_payload(name, payload, points=selector)

    def delete_payload(self, name: str, keys: list[str], selector: Any) -> None:
        with self._collection(name) as local:
            local.delete_payload(name, keys, points=selector)

    def clear_payload(self, name: str, selector: Any) -> None:
        with self._collection(name) as local:
            local.clear_payload(name, points_selector=selector)

    def retrieve(
        self, name: str, ids: list[Any], with_payload: Any, with_vectors: Any
    ) -> list[models.Record]:
        with self._collection(name) as local:
            return local.retrieve(name, ids, with_payload=with_payload, with_vectors=with_vectors)

    def _known(self, filter: models.Filter | None) -> None:
        """An older server reads a condition that it does not know as none at all."""
        played = tuple(int(part) for part in self.version.split(".")[:2])
        newer = {kind for kind, since in _SINCE.items() if played < since}
        if filter is not None and any(match & newer for match in _matches(filter.model_dump())):
            raise wrong_input("Malformed Match condition")

    def scroll(self, name: str, asked: models.ScrollRequest) -> tuple[list[models.Record], Any]:
        self._known(asked.filter)
        self._check_order(name, asked.order_by)
        with self._collection(name) as local:
            return local.scroll(
                name,
                scroll_filter=asked.filter,
                limit=10 if asked.limit is None else asked.limit,
                offset=asked.offset,
                with_payload=True if asked.with_payload is None else asked.with_payload,
                with_vectors=asked.with_vector or False,
                order_by=asked.order_by,
            )

    def facet(self, name: str, asked: models.FacetRequest) -> list[models.FacetValueHit]:
        self._known(asked.filter)
        schema = self._settings[self._resolved(name)].indexes.get(asked.key)
        counted = _COUNTED.get(None if schema is None else _index_info(schema, 0).data_type)
        if counted is None:
            raise wrong_input(f"No appropriate index for faceting: `{asked.key}`.")
        with self._collection(name) as local:
            # A server counts what its index holds: values of the index's type.
            hits = local.facet(name, asked.key, facet_filter=asked.filter, limit=2**31).hits
        return [hit for hit in hits if type(hit.value) is counted][: asked.limit or 10]

    def _check_order(self, name: str, order: models.OrderBy | None) -> None:
        schema = (
            None if order is None else self._settings[self._resolved(name)].indexes.get(order.key)
        )
        if order is not None and (
            schema is None or _index_info(schema, 0).data_type not in _ORDERED
        ):
            raise wrong_input(f"No range index for `order_by` key: `{order.key}`.")

    def count(self, name: str, filter: models.Filter | None) -> int:
        self._known(filter)
        with self._collection(name) as local:
            return int(local.count(name, count_filter=filter).count)

    def query(self, name: str, asked: list[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        for each in asked:
            self._known(each.filter)
        with self._collection(name) as local:
            # Searches are exact here: `params` would do nothing but warn.
            exact = [each.model_copy(update={"params": None}) for each in asked]
            return [answer.points for answer in local.query_batch_points(name, exact)]

    @contextmanager
    def _collection(self, name: str) -> Iterator[QdrantClient]:
        self._resolved(name)
        with _translated(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield self._local

    def _aliases(self) -> dict[str, str]:
        return {a.alias_name: a.collection_name for a in self._local.get_aliases().aliases}

    def _resolved(self, name: str) -> str:
        if name in self._settings:
            return name
        target = self._aliases().get(name)
        if target is None:
            raise no_collection(name)
        return target


_COUNTED = {
    models.PayloadSchemaType.KEYWORD: str,
    models.PayloadSchemaType.INTEGER: int,
    models.PayloadSchemaType.BOOL: bool,
}
_ORDERED = {
    models.PayloadSchemaType.INTEGER,
    models.PayloadSchemaType.FLOAT,
    models.PayloadSchemaType.DATETIME,
}
_SINCE = {"prefix": (1, 19), "substring": (1, 20)}
"""Kinds of match that came later."""


def _matches(filter: Any) -> Iterator[set[str]]:
    """The kinds of every match in a filter."""
    if isinstance(filter, dict):
        if isinstance(filter.get("match"), dict):
            yield set(filter["match"])
        for inner in filter.values():
            yield from _matches(inner)
    elif isinstance(filter, list):
        for inner in filter:
            yield from _matches(inner)


def _vector_names(made: models.CreateCollection) -> set[str]:
    if made.vectors is None:
        return set()
    return set(made.vectors) if isinstance(made.vectors, dict) else {""}


def _index_info(schema: Any, points: int) -> models.PayloadIndexInfo:
    if isinstance(schema, models.PayloadSchemaType):
        return models.PayloadIndexInfo(data_type=schema, points=points)
    kind = models.PayloadSchemaType(schema.type.value)
    return models.PayloadIndexInfo(data_type=kind, params=schema, points=points)


@contextmanager
def _translated() -> Iterator[None]:
    """Local mode's exceptions as a server's answers."""
    try:
        yield
    except KeyError as error:
        raise no_point(error.args[0] if error.args else error) from error
    except ValueError as error:
        raise wrong_input(str(error)) from error
