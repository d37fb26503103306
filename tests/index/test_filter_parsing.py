"""Request JSON becomes the filter tree, or an error that says where and what to write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.filters.equality import Equals, OneOf
from lookalike_serving.index.filters.operators import OPERATORS
from lookalike_serving.index.filters.parse import MAX_CONDITIONS, MAX_DEPTH, parse_filters
from lookalike_serving.index.filters.places import InCircle
from lookalike_serving.index.filters.presence import Exists, IsNull
from lookalike_serving.index.filters.ranges import Bound
from lookalike_serving.index.filters.texts import Contains, HasWords, StartsWith
from lookalike_serving.index.filters.tree import And, Filter, Not, Or
from lookalike_serving.index.filters.values import shown
from lookalike_serving.problems import Problem

ACTIVE = Equals("status", "active")
CHEAP = Bound("price", "lt", 20)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, None),
        ({}, None),
        ({"key": "status", "operator": "eq", "value": "active"}, ACTIVE),
        ({"field": "status", "operator": "eq", "value": "active"}, ACTIVE),
        ({"key": "status", "value": "active"}, ACTIVE),
        ({"key": "status", "operator": "EQ", "value": "active"}, ACTIVE),
        ({"status": "active"}, ACTIVE),
        ({"price": {"lt": 20}}, CHEAP),
        ({"AND": [{"key": "status", "value": "active", "operator": "eq"}]}, And((ACTIVE,))),
        ({"and": [{"status": "active"}]}, And((ACTIVE,))),
        ({"OR": [{"status": "active"}, {"price": {"lt": 20}}]}, Or((ACTIVE, CHEAP))),
        ({"NOT": [{"status": "active"}, {"price": {"lt": 20}}]}, Not((ACTIVE, CHEAP))),
        ({"NOT": {"status": "active"}}, Not((ACTIVE,))),
        ({"status": "active", "price": {"lt": 20}}, And((ACTIVE, CHEAP))),
        ({"status": "active", "OR": [{"price": {"lt": 20}}]}, And((ACTIVE, Or((CHEAP,))))),
        (
            {"price": {"gte": 10, "lt": 20}},
            And((Bound("price", "gte", 10), CHEAP)),
        ),
        ({"kind": ["mug", "cup"]}, OneOf("kind", ("mug", "cup"))),
        ({"kind": None}, IsNull("kind")),
        (
            {"key": "kind", "operator": "ne", "value": None},
            Not((IsNull("kind"),)),
        ),
        ({"key": "kind", "operator": "exists"}, Exists("kind")),
        ({"key": "kind", "operator": "EXISTS"}, Exists("kind")),
        ({"kind": {"exists": False}}, Not((Exists("kind"),))),
        ({"kind": {"ne": "mug"}}, Not((Equals("kind", "mug"),))),
        ({"kind": {"nin": ["mug"]}}, Not((OneOf("kind", ("mug",)),))),
        ({"kind": {"starts_with": "m"}}, StartsWith("kind", "m")),
        ({"kind": {"contains": "m"}}, Contains("kind", "m")),
        ({"title": {"text": "red mug"}}, HasWords("title", "red mug")),
        ({"key": {"eq": "brass"}}, Equals("key", "brass")),
        ({"size.width": {"gt": 3}}, Bound("size.width", "gt", 3)),
        (
            {"added": {"gte": "2026-01-01"}},
            Bound("added", "gte", datetime(2026, 1, 1, tzinfo=UTC)),
        ),
        (
            {"at": {"geo_radius": {"lat": 1, "lon": 2, "radius_m": 300}}},
            InCircle("at", 1.0, 2.0, 300.0),
        ),
    ],
)
def test_both_spellings_mean_the_same_tree(written: Any, meant: Filter | None) -> None:
    assert parse_filters(written) == meant


def at_radius(**parts: Any) -> dict[str, Any]:
    return {"at": {"geo_radius": {"lat": 1, "lon": 0, "radius_m": 1} | parts}}


ADDED = FieldSpec(name="added", type=FieldType.DATETIME)


@pytest.mark.parametrize(
    ("written", "path", "message"),
    [
        ([{"status": "active"}], "filters", '{"AND": [...]}'),
        ("status = active", "filters", "is not a filter object"),
        ({"AND": []}, "filters.AND", "empty list"),
        ({"AND": [{}]}, "filters.AND[0]", "is empty"),
        ({"AND": ["x"]}, "filters.AND[0]", "is not a filter object"),
        ({"key": "a", "operator": "eq"}, "filters.value", "is missing"),
        ({"key": 5, "operator": "eq", "value": 1}, "filters.key", "5 is not the name"),
        ({"key": "a", "field": "b", "value": 1}, "filters.field", "write one of them"),
        ({"key": "a", "op": "eq", "value": 1}, "filters.op", "is not part of a condition"),
        ({"key": "a", "operater": "eq", "value": 1}, "filters.operater", "'operator'"),
        ({"key": "a", "operator": ">=", "value": 1}, "filters", "did you mean 'gte'"),
        ({"key": "a", "operator": "startswith", "value": "b"}, "filters", "'starts_with'"),
        ({"price": {"between": [1, 2]}}, "filters.price", "unknown operator"),
        ({"price": {"gt": "ten"}}, "filters.price.gt", "takes a number"),
        ({"price": {"gt": True}}, "filters.price.gt", "takes a number"),
        ({"price": {}}, "filters.price", "is empty"),
        ({"kind": {"in": "mug"}}, "filters.kind.in", "takes a list"),
        ({"kind": {"in": []}}, "filters.kind.in", "takes a list"),
        ({"kind": {"in": [{}]}}, "filters.kind.in", "strings, numbers and booleans"),
        ({"kind": {"eq": ["mug"]}}, "filters.kind.eq", "use in"),
        ({"kind": {"eq": float("nan")}}, "filters.kind.eq", "NaN"),
        ({"n": 2**70}, "filters.n", "eq takes"),
        ({"kind": {"exists": "yes"}}, "filters.kind.exists", "true or false"),
        ({"": "x"}, "filters.", "1 to 256 characters"),
        ({"a..b": "x"}, "filters.a..b", "names joined by dots"),
        ({"a[0]": "x"}, "filters.a[0]", "no brackets"),
        ({"kind": "\ud800"}, "filters.kind", r'not "\ud800": write valid Unicode'),
        ({"kind\ud800": 1}, "filters.kind\ud800", r'"kind\ud800" is not a metadata key'),
        ({"kind": {"starts_with": ""}}, "filters.kind.starts_with", "1 to 4096 characters"),
        ({"kind": {"starts_with": 3}}, "filters.kind.starts_with", "takes a string"),
        (
            {"title": {"text": " - "}},
            "filters.title.text",
            '" - " contains none: write at least one',
        ),
        ({"n": 2**63}, "filters.n", "not 9223372036854775808: write a finite number"),
        ({"n": {"lt": float("nan")}}, "filters.n.lt", "takes a number or a time, not NaN"),
        ({"n": {"lt": 10**400}}, "filters.n.lt", "takes a number or a time, not 1000"),
        (
            {"n": {"gte": 2**53 + 1}},
            "filters.n.gte",
            "round it to one of them, such as 9007199254740992",
        ),
        ({"key": "a", "operator": ["eq"], "value": 1}, "filters", "unknown operator"),
        ({"added": {"gte": "2026-W01-1"}}, "filters.added.gte", 'not "2026-W01-1". A time'),
        ({"added": "yesterday"}, "filters.added", '"yesterday" is not a time: write one like'),
        (
            {"added": ["2026-01-01", "soon"]},
            "filters.added",
            '"soon" is not a time: write one like',
        ),
        ({"added": {"ne": "soon"}}, "filters.added.ne", "compared with a Datetime field"),
        ({"added": {"contains": "20"}}, "filters.added.contains", "compared with a Datetime field"),
        (at_radius(lat=91), "filters.at.geo_radius", "-90..90"),
        (at_radius(extra=1), "filters.at.geo_radius", '"radius_m": metres}, not {'),
        (
            at_radius(radius_m=0),
            "filters.at.geo_radius",
            "above 0 and up to 20100000 metres",
        ),
        (at_radius(radius_m=3e7), "filters.at.geo_radius", "up to 20100000 metres, not 30000000.0"),
        ({"at": {"geo_radius": [1, 2, 3]}}, "filters.at.geo_radius", "not [1, 2, 3]"),
        (
            {"at": {"geo_box": {"top_left": {"lat": 1, "lon": 1}}}},
            "filters.at.geo_box",
            "geo_box takes",
        ),
        (
            {
                "at": {
                    "geo_box": {
                        "top_left": {"lat": 1, "lon": 0},
                        "bottom_right": {"lat": 2, "lon": 1},
                    }
                }
            },
            "filters.at.geo_box",
            "swap",
        ),
    ],
)
def test_an_error_names_the_path_and_the_remedy(written: Any, path: str, message: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_filters(written, [ADDED])
    assert refused.value.status == 422
    wrong = refused.value.errors[0]
    assert wrong.path == path
    assert message in wrong.message


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(Problem) as refused:
        parse_filters({"OR": [{"price": {"gt": "x"}}, {"key": "a", "operator": "?", "value": 1}]})
    assert [wrong.path for wrong in refused.value.errors] == [
        "filters.OR[0].price.gt",
        "filters.OR[1]",
    ]


def test_depth_is_bounded() -> None:
    tree: Any = {"status": "active"}
    for _ in range(MAX_DEPTH):
        tree = {"NOT": [tree]}
    with pytest.raises(Problem, match="nested deeper"):
        parse_filters(tree)


def test_size_is_bounded() -> None:
    with pytest.raises(Problem, match="use in with a list"):
        parse_filters({"OR": [{"a": i} for i in range(MAX_CONDITIONS + 1)]})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["AND", "OR", "NOT", "key", "field", "operator", "value", "eq", "in", "gt", "a"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_json)
def test_any_json_is_a_tree_or_a_refusal(value: Any) -> None:
    refused: list[Problem] = []
    try:
        parse_filters(value)
    except Problem as problem:
        refused.append(problem)
    assert all(problem.status == 422 and problem.errors for problem in refused)


@given(st.sampled_from(sorted(OPERATORS)), _json)
def test_a_refused_value_is_named_with_what_to_write(operator: str, value: Any) -> None:
    try:
        parse_filters({"kind": {operator: value}})
    except Problem as refused:
        message = refused.errors[0].message
        assert shown(value) in message
        assert f"{operator} takes" in message or "write at least one" in message


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(Problem) as refused:
        parse_filters({"kind": {"gt": "x" * 100_000}})
    assert len(refused.value.errors[0].message) < 300


def test_words_of_a_datetime_fields_name_are_text_in_other_collections() -> None:
    assert parse_filters({"added": "soon"}, []) == Equals("added", "soon")
