"""Floats come back as they went in, whatever the engine's own reading of numbers does."""

from __future__ import annotations

import math
import uuid
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.documents.layout import Origin, payload, split
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.floats import settled
from lookalike_serving.index.protocol import Point

finite = st.floats(allow_nan=False, allow_infinity=False)
metadata = st.dictionaries(
    st.sampled_from(["price", "free", "deep"]),
    st.one_of(finite, st.lists(finite, max_size=3), st.dictionaries(st.just("x"), finite)),
)
ORIGIN = Origin("a", "upload:a.png")


@settings(deadline=None)
@given(metadata)
def test_what_is_stored_leads_back_to_what_was_given(given):
    assert split(payload(given, ORIGIN))[0] == given


@settings(deadline=None)
@given(finite)
def test_a_settled_number_is_settled_and_near(number):
    near = settled(number)
    assert settled(near) == near
    assert math.isclose(near, number, rel_tol=1e-14, abs_tol=1e-300)


async def test_an_engine_keeps_floats_of_17_digits_and_finds_them(tmp_path: Path):
    generator = np.random.default_rng(8)
    numbers = [
        0.1 + 0.2,
        *(generator.random(200) * 10.0 ** generator.integers(-9, 9, 200)).tolist(),
    ]
    fields = (FieldSpec(name="price", type=FieldType.FLOAT),)
    opening = {"vector": VectorSpec(), "dimension": 2, "fingerprint": "a", "fields": fields}
    index = await EdgeIndex.open(tmp_path / "index", **opening)
    ids = [str(uuid.UUID(int=n)) for n in range(len(numbers))]
    await index.upsert(
        [
            Point(id, np.ones(2, np.float32), payload({"price": n, "free": n}, ORIGIN))
            for id, n in zip(ids, numbers, strict=True)
        ]
    )
    await index.close()
    index = await EdgeIndex.open(tmp_path / "index", **opening)
    records = await index.retrieve(ids)
    assert [split(record.payload)[0]["price"] for record in records] == numbers
    for id, number in zip(ids[:40], numbers, strict=False):
        for key in ("price", "free"):
            page = await index.scroll(filter=condition(key, "eq", number))
            assert [record.id for record in page.records] == [id]
    await index.close()
