"""Filters mean the same in every engine: each is compared with a plain Python reading of them."""

from __future__ import annotations

import math
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.filters.operators import OPERATORS, condition
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.filters.tree import And, Filter, HasId, Not, Or, unindexed_keys
from lookalike_serving.index.protocol import Point, Query

FIELDS = tuple(
    FieldSpec(name=name, type=FieldType(type_))
    for name, type_ in (
        ("kind", "Keyword"),
        ("count", "Integer"),
        ("price", "Float"),
        ("sold", "Bool"),
        ("added", "Datetime"),
        ("place", "Geo"),
        ("title", "Text"),
    )
)


# The plain reading


def holds(filter: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether a document meets a request's filter."""
    match filter:
        case {"AND": _}:
            parts = list(flat(filter))
            ranged = [part for part in parts if part.get("operator") in ORDER]
            others = [part for part in parts if part not in ranged]
            return all(holds(each, document) for each in others) and all(
                one_meets_all(at(document, key), [part for part in ranged if part["key"] == key])
                for key in {part["key"] for part in ranged}
            )
        case {"OR": of}:
            return any(holds(each, document) for each in of)
        case {"NOT": of}:
            return not any(holds(each, document) for each in of)
        case {"key": key, "operator": operator, "value": value}:
            return condition_holds(at(document, key), operator, value, key)
    raise AssertionError(filter)


ORDER = {"gt", "gte", "lt", "lte"}


def flat(filter: dict[str, Any]):
    for each in filter["AND"]:
        yield from flat(each) if "AND" in each else [each]


def one_meets_all(stored: Any, bounds: list[dict[str, Any]]) -> bool:
    elements = stored if isinstance(stored, list) else [stored]
    return any(all(ordered(e, b["operator"], b["value"]) for b in bounds) for e in elements)


MISSING = object()


def at(document: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(document, dict) or part not in document:
            return MISSING
        document = document[part]
    return document


def condition_holds(stored: Any, operator: str, value: Any, key: str) -> bool:
    elements = stored if isinstance(stored, list) else [] if stored is MISSING else [stored]
    match operator:
        case "eq":
            if value is None:
                return condition_holds(stored, "is_null", True, key)
            return any(equal(element, value, key) for element in elements)
        case "ne":
            return not condition_holds(stored, "eq", value, key)
        case "in":
            return any(condition_holds(stored, "eq", each, key) for each in value)
        case "nin":
            return not condition_holds(stored, "in", value, key)
        case "gt" | "gte" | "lt" | "lte":
            return any(ordered(element, operator, value) for element in elements)
        case "contains":
            if isinstance(stored, list):
                return any(equal(element, value, key) for element in elements)
            # Points in time are no texts, so they have no parts.
            both = isinstance(value, str) and isinstance(stored, str)
            return both and key != "added" and value in stored
        case "starts_with":
            return any(isinstance(e, str) and e.startswith(value) for e in elements)
        case "text":
            return any(isinstance(e, str) and words(value) <= words(e) for e in elements)
        case "exists":
            return (stored is not MISSING and stored is not None and stored != []) == value
        case "is_null":
            return any(element is None for element in elements) == value
        case "geo_radius":
            return any(is_point(e) and metres(e, value) <= value["radius_m"] for e in elements)
        case "geo_box":
            return any(is_point(e) and in_box(e, value) for e in elements)


def equal(stored: Any, value: Any, key: str) -> bool:
    if isinstance(stored, bool) or isinstance(value, bool):
        return stored is value
    if isinstance(value, str) and key == "added":
        return (m := moment(stored)) is not None and m == moment(value)
    if isinstance(stored, str) or isinstance(value, str):
        return isinstance(stored, str) and isinstance(value, str) and stored == value
    return isinstance(stored, int | float) and stored == value


def ordered(stored: Any, operator: str, value: Any) -> bool:
    if isinstance(value, str):
        stored, value = moment(stored), moment(value)
    elif isinstance(stored, bool) or not isinstance(stored, int | float):
        stored = None
    if stored is None:
        return False
    return {
        "gt": stored > value,
        "gte": stored >= value,
        "lt": stored < value,
        "lte": stored <= value,
    }[operator]


def moment(value: Any) -> datetime | None:
    if not isinstance(value, str) or not re.match(r"\d{4}-", value):
        return None
    read = datetime.fromisoformat(value)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def words(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[^\W_]+", text)}


def is_point(value: Any) -> bool:
    return isinstance(value, dict) and {"lat", "lon"} <= value.keys()


def metres(a: dict[str, float], b: dict[str, float]) -> float:
    """Great-circle distance by the haversine formula."""
    lat_a, lon_a, lat_b, lon_b = (math.radians(x) for x in (a["lat"], a["lon"], b["lat"], b["lon"]))
    h = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    return 2 * 6_371_000 * math.asin(math.sqrt(h))


def in_box(point: dict[str, float], box: dict[str, dict[str, float]]) -> bool:
    top_left, bottom_right = box["top_left"], box["bottom_right"]
    if not bottom_right["lat"] <= point["lat"] <= top_left["lat"]:
        return False
    west, east = top_left["lon"], bottom_right["lon"]
    if west <= east:
        return west <= point["lon"] <= east
    return point["lon"] >= west or point["lon"] <= east


# Random documents and filters: few values, so that they often meet

texts = st.sampled_from(["red", "Red", "red mug", "mug red_blue", "redder", "é café", "", "1"])
integers = st.sampled_from([-5, 0, 1, 2, 7, 2**53 + 1, 2**53 + 2, 2**63 - 1, -(2**63)])
floats = st.sampled_from([-2.5, 0.0, 0.5, 1.0, 2.0, 7.25, 1e18])
zones = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]
)
moments = st.builds(
    lambda minutes, zone: (
        (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes, microseconds=minutes))
        .astimezone(zone)
        .isoformat()
    ),
    st.integers(0, 3),
    zones,
)
# Edges of the map, and of the circles and boxes below, among them.
latitudes = [-90, -89.95, -60, -1, 0, 1, 48.5, 60, 89.95, 90]
longitudes = [-180, -179.95, -170, -1, 0, 1, 160, 175, 179.95, 180]
points = st.builds(
    lambda lat, lon: {"lat": lat, "lon": lon},
    st.sampled_from(latitudes),
    st.sampled_from(longitudes),
)
scalars = st.one_of(texts, integers, floats, st.booleans(), st.none(), moments)
anything = st.one_of(
    scalars, st.lists(scalars, max_size=3), points, st.fixed_dictionaries({"leaf": scalars})
)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, max_size=3), st.none())


documents = st.fixed_dictionaries(
    {},
    optional={
        "kind": some(texts),
        "count": some(integers),
        "price": some(st.one_of(floats, st.integers(-3, 3))),
        "sold": some(st.booleans()),
        "added": some(moments),
        "place": some(points),
        "title": some(texts),
        "free": anything,
        "odd-key ü": anything,
        "deep": st.fixed_dictionaries({}, optional={"leaf": anything, "place": points}),
    },
)
keys = st.sampled_from(
    ["kind", "count", "price", "sold", "added", "title", "free", "odd-key ü", "deep.leaf", "nope"]
)
geo_keys = st.sampled_from(["place", "free", "deep.place", "kind"])
operands = {
    "added": moments,
    "count": st.one_of(integers, floats, texts, st.booleans(), st.none()),
}


def asked_of(keys: Any, operators: Any, values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"key": keys, "operator": operators, "value": values})


def equality(key: str) -> st.SearchStrategy[dict[str, Any]]:
    value = operands.get(key, scalars)
    known = value.filter(lambda v: v is not None)
    return st.one_of(
        asked_of(st.just(key), st.sampled_from(["eq", "ne"]), value),
        asked_of(
            st.just(key),
            st.sampled_from(["in", "nin"]),
            st.lists(known, min_size=1, max_size=4),
        ),
        asked_of(st.just(key), st.just("contains"), known),
    )


bounds = asked_of(
    keys,
    st.sampled_from(["gt", "gte", "lt", "lte"]),
    st.one_of(st.integers(-5, 8), floats, moments),
)
conditions = st.one_of(
    keys.flatmap(equality),
    bounds,
    st.lists(bounds, min_size=2, max_size=3).map(
        lambda of: {"AND": [each | {"key": of[0]["key"]} for each in of]}
    ),
    asked_of(keys, st.just("starts_with"), texts.filter(bool)),
    asked_of(keys, st.just("text"), texts.filter(words)),
    asked_of(keys, st.sampled_from(["exists", "is_null"]), st.booleans()),
    asked_of(
        geo_keys,
        st.just("geo_radius"),
        st.fixed_dictionaries(
            {
                "lat": st.sampled_from([0, 48.5, 89.9, 90, -90]),
                "lon": st.sampled_from([0, 179.5, 180, -180]),
                "radius_m": st.sampled_from([1, 50_000, 200_000, 5_000_000, 20_100_000]),
            }
        ),
    ),
    st.builds(
        lambda key, south, north, west, east: {
            "key": key,
            "operator": "geo_box",
            "value": {
                "top_left": {"lat": north, "lon": west},
                "bottom_right": {"lat": south, "lon": east},
            },
        },
        geo_keys,
        st.sampled_from([-90, -70, -1, 0]),
        st.sampled_from([0, 1, 60, 90]),
        st.sampled_from(longitudes),
        st.sampled_from(longitudes),
    ),
)
filters = st.recursive(
    conditions,
    lambda children: st.one_of(
        *(
            st.fixed_dictionaries({kind: st.lists(children, min_size=1, max_size=3)})
            for kind in ("AND", "OR", "NOT")
        )
    ),
    max_leaves=6,
)
"""Of requests, in all operators."""


def test_the_filters_that_are_tried_have_every_operator():
    tried: set[str] = set()

    @settings(max_examples=300, database=None, derandomize=True, phases=[Phase.generate])
    @given(conditions)
    def collect(condition):
        tried.update(each["operator"] for each in condition.get("AND", [condition]))

    collect()
    assert tried == set(OPERATORS)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    stored=st.lists(documents, min_size=12, max_size=12),
    asked=st.lists(filters, min_size=8, max_size=8),
)
async def test_every_engine_filters_as_plain_python_does(engine, stored, asked):
    index = await opened_once(engine)
    vector = np.ones(4, np.float32)
    await index.upsert(
        [Point(str(uuid.UUID(int=n)), vector, document) for n, document in enumerate(stored)]
    )
    for written in asked:
        filter = parse_filters(written, FIELDS)
        expected = {
            str(uuid.UUID(int=n)) for n, document in enumerate(stored) if holds(written, document)
        }
        page = await index.scroll(filter=filter)
        assert {record.id for record in page.records} == expected
        assert await index.count(filter) == len(expected)
        hits = await index.query(Query(vector, limit=20, filter=filter, with_payload=False))
        assert {hit.id for hit in hits} == expected


async def opened_once(engine):
    """Opening costs more than an example: the twelve points are overwritten each time."""
    if not hasattr(engine, "shared"):
        engine.shared = await engine.open(fields=FIELDS)
    return engine.shared


# Rules worth naming


async def matches(engine, document: dict[str, Any], filter: Filter) -> bool:
    index = await engine.open(fields=FIELDS)
    await index.upsert([Point(str(uuid.UUID(int=1)), np.ones(4, np.float32), document)])
    return await index.count(filter) == 1


@pytest.mark.parametrize(
    ("document", "condition", "expected"),
    [
        ({"n": 1}, condition("n", "eq", True), False),
        ({"n": True}, condition("n", "eq", 1), False),
        ({"n": True}, condition("n", "eq", True), True),
        ({"n": "1"}, condition("n", "eq", 1), False),
        ({"n": 1.0}, condition("n", "eq", 1), True),
        ({"n": 2**53 + 1}, condition("n", "eq", 2**53), False),
        ({"tags": ["redder"]}, condition("tags", "contains", "red"), False),
        ({"tags": ["red"]}, condition("tags", "contains", "red"), True),
        ({"tags": "redder"}, condition("tags", "contains", "red"), True),
        ({}, condition("kind", "ne", "mug"), True),
        ({}, Or(()), False),
        ({}, And(()), True),
        (
            {"added": "2026-03-01T12:00:00+02:00"},
            condition("added", "eq", "2026-03-01T10:00:00Z"),
            True,
        ),
        ({"added": "2026-03-01"}, condition("added", "lt", "2026-03-01T00:00:01"), True),
        ({"added": "2026-03-01"}, condition("added", "gt", 5), False),
        ({"title": "The Red-Striped Mug"}, condition("title", "text", "mug RED"), True),
        ({"title": "The Red-Striped Mug"}, condition("title", "text", "mu"), False),
    ],
)
async def test_a_rule_of_filters(engine, document, condition, expected):
    assert await matches(engine, document, condition) is expected


# Numbers beyond what a float holds


@pytest.mark.parametrize(
    ("operator", "bound", "found"),
    [
        ("gte", 1e19, set()),
        ("gte", 2.0**63, set()),
        ("lt", 1e19, {"small", "large", "larger", "largest"}),
        ("gt", 2**53, {"larger", "largest"}),
        ("gte", 2**53, {"large", "larger", "largest"}),
        ("lte", 2**53, {"small", "large"}),
        ("lt", -(2.0**63), set()),
        ("gt", 4.5, {"small", "large", "larger", "largest"}),
        ("lt", 5.5, {"small"}),
    ],
)
async def test_ranges_on_integer_fields_are_exact(engine, operator, bound, found):
    index = await engine.open(fields=FIELDS)
    numbers = {"small": 5, "large": 2**53, "larger": 2**53 + 1, "largest": 2**63 - 1}
    await index.upsert(
        [
            Point(str(uuid.UUID(int=n)), np.ones(4, np.float32), {"count": value})
            for n, value in enumerate(numbers.values())
        ]
    )
    page = await index.scroll(filter=condition("count", operator, bound))
    names = list(numbers)
    assert {names[uuid.UUID(record.id).int] for record in page.records} == found


TEXTS = [
    "你好世界",
    "赤いマグカップ",
    "red mug",
    "красная кружка",
    "서울 머그",
    "Size 42",
    "size 43, 3.5 mm",
    "红色 12 杯子",
    "model X2000",
]


@pytest.mark.parametrize("key", ["title", "free"])
async def test_words_are_found_in_every_script_and_numbers_are_words(folder, key):
    index = await EdgeIndex.open(
        folder / "texts", vector=VectorSpec(), dimension=4, fingerprint="a", fields=FIELDS
    )
    await index.upsert(
        [
            Point(str(uuid.UUID(int=n)), np.ones(4, np.float32), {key: text})
            for n, text in enumerate(TEXTS)
        ]
    )
    for words, found in [
        ("世界", [0]),
        ("マグカップ", [1]),
        ("赤い", [1]),
        ("mug", [2]),
        ("КРУЖКА", [3]),
        ("머그", [4]),
        ("mug 世界", []),
        ("size 42", [5]),
        ("size", [5, 6]),
        ("3.5", [6]),
        ("12", [7]),
        ("杯子 12", [7]),
        ("x2000", [8]),
        ("2000", []),
    ]:
        page = await index.scroll(filter=condition(key, "text", words))
        assert [uuid.UUID(record.id).int for record in page.records] == found, words
    await index.close()


# Which keys an index serves


def test_keys_that_no_index_serves_are_named_once_in_order():
    filter = And(
        (
            condition("maker", "eq", "Ada"),
            condition("kind", "eq", "mug"),
            Or((condition("kind", "text", "mug"), condition("price", "lt", 3))),
            Not((condition("deep.leaf", "exists"), condition("maker", "ne", "Bo"))),
            HasId(()),
        )
    )
    assert unindexed_keys(filter, FIELDS) == ["maker", "kind", "deep.leaf"]


def test_lookalikes_own_keys_are_not_reported_as_unindexed():
    assert unindexed_keys(condition("_lookalike.source", "eq", "shop"), ()) == []
