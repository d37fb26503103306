"""An index remembers the types that its fields had, and which documents hold values of before."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.qdrant_server import StandIn

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, FieldSpec, FieldType, ModelSpec, VectorSpec
from lookalike_serving.index.open import open_index
from lookalike_serving.index.protocol import Index, Point
from lookalike_serving.index.unfit import retyped_warnings


@pytest.fixture(params=[Engine.EDGE, Engine.QDRANT])
def config(request: pytest.FixtureRequest, folder: Path) -> IndexConfig:
    name = f"typed-{uuid.uuid4().hex}"
    if request.param is Engine.EDGE:
        return IndexConfig(engine=Engine.EDGE, name=name, path=folder / "index")
    server: StandIn = request.getfixturevalue("stand_in")
    return IndexConfig(engine=Engine.QDRANT, name=name, url=server.url, grpc_port=server.grpc_port)


async def opened(config: IndexConfig, m: int = 16, **fields: FieldType) -> Index:
    collection = CollectionConfig(
        name="shop",
        model=ModelSpec(),
        vector=VectorSpec.model_validate({"hnsw": {"m": m}}),
        index=config,
        fields=tuple(FieldSpec(name=name, type=type) for name, type in fields.items()),
    )
    return await open_index(collection, dimension=2, fingerprint="a")


async def told(index: Index, **fields: FieldType) -> list[str]:
    specs = [FieldSpec(name=name, type=type) for name, type in fields.items()]
    return await retyped_warnings(index, await index.info(), specs)


def points(*values: Any) -> list[Point]:
    return [
        Point(str(uuid.UUID(int=n)), [1.0, 0.0], {"x": value}) for n, value in enumerate(values)
    ]


VALUES: dict[FieldType, list[Any]] = {
    FieldType.KEYWORD: ["blue", "red"],
    FieldType.INTEGER: [60, 70],
    FieldType.FLOAT: [60.5, 70.25],
    FieldType.BOOL: [True, False],
    FieldType.DATETIME: ["2024-03-01T10:00:00Z", "2025-03-01T10:00:00Z"],
    FieldType.GEO: [{"lat": 48.1, "lon": 11.6}, {"lat": -90, "lon": 180}],
    FieldType.TEXT: ["blue mug", "赤い靴"],
}
FITS = {
    (FieldType.INTEGER, FieldType.FLOAT),
    (FieldType.DATETIME, FieldType.KEYWORD),
    (FieldType.DATETIME, FieldType.TEXT),
    (FieldType.TEXT, FieldType.KEYWORD),
    (FieldType.KEYWORD, FieldType.TEXT),
}
"""Every value of the first is one of the second."""


@pytest.mark.parametrize("before", FieldType)
async def test_a_change_is_told_where_values_no_longer_fit(
    config: IndexConfig, before: FieldType
) -> None:
    index = await opened(config, x=before)
    await index.upsert([*points(*VALUES[before], None, [])])
    assert await told(index, x=before) == []
    for now in FieldType:
        await index.close()
        index = await opened(config, x=now)
        warnings = await told(index, x=now)
        if config.engine is Engine.QDRANT and (before, now) == (FieldType.FLOAT, FieldType.INTEGER):
            continue  # the stand-in has no indexes that would leave a 60.5 out
        if now is before or (before, now) in FITS:
            assert warnings == [], now
        else:
            (warning,) = warnings
            assert warning.startswith(f"field x is {now.value} and was ")
            assert before.value in warning.partition(":")[0]
            assert ": 2 documents hold values that are no " in warning
    await index.close()


async def test_it_is_told_until_the_documents_are_written_anew(config: IndexConfig) -> None:
    index = await opened(config, x=FieldType.KEYWORD)
    await index.upsert(points("60", "70", "8"))
    await index.close()
    # Other settings, and a field that is not declared for a while, change nothing about it.
    await (await opened(config, m=32)).close()
    index = await opened(config, x=FieldType.INTEGER)
    (warning,) = await told(index, x=FieldType.INTEGER)
    assert warning.startswith("field x is Integer and was Keyword: 3 documents hold")
    await index.close()
    index = await opened(config, x=FieldType.INTEGER)
    assert len(await told(index, x=FieldType.INTEGER)) == 1
    await index.upsert(points(60, 70, 8))
    assert await told(index, x=FieldType.INTEGER) == []
    await index.close()
