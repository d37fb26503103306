"""Metadata is checked against a collection's fields before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.documents.metadata import MetadataChecker, checked_metadata
from lookalike_serving.problems import Problem

FIELDS = [FieldSpec(name=kind.value.lower(), type=kind) for kind in FieldType]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"keyword": "a"}, {"keyword": "a"}),
        ({"keyword": ["a", "b"]}, {"keyword": ["a", "b"]}),
        ({"keyword": None}, {"keyword": None}),
        ({"integer": 5.0}, {"integer": 5}),
        ({"float": 5}, {"float": 5.0}),
        ({"bool": False}, {"bool": False}),
        ({"datetime": "2026-05-01T12:00:00Z"}, {"datetime": "2026-05-01T12:00:00Z"}),
        ({"datetime": "2026-05-01"}, {"datetime": "2026-05-01"}),
        ({"datetime": "2026-05-01T12:00Z"}, {"datetime": "2026-05-01T12:00:00Z"}),
        ({"datetime": "2026-05-01 12:00"}, {"datetime": "2026-05-01T12:00:00Z"}),
        ({"datetime": "2026-05-01t12:00:00z"}, {"datetime": "2026-05-01T12:00:00Z"}),
        ({"datetime": "2026-05-01T12:00:00+01"}, {"datetime": "2026-05-01T11:00:00Z"}),
        ({"datetime": "2026-05-01T12:00:00+0130"}, {"datetime": "2026-05-01T10:30:00Z"}),
        (
            {"datetime": "2026-05-01T12:00:00.125000000Z"},
            {"datetime": "2026-05-01T12:00:00.125000Z"},
        ),
        (
            {"datetime": ["2026-05-01", "2026-05-01T12:00+01:00"]},
            {"datetime": ["2026-05-01", "2026-05-01T11:00:00Z"]},
        ),
        ({"float": 2**53 + 2}, {"float": 9007199254740994.0}),
        ({"geo": {"lat": 1, "lon": -2}}, {"geo": {"lat": 1.0, "lon": -2.0}}),
        ({"text": "any words"}, {"text": "any words"}),
        ({"other": {"any": [1, {"json": None}]}}, {"other": {"any": [1, {"json": None}]}}),
    ],
)
def test_values_that_fit_are_stored(given: dict[str, Any], stored: dict[str, Any]) -> None:
    checked = checked_metadata(given, FIELDS)
    assert checked == stored
    assert [type(value) for value in checked.values()] == [type(v) for v in stored.values()]


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"keyword": 5}, "metadata.keyword", "a string"),
        ({"integer": 5.5}, "metadata.integer", "a whole number"),
        ({"integer": True}, "metadata.integer", "a whole number"),
        ({"integer": 1e300}, "metadata.integer", "a whole number"),
        ({"float": "5"}, "metadata.float", "a number"),
        ({"float": [1, "2"]}, "metadata.float", "a number"),
        ({"bool": "true"}, "metadata.bool", "true or false"),
        ({"datetime": "yesterday"}, "metadata.datetime", "RFC 3339"),
        ({"datetime": "2026-13-01"}, "metadata.datetime", "RFC 3339"),
        ({"datetime": "2016-12-31T23:59:60Z"}, "metadata.datetime", "years 1 to 9999"),
        ({"datetime": "2026-W09-5"}, "metadata.datetime", "years 1 to 9999"),
        ({"datetime": "0000-01-01"}, "metadata.datetime", "years 1 to 9999"),
        ({"datetime": "10000-01-01"}, "metadata.datetime", "years 1 to 9999"),
        ({"datetime": "0001-01-01T00:00+05:00"}, "metadata.datetime", "years 1 to 9999"),
        ({"datetime": "2026-05-01T12:00:00.1234567Z"}, "metadata.datetime", "at most 6 digits"),
        ({"datetime": "2026-05-01T12:00:00+01:75"}, "metadata.datetime", "zone Z"),
        ({"float": 2**53 + 1}, "metadata.float", "holds exactly"),
        ({"other": {"a": b"bytes"}}, "metadata.other", "bytes, not a JSON value"),
        ({"geo": {"lat": 95, "lon": 0}}, "metadata.geo", "-90..90"),
        ({"geo": [1, 2]}, "metadata.geo", "lat"),
        ({"_mine": 1}, "metadata._mine", "reserved"),
        ({"": 1}, "metadata.", "1 to 128"),
        ({"a.b": 1}, "metadata.a.b", "dots"),
        ({"other": float("inf")}, "metadata.other", "use null"),
        ({"other": [2**64]}, "metadata.other", "64 bits"),
        ({"other": "x" * 70_000}, "metadata", "64 KiB"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    given: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(Problem) as refused:
        checked_metadata(given, FIELDS)
    assert refused.value.errors[0].path == path
    assert message in refused.value.errors[0].message


NESTED = [
    FieldSpec(name="camera.make", type=FieldType.KEYWORD),
    FieldSpec(name="camera.lens.mm", type=FieldType.FLOAT),
    FieldSpec(name="at", type=FieldType.GEO),
    FieldSpec(name="at.lat", type=FieldType.FLOAT),
    FieldSpec(name="Shot On", type=FieldType.DATETIME),
]


def test_nested_values_are_stored_in_their_type() -> None:
    given = {
        "camera": {"make": "Leica", "lens": {"mm": 50, "name": "x"}, "other": [1]},
        "at": {"lat": 1, "lon": 2},
        "Shot On": "2024-05-01 12:30",
    }
    assert checked_metadata(given, NESTED) == {
        "camera": {"make": "Leica", "lens": {"mm": 50.0, "name": "x"}, "other": [1]},
        "at": {"lat": 1.0, "lon": 2.0},
        "Shot On": "2024-05-01T12:30:00Z",
    }
    assert type(checked_metadata(given, NESTED)["camera"]["lens"]["mm"]) is float
    for fine in ({"camera": None}, {"camera": {}}, {"camera": {"lens": None}}):
        assert checked_metadata(fine, NESTED) == fine


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"camera": {"make": 5}}, "metadata.camera.make", "Keyword"),
        ({"camera": {"lens": {"mm": "50"}}}, "metadata.camera.lens.mm", "Float"),
        ({"camera": "Leica"}, "metadata.camera", "camera.make is a key of an object"),
        ({"camera": {"lens": [50]}}, "metadata.camera.lens", "camera.lens.mm is a key"),
        ({"camera.make": "Leica"}, "metadata.camera.make", '{"camera": {"make": …}}'),
        ({"Shot On": "soon"}, "metadata.Shot On", "Datetime"),
    ],
)
def test_a_nested_value_that_does_not_fit_is_refused(
    given: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(Problem) as refused:
        checked_metadata(given, NESTED)
    assert refused.value.errors[0].path == path
    assert message in refused.value.errors[0].message


def test_a_list_may_hold_null() -> None:
    assert checked_metadata({"integer": [1.0, None]}, FIELDS) == {"integer": [1, None]}


def test_what_is_too_much_gives_up_its_longest_values() -> None:
    given = {"other": "x" * 40_000, "more": "y" * 50_000, "keyword": "a"}
    kept, misfits = MetadataChecker(FIELDS).fitting(given)
    assert kept.keys() == {"other", "keyword"}
    assert [each.key for each in misfits] == ["more"]


def test_every_wrong_key_is_reported() -> None:
    with pytest.raises(Problem) as refused:
        checked_metadata({"integer": "x", "bool": 1, "keyword": "fine"}, FIELDS)
    assert [wrong.path for wrong in refused.value.errors] == ["metadata.integer", "metadata.bool"]


def test_deep_nesting_is_refused() -> None:
    value: Any = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(Problem, match="nested deeper"):
        checked_metadata({"other": value}, ())
