"""The types that columns seem to have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.image_collection import FieldType
from lookalike_serving.documents.metadata import fits
from lookalike_serving.ingest.sources.cells import Reading, value_of
from lookalike_serving.ingest.sources.guess import guess, guess_columns, guess_place

CSV = Reading(all_text=True)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "0", "NULL"], "Integer"),
        (["4.0", "5"], "Integer"),
        (["TRUE", "false", ""], "Bool"),
        (["1.5", "2"], "Float"),
        (["12,50"], "Keyword"),
        (["0012", "0100"], "Keyword"),
        (["2024-05-01 12:30:00", "2024-05-02"], "Datetime"),
        (["52.5,13.4"], "Geo"),
        (["cup", "red mug"], "Keyword"),
        (["a picture of the harbour, taken from the other side"], "Text"),
        (['["a", "b"]', "[]"], "Keyword"),
        (["", None, []], None),
        ([[{"a": 1}]], None),
        ([True], "Bool"),
        ([{"lat": 1, "lon": 2}], "Geo"),
    ],
)
def test_a_column_is_guessed_by_all_its_values(values: list[Any], kind: str | None) -> None:
    assert guess(values, CSV).type == kind


def test_dates_are_guessed_with_their_format() -> None:
    assert guess(["01.02.2024", "30.12.2024"], CSV).date_format == "%d.%m.%Y"
    assert guess(["12/30/2024"], CSV).date_format == "%m/%d/%Y"
    both = guess(["05/06/2024"], CSV)
    assert (both.date_format, both.or_date_format) == ("%d/%m/%Y", "%m/%d/%Y")


def test_objects_are_guessed_by_their_keys() -> None:
    row = {"camera": {"make": "Leica", "iso": 100}, "at": {"lat": 1.0, "lon": 2.0}}
    types = {name: each.type for name, each in guess_columns([row], Reading()).items()}
    assert types == {"camera.make": "Keyword", "camera.iso": "Integer", "at": "Geo"}


def test_columns_of_a_place_are_found() -> None:
    assert guess_place(["file", "Latitude", "lng"]) == ("Latitude", "lng")
    assert guess_place(["file", "lat"]) is None


@given(st.lists(st.text(max_size=12) | st.integers().map(str) | st.floats().map(str), max_size=5))
def test_what_is_guessed_fits(values: list[str]) -> None:
    found = guess(values, CSV)
    dated = () if found.date_format is None else (found.date_format,)
    for value in values:
        if found.type in (None, FieldType.KEYWORD, FieldType.TEXT):
            continue
        read = value_of(value, found.type, Reading(all_text=True, date_formats=dated))
        assert read is None or fits(read, found.type)


@pytest.mark.parametrize(
    ("values", "almost"),
    [
        (["1", "2", "x"], ("Integer", 1)),
        (["1", "x"], None),
        (["1", "2", "x", "y"], None),
        (["1.5"] * 30 + ["x", "y", "z"], ("Float", 3)),
        (["2024-05-01", "2024-05-02", "soon"], ("Datetime", 1)),
        (["cup", "mug", "42"], None),
    ],
)
def test_a_type_that_nearly_all_values_fit_is_told(values: list[str], almost: Any) -> None:
    found = guess(values, CSV)
    assert found.type == "Keyword"
    assert (None if found.almost is None else (found.almost.type, found.almost.misfits)) == almost
