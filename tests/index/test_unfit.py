"""A field whose type was changed does not silently find nothing."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import And
from lookalike_serving.index.protocol import Point
from lookalike_serving.index.unfit import unfit_warnings


async def test_a_field_that_became_another_type_is_told(tmp_path: Path) -> None:
    async def opened(kind: FieldType) -> EdgeIndex:
        return await EdgeIndex.open(
            tmp_path / "index",
            vector=VectorSpec(),
            dimension=2,
            fingerprint="a",
            fields=(FieldSpec(name="price", type=kind),),
        )

    index = await opened(FieldType.FLOAT)
    payloads = [{"price": 60.5}, {"price": 70.25}, {"price": None}, {"price": []}, {}]
    await index.upsert(
        [
            Point(str(uuid.UUID(int=n)), np.ones(2, np.float32), payload)
            for n, payload in enumerate(payloads)
        ]
    )
    dear = And((condition("price", "gt", 50),))
    fields = (FieldSpec(name="price", type=FieldType.FLOAT),)
    assert await index.count(dear) == 2
    assert await unfit_warnings(index, "shop", dear, fields) == []
    await index.close()
    index = await opened(FieldType.INTEGER)
    fields = (FieldSpec(name="price", type=FieldType.INTEGER),)
    assert await index.count(dear) == 0
    (warning,) = await unfit_warnings(index, "shop", dear, fields)
    assert warning.startswith("filters: 2 documents of shop hold 'price' with values that are no")
    await index.close()
