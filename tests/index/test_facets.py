"""Facets count the same in every engine: each is compared with a plain Python count."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.index.test_filters import FIELDS, documents, filters, holds, moment, opened_once

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.facets import MAX_DISTINCT, chosen
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.filters.ranges import Bound
from lookalike_serving.index.protocol import Choice, IndexRefused, Point, Spread

ALL = Choice(limit=1000)
VECTOR = np.ones(4, np.float32)
TYPES = {"kind": str, "count": int, "sold": bool}


def uid(number: int) -> str:
    return str(uuid.UUID(int=number))


def members(document: dict[str, Any], key: str) -> list[Any]:
    stored = document.get(key)
    return stored if isinstance(stored, list) else [stored]


def counted(stored: list[dict[str, Any]], key: str) -> dict[Any, int]:
    counts: Counter[Any] = Counter()
    for document in stored:
        counts.update({each for each in members(document, key) if type(each) is TYPES[key]})
    return dict(counts)


def extent(stored: list[dict[str, Any]], key: str) -> tuple[Any, Any] | None:
    values = []
    for document in stored:
        for each in members(document, key):
            if key == "added":
                values += [moment(each)] if each is not None else []
            elif isinstance(each, int | float) and not isinstance(each, bool):
                values.append(each)
    return (min(values), max(values)) if values else None


BOUNDS = (-(2**63), -3, 0, 1.0, 2, 2**53, None)


def spread(stored: list[dict[str, Any]], key: str) -> list[int]:
    def has_one(document: dict[str, Any], low: float, high: float | None) -> bool:
        return any(
            isinstance(each, int | float) and low <= each and (high is None or each < high)
            for each in members(document, key)
        )

    return [
        sum(has_one(document, low, high) for document in stored)
        for low, high in itertools.pairwise(BOUNDS)
    ]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    stored=st.lists(documents, min_size=12, max_size=12),
    asked=st.lists(filters, min_size=3, max_size=3),
)
async def test_every_engine_counts_as_plain_python_does(engine, stored, asked):
    index = await opened_once(engine)
    await index.upsert([Point(uid(n), VECTOR, document) for n, document in enumerate(stored)])
    for written in [None, *asked]:
        filter = parse_filters(written, FIELDS)
        among = [document for document in stored if written is None or holds(written, document)]
        for key in TYPES:
            told = await index.facet(key, ALL, filter)
            expected = counted(among, key)
            assert dict(told.counts) == expected
            assert (told.distinct, told.exact) == (len(expected), True)
        for key in ("count", "price", "added"):
            assert await index.extent(key, filter) == extent(among, key)
        for key in ("count", "price"):
            told = await index.spread(key, BOUNDS, filter)
            assert told == Spread(tuple(spread(among, key)), True)


async def test_the_most_frequent_values_come_first_and_equals_in_their_own_order(engine):
    index = await engine.open(fields=FIELDS)
    kinds = ["mug"] * 2 + ["cup", "bowl", "jug"] + ["vase"] * 3
    await index.upsert([Point(uid(n), VECTOR, {"kind": kind}) for n, kind in enumerate(kinds)])
    told = await index.facet("kind", Choice(limit=4))
    assert told.counts == (("vase", 3), ("mug", 2), ("bowl", 1), ("cup", 1))
    assert told.distinct == 5


async def test_the_most_frequent_of_many_values_are_found(engine):
    # Asked for 20 values alone, Edge's own choice would leave out more frequent ones.
    index = await engine.open(fields=FIELDS)
    kinds = [f"kind-{n}" for n in range(400) for _ in range(1 + (n % 40 == 7) * (n // 40))]
    await index.upsert([Point(uid(n), VECTOR, {"kind": kind}) for n, kind in enumerate(kinds)])
    told = await index.facet("kind", Choice(limit=3))
    assert told.counts == (("kind-367", 10), ("kind-327", 9), ("kind-287", 8))


async def test_values_are_searched_by_a_part_of_their_text(engine):
    index = await engine.open(fields=FIELDS)
    kinds = ["Red mug", "red cup", "blue mug", "blue mug"]
    payloads = [{"kind": kind, "count": n * 10} for n, kind in enumerate(kinds, 11)]
    await index.upsert([Point(uid(n), VECTOR, each) for n, each in enumerate(payloads)])
    told = await index.facet("kind", Choice(limit=9, contains="rED"))
    assert told.counts == (("Red mug", 1), ("red cup", 1))
    assert told.distinct == 2
    assert (await index.facet("count", Choice(limit=9, contains="13"))).counts == ((130, 1),)


async def test_values_asked_for_by_name_are_told_however_rare(engine):
    index = await engine.open(fields=FIELDS)
    kinds = ["mug", "mug", "cup"]
    await index.upsert([Point(uid(n), VECTOR, {"kind": kind}) for n, kind in enumerate(kinds)])
    told = await index.facet("kind", Choice(limit=1, also=("mug", "cup", "jug")))
    assert told.counts == (("mug", 2), ("cup", 1), ("jug", 0))


async def test_what_no_payload_index_counts_is_refused_by_name(engine):
    index = await engine.open(fields=FIELDS)
    for key, message in (
        ("nope", "'nope': list it in spec.fields"),
        ("price", "'price' is a Float field"),
        ("title", "'title' is a Text field"),
    ):
        with pytest.raises(IndexRefused, match=message):
            await index.facet(key, ALL)
    for key, message in (
        ("nope", "'nope': list it in spec.fields"),
        ("kind", "'kind' is a Keyword field"),
    ):
        with pytest.raises(IndexRefused, match=message):
            await index.extent(key)


async def test_an_empty_index_has_no_values(engine):
    index = await engine.open(fields=FIELDS)
    assert (await index.facet("kind", ALL)).counts == ()
    assert await index.extent("price") is None


def test_of_more_values_than_are_read_the_choice_is_not_exact():
    counts = dict.fromkeys(range(MAX_DISTINCT), 1)
    told = chosen(counts, Choice(limit=2), exact=True)
    assert (told.counts, told.distinct, told.exact) == (((0, 1), (1, 1)), None, False)


async def test_counts_stay_right_through_optimisation_change_and_deletion(folder):
    """An optimised segment keeps its counts beside the points that were deleted from it."""
    index = await EdgeIndex.open(
        folder / "index",
        vector=VectorSpec(),
        dimension=4096,
        fingerprint="m",
        fields=(
            FieldSpec(name="kind", type=FieldType.KEYWORD),
            FieldSpec(name="price", type=FieldType.FLOAT),
            FieldSpec(name="added", type=FieldType.DATETIME),
        ),
    )
    vectors = np.random.default_rng(0).standard_normal((1_400, 4096), dtype=np.float32)
    day = "2026-01-{:02}T00:00:00Z".format
    stored = {
        uid(n): {"kind": f"k{n % 7}", "price": n / 2, "added": day(1 + n % 28)}
        for n in range(len(vectors))
    }
    await index.upsert(
        [Point(id, v, payload) for (id, payload), v in zip(stored.items(), vectors, strict=True)]
    )
    await index.optimize()
    assert (await index.info()).indexed_vectors > 0
    for n in range(300):
        id = uid(len(vectors) - 1 - n)
        if n % 2:
            stored[id] = {"kind": "new", "price": -1.0 - n}
            await index.replace_payload(id, stored[id])
        else:
            del stored[id]
            await index.delete([id])
    expected = Counter(each["kind"] for each in stored.values())
    assert dict((await index.facet("kind", ALL)).counts) == dict(expected)
    cheap = condition("price", "lt", 100)
    expected = Counter(each["kind"] for each in stored.values() if each["price"] < 100)
    assert dict((await index.facet("kind", ALL, cheap)).counts) == dict(expected)
    prices = [each["price"] for each in stored.values()]
    assert await index.extent("price") == (min(prices), max(prices))
    assert await index.extent("added") == (
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 28, tzinfo=UTC),
    )
    await index.close()


async def test_a_large_histogram_without_a_filter_is_estimated_and_says_so(folder, monkeypatch):
    monkeypatch.setattr("lookalike_serving.index.edge._ESTIMATED_FROM", 2_000)
    index = await EdgeIndex.open(
        folder / "index", vector=None, dimension=None, fingerprint=None, fields=FIELDS
    )
    prices = [9.5, 19.5, 19.5, 49.5] * 500 + [float(n % 10) for n in range(2000)] + [75.0]
    await index.upsert([Point(uid(n), None, {"price": price}) for n, price in enumerate(prices)])
    bounds = [0, 10, 20, 30, 40, 50, 60, 70, 80]
    exact = (2500, 1000, 0, 0, 500, 0, 0, 1)
    told = await index.spread("price", bounds)
    assert not told.exact
    for about, count in zip(told.counts, exact, strict=True):
        # What holds little is counted.
        assert about == count if count < 40 else abs(about - count) <= 0.05 * len(prices)
    filtered = await index.spread("price", bounds, Bound("price", "gte", 0))
    assert filtered == Spread(exact, True)
    await index.delete([uid(n) for n in range(2_002)])
    assert (await index.spread("price", bounds)).exact
    await index.close()
