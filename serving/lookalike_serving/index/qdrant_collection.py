"""A collection of a Qdrant server: created as configured, or checked against the configuration.

The properties of a collection – dimension, distance, model – are in its own metadata under
`lookalike`, with the settings that were last applied; Qdrant keeps metadata since version 1.16.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from grpc.aio import AioRpcError  # type: ignore[import-untyped]
from pydantic import TypeAdapter
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from lookalike_crds.image_collection import Distance, FieldSpec, FieldType, Quantization, VectorSpec
from lookalike_crds.ownership import KEY, IndexOwner, is_anothers, owner_in
from lookalike_crds.payload_indexes import (
    FORMER_TYPES,
    TYPES,
    field_schema,
    json_path,
    key_of,
    remembered,
)
from lookalike_serving.index.protocol import IndexMismatch
from lookalike_serving.index.spaces import COPIES, OWN, CopySpace, in_each
from lookalike_serving.index.tuning import QUANTILE, STORED_AS, Tuning, decoded

METADATA = "lookalike"
_TUNING = "tuning"
_COPIES = "copies"
_OPTIMIZERS = models.OptimizersConfigDiff(default_segment_number=2, max_segment_size=5_000_000)
"""Few graphs of many vectors, as Qdrant's guide has it for throughput: each is searched by every
query. Two, since a server merges while it is written to. KB."""

_SCHEMAS = {
    FieldType.KEYWORD: models.PayloadSchemaType.KEYWORD,
    FieldType.INTEGER: models.PayloadSchemaType.INTEGER,
    FieldType.FLOAT: models.PayloadSchemaType.FLOAT,
    FieldType.BOOL: models.PayloadSchemaType.BOOL,
    FieldType.DATETIME: models.PayloadSchemaType.DATETIME,
    FieldType.GEO: models.PayloadSchemaType.GEO,
    FieldType.TEXT: models.PayloadSchemaType.TEXT,
}
_SCHEMA_TYPES = TypeAdapter[Any](models.PayloadSchemaType | models.PayloadSchemaParams)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a collection is to be. `None`s: payloads only."""

    name: str
    vector: VectorSpec | None
    dimension: int | None
    fingerprint: str | None
    fields: tuple[FieldSpec, ...]
    shards: int = 1
    replication_factor: int = 1
    owner: IndexOwner | None = None
    """Whose it is; None: neither written nor asked."""
    adopts: str | None = None
    """Another name, under which it may be there already."""
    model: str | None = None
    """In words, for people: the fingerprint is what counts."""
    copies: CopySpace | None = None

    @property
    def made_for(self) -> dict[str, Any]:
        copies = {} if self.copies is None else {_COPIES: asdict(self.copies)}
        return {
            **copies,
            "version": 1,
            "dimension": self.dimension,
            "distance": None if self.vector is None else self.vector.distance.value,
            "fingerprint": self.fingerprint,
        }

    @property
    def settings(self) -> str:
        return "" if self.vector is None else self.vector.model_dump_json()

    @property
    def metadata(self) -> dict[str, Any]:
        types = remembered(self.fields, {}, {})
        return {METADATA: {**self.made_for, "settings": self.settings, **self.signature, **types}}

    @property
    def signature(self) -> dict[str, Any]:
        """Whose it is and by which model: written into those that lack it, too."""
        owner = {} if self.owner is None else {KEY: self.owner.model_dump()}
        return owner if self.model is None else {**owner, "model": self.model}


async def adopted(client: AsyncQdrantClient, wanted: Wanted) -> Wanted:
    """What is wanted under the name that it has: that of an earlier release if there is one."""
    if wanted.adopts is None or not await client.collection_exists(wanted.adopts):
        return wanted
    stored = ((await client.get_collection(wanted.adopts)).config.metadata or {}).get(METADATA)
    if not isinstance(stored, dict) or is_anothers(owner_in(stored), wanted.owner):
        return wanted
    return replace(wanted, name=wanted.adopts)


async def as_made(client: AsyncQdrantClient, wanted: Wanted) -> Wanted:
    """With the dimension and the model's fingerprint that the collection has.

    Raises IndexMismatch if it is not there, or a model of another name made it.
    """
    stored = None
    if await client.collection_exists(wanted.name):
        stored = ((await client.get_collection(wanted.name)).config.metadata or {}).get(METADATA)
    if not isinstance(stored, dict) or stored.get("model") != wanted.model:
        raise IndexMismatch(
            f"collection {wanted.name} has not been made yet, or not with the model {wanted.model}"
        )
    return replace(
        wanted,
        dimension=stored["dimension"],
        fingerprint=stored["fingerprint"],
        copies=space_of(stored),
    )


def space_of(made_for: dict[str, Any]) -> CopySpace | None:
    """The vectors of a copy model that a collection has, by its own metadata."""
    found = made_for.get(_COPIES)
    return None if found is None else CopySpace(found["dimension"], found["fingerprint"])


async def ensure_collection(
    client: AsyncQdrantClient, wanted: Wanted, where: str, *, local: bool
) -> Tuning | None:
    """Make the collection, or check it and bring its settings up to date; the search settings that
    were measured of it.

    Raises IndexMismatch if it was made for something else, or is another's. `local`: the client
    runs qdrant-client's local mode, which has neither payload indexes nor HNSW.
    """
    if not await client.collection_exists(wanted.name):
        try:
            await _create(client, wanted)
        except (AioRpcError, UnexpectedResponse, ValueError):
            # Another replica may have made it in between; whatever else failed shows below.
            if not await client.collection_exists(wanted.name):
                raise
    info = await client.get_collection(wanted.name)
    stored = (info.config.metadata or {}).get(METADATA)
    if not isinstance(stored, dict):
        raise IndexMismatch(
            f"collection {wanted.name} at {where} was not created by Lookalike, or was created "
            "by a Qdrant older than 1.16: choose another index name, or delete the collection "
            "and ingest again"
        )
    owner = owner_in(stored)
    if is_anothers(owner, wanted.owner):
        raise IndexMismatch(
            f"collection {wanted.name} at {where} belongs to {owner}, and is opened for "
            f"{wanted.owner}: give this one another name or another server; if the other is gone "
            "for good, delete its collection there"
        )
    for key, value in {_COPIES: None, **wanted.made_for}.items():
        if stored.get(key) != value:
            raise IndexMismatch(
                f"collection {wanted.name} at {where} has {key} {stored.get(key)}, and the "
                f"configuration {value}: configure what it was created for, or give the "
                "collection another index name (or delete it) and ingest again"
            )
    signed = {**stored, **wanted.signature, **_types(wanted, stored, info)}
    if signed != stored:
        # Before the payload indexes are made for other types.
        await client.update_collection(wanted.name, metadata={METADATA: signed})
    if local:
        return None
    if stored.get("settings") != wanted.settings and wanted.vector is not None:
        signed["settings"] = wanted.settings
        await _apply_settings(client, wanted, wanted.vector, signed)
    for field in wanted.fields:
        path = json_path(field.name)
        existing = info.payload_schema.get(path)
        if existing is not None:
            if existing.data_type == _SCHEMAS[field.type] and not _outdated(existing):
                continue
            await client.delete_payload_index(wanted.name, path, wait=True)
        await client.create_payload_index(
            wanted.name, path, field_schema=_payload_schema(field.type), wait=True
        )
    return decoded(stored.get(_TUNING))


def own_metadata(info: models.CollectionInfo) -> dict[str, Any]:
    """What Lookalike has noted of the collection; empty if another program made it."""
    return (info.config.metadata or {}).get(METADATA) or {}


def tuning_of(info: models.CollectionInfo) -> Tuning | None:
    """The search settings that were measured of the collection."""
    return decoded(own_metadata(info).get(_TUNING))


async def note_tuning(client: AsyncQdrantClient, name: str, tuning: Tuning) -> None:
    """For every process that searches the collection."""
    stored = own_metadata(await client.get_collection(name))
    metadata = {METADATA: {**stored, _TUNING: tuning.encode()}}
    await client.update_collection(name, metadata=metadata)


def types_of(info: models.CollectionInfo) -> dict[str, FieldType | None]:
    """Metadata key -> type of its payload index."""
    return {
        key_of(path): field_type_of(index.data_type) for path, index in info.payload_schema.items()
    }


def _types(wanted: Wanted, stored: dict[str, Any], info: models.CollectionInfo) -> dict[str, Any]:
    """What the collection is to remember of its fields' types."""
    indexed = types_of(info)
    known = {key: type.value for key, type in indexed.items() if type is not None}
    # The operator may have made the payload indexes again already; what is written was before.
    known |= stored.get(TYPES, {})
    return remembered(wanted.fields, known, former_of(stored))


def former_of(stored: dict[str, Any]) -> dict[str, list[str]]:
    """Types that the fields of a collection had before, by its own metadata."""
    former: dict[str, list[str]] = stored.get(FORMER_TYPES, {})
    return former


async def _create(client: AsyncQdrantClient, wanted: Wanted) -> None:
    if wanted.vector is None or wanted.dimension is None:
        await client.create_collection(
            wanted.name,
            vectors_config={},
            shard_number=wanted.shards,
            replication_factor=wanted.replication_factor,
            metadata=wanted.metadata,
        )
        return
    on_disk = wanted.vector.on_disk

    def params(size: int, distance: Distance) -> models.VectorParams:
        return models.VectorParams(
            size=size,
            distance=_DISTANCES[distance],
            on_disk=on_disk,
            datatype=models.Datatype(STORED_AS.lower()),
        )

    await client.create_collection(
        wanted.name,
        vectors_config=in_each(params, wanted.dimension, wanted.vector.distance, wanted.copies),
        hnsw_config=_hnsw(wanted.vector),
        quantization_config=_quantization(wanted.vector),
        optimizers_config=_OPTIMIZERS,
        shard_number=wanted.shards,
        replication_factor=wanted.replication_factor,
        metadata=wanted.metadata,
    )


async def _apply_settings(
    client: AsyncQdrantClient, wanted: Wanted, vector: VectorSpec, stored: dict[str, Any]
) -> None:
    # "": the one without a name.
    names = ("",) if wanted.copies is None else (OWN, COPIES)
    await client.update_collection(
        wanted.name,
        hnsw_config=_hnsw(vector),
        optimizers_config=_OPTIMIZERS,
        vectors_config={each: models.VectorParamsDiff(on_disk=vector.on_disk) for each in names},
        quantization_config=_quantization(vector) or models.Disabled.DISABLED,
        metadata={METADATA: stored},
    )


_DISTANCES = {
    Distance.COSINE: models.Distance.COSINE,
    Distance.DOT: models.Distance.DOT,
    Distance.EUCLID: models.Distance.EUCLID,
}


def _hnsw(vector: VectorSpec) -> models.HnswConfigDiff:
    return models.HnswConfigDiff(m=vector.hnsw.m, ef_construct=vector.hnsw.ef_construct)


def _quantization(
    vector: VectorSpec,
) -> models.ScalarQuantization | models.BinaryQuantization | None:
    match vector.quantization:
        case Quantization.NONE:
            return None
        case Quantization.SCALAR:
            return models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(
                    type=models.ScalarType.INT8, quantile=QUANTILE, always_ram=True
                )
            )
        case Quantization.BINARY:
            return models.BinaryQuantization(
                binary=models.BinaryQuantizationConfig(always_ram=True)
            )


def _outdated(index: models.PayloadIndexInfo) -> bool:
    """Made by a version that split texts in another way."""
    tokenizer = getattr(index.params, "tokenizer", None)
    return tokenizer is not None and tokenizer != models.TokenizerType.WORD


def _payload_schema(field_type: FieldType) -> Any:
    return _SCHEMA_TYPES.validate_python(field_schema(field_type))


def field_type_of(schema: models.PayloadSchemaType) -> FieldType | None:
    """The field type of a stored payload index; None for one we never make."""
    return next((ours for ours, theirs in _SCHEMAS.items() if theirs == schema), None)
