"""Request JSON becomes the filter tree, or an error that says where and what to write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.index.filters import And, Condition, Filter, Not, Operator, Or
from lookalike_serving.problems import Problem
from lookalike_serving.search.filters import MAX_CONDITIONS, MAX_DEPTH, parse_filters

ACTIVE = Condition("status", Operator.EQ, "active")
CHEAP = Condition("price", Operator.LT, 20)


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
            And((Condition("price", Operator.GTE, 10), CHEAP)),
        ),
        ({"kind": ["mug", "cup"]}, Condition("kind", Operator.IN, ["mug", "cup"])),
        ({"kind": None}, Condition("kind", Operator.IS_NULL, True)),
        (
            {"key": "kind", "operator": "ne", "value": None},
            Condition("kind", Operator.IS_NULL, False),
        ),
        ({"key": "kind", "operator": "exists"}, Condition("kind", Operator.EXISTS, True)),
        ({"key": {"eq": "brass"}}, Condition("key", Operator.EQ, "brass")),
        ({"size.width": {"gt": 3}}, Condition("size.width", Operator.GT, 3)),
        (
            {"added": {"gte": "2026-01-01"}},
            Condition("added", Operator.GTE, "2026-01-01"),
        ),
        (
            {"at": {"geo_radius": {"lat": 1, "lon": 2, "radius_m": 300}}},
            Condition("at", Operator.GEO_RADIUS, {"lat": 1, "lon": 2, "radius_m": 300}),
        ),
    ],
)
def test_both_spellings_mean_the_same_tree(written: Any, meant: Filter | None) -> None:
    assert parse_filters(written) == meant


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
        (
            {"at": {"geo_radius": {"lat": 91, "lon": 0, "radius_m": 1}}},
            "filters.at.geo_radius",
            "-90..90",
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
        parse_filters(written)
    assert refused.value.status == 422
    assert (refused.value.errors[0].path, True) == (
        path,
        message in refused.value.errors[0].message,
    )


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
