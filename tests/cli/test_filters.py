"""`--filter` texts."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike_cli.failure import Failure
from lookalike_cli.filters import parse_filters


@pytest.mark.parametrize(
    ("text", "operator", "value"),
    [
        ("price=20", "eq", 20),
        ("price==20", "eq", 20),
        ("price!=20", "ne", 20),
        ("price<20", "lt", 20),
        ("price<=19.5", "lte", 19.5),
        ("price>-1e3", "gt", -1000.0),
        ("price>=20", "gte", 20),
        ("price = 20 ", "eq", 20),
        ("price=active", "eq", "active"),
        ("price=true", "eq", True),
        ("price=null", "eq", None),
        ('price="20"', "eq", "20"),
        ("price=a=b<c", "eq", "a=b<c"),
        ("price=NaN", "eq", "NaN"),
        ("price=2026-05-01T12:00:00Z", "eq", "2026-05-01T12:00:00Z"),
        ("price=with spaces, and more", "eq", "with spaces, and more"),
        ("price~striped mug", "text", "striped mug"),
        ("price~20", "text", "20"),
    ],
)
def test_a_condition_is_read(text: str, operator: str, value: Any) -> None:
    assert parse_filters([text]) == {"key": "price", "operator": operator, "value": value}


def test_nested_keys_have_dots() -> None:
    assert parse_filters(["size.width>3"]) == {"key": "size.width", "operator": "gt", "value": 3}


@pytest.mark.parametrize("key", ["Shot On", "Größe €/m²", "2024 sales", "a-b.c d"])
def test_keys_may_have_spaces_and_any_letters(key: str) -> None:
    for text in (f"{key}>=3", f" {key} >= 3 "):
        assert parse_filters([text]) == {"key": key, "operator": "gte", "value": 3}


def test_json_goes_as_it_is() -> None:
    assert parse_filters([' {"OR": [{"status": "active"}]}']) == {"OR": [{"status": "active"}]}


def test_several_must_all_hold() -> None:
    assert parse_filters(["a=1", '{"b": 2}']) == {
        "AND": [{"key": "a", "operator": "eq", "value": 1}, {"b": 2}]
    }


def test_none_is_none() -> None:
    assert parse_filters([]) is None


@pytest.mark.parametrize(
    "text", ["", "price", "=20", "price<", "_x=2", "[a]=2", "price 20", "{broken"]
)
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(Failure, match="--filter"):
        parse_filters([text])
