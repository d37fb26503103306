"""What the text of a cell says, by the type of its field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.date_formats import checked_format
from lookalike_crds.image_collection import FieldType
from lookalike_serving.documents.metadata import fits
from lookalike_serving.ingest.sources.cells import Reading, place_of, value_of

CSV = Reading(all_text=True)
GERMAN = Reading(all_text=True, decimal_comma=True)


def stated(*formats: str) -> Reading:
    return Reading(all_text=True, date_formats=formats)


READ = [
    ("4.0", "Integer", CSV, 4.0),
    ("4", "Integer", CSV, 4),
    ("9007199254740993.0", "Integer", CSV, "9007199254740993.0"),
    ("12,50", "Float", GERMAN, 12.5),
    ("1.234,50", "Float", GERMAN, 1234.5),
    ("-0,5", "Float", GERMAN, -0.5),
    ("1,234", "Float", GERMAN, 1.234),
    ("12.5", "Float", GERMAN, 12.5),
    ("1.234", "Float", GERMAN, "1.234"),
    ("1.234.567", "Integer", GERMAN, "1.234.567"),
    ("1.234", "Float", CSV, 1.234),
    ("12,50", "Float", CSV, "12,50"),
    ("1,234", "Integer", CSV, "1,234"),
    ("TRUE", "Bool", CSV, True),
    ("f", "Bool", CSV, False),
    ("1.0", "Bool", CSV, True),
    ("No", "Bool", CSV, False),
    ("2", "Bool", CSV, "2"),
    *((text, "Float", CSV, None) for text in (r"\N", "NULL", "NaN", "nan", "None", "N/A", " ")),
    ("NULL", "Keyword", CSV, "NULL"),
    ("", "Keyword", CSV, ""),
    ('["a", "b"]', "Keyword", CSV, ["a", "b"]),
    ("['a', 'b']", "Keyword", CSV, ["a", "b"]),
    ("[1, 2]", "Keyword", CSV, "[1, 2]"),
    ('["a"', "Keyword", CSV, '["a"'),
    ("[]", "Keyword", CSV, []),
    ("[1, 2.0]", "Integer", CSV, [1, 2.0]),
    ('["1", null]', "Integer", CSV, [1, None]),
    ('{"a": [1]}', None, CSV, {"a": [1]}),
    ("[1]", None, CSV, [1]),
    ("12", None, CSV, "12"),
    ("[", None, CSV, "["),
    ("[1]", None, Reading(), "[1]"),
    ('["a"]', "Keyword", Reading(), '["a"]'),
    ('{"lat": 52.5, "lon": 13}', "Geo", CSV, {"lat": 52.5, "lon": 13}),
    ({"latitude": 52.5, "lng": "13"}, "Geo", Reading(), {"lat": 52.5, "lon": 13.0}),
    ("52.5, 13.4", "Geo", CSV, {"lat": 52.5, "lon": 13.4}),
    ("(52.5 -13.4)", "Geo", CSV, {"lat": 52.5, "lon": -13.4}),
    ("{}", "Geo", CSV, None),
    (" 2024-05-01 12:30:00 ", "Datetime", CSV, "2024-05-01 12:30:00"),
    ("01.05.2024", "Datetime", CSV, "01.05.2024"),
    ("01.05.2024", "Datetime", stated("%d.%m.%Y"), "2024-05-01"),
    ("01/05/2024 12:30", "Datetime", stated("%d/%m/%Y %H:%M"), "2024-05-01T12:30:00Z"),
    ("2024-05-01T14:00+0200", "Datetime", stated("%Y-%m-%dT%H:%M%z"), "2024-05-01T12:00:00Z"),
    ("2024-05-01", "Datetime", stated("%d.%m.%Y"), "2024-05-01"),
    ("1714566600", "Datetime", CSV, "1714566600"),
    ("1714566600", "Datetime", stated("EpochSeconds"), "2024-05-01T12:30:00Z"),
    (1714566600000, "Datetime", stated("EpochMilliseconds"), "2024-05-01T12:30:00Z"),
    ("1e300", "Datetime", stated("EpochSeconds"), "1e300"),
]


@pytest.mark.parametrize(("cell", "kind", "reading", "value"), READ)
def test_a_cell_is_read_as_its_field(
    cell: Any, kind: str | None, reading: Reading, value: Any
) -> None:
    read = value_of(cell, None if kind is None else FieldType(kind), reading)
    assert (read, type(read)) == (value, type(value))


def test_two_columns_make_a_place() -> None:
    assert place_of("52,5", "13,4", GERMAN) == {"lat": 52.5, "lon": 13.4}
    assert place_of("", r"\N", CSV) is None
    assert not fits(place_of("52.5", "", CSV), FieldType.GEO)


@given(
    cell=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    ),
    kind=st.sampled_from([None, *FieldType]),
    reading=st.sampled_from([CSV, GERMAN, Reading(), stated("EpochSeconds", "%d.%m.%y")]),
)
def test_reading_never_raises(cell: Any, kind: FieldType | None, reading: Reading) -> None:
    value_of(cell, kind, reading)


@given(st.text("[]{}()'\"0123456789.,;:-+eE \\", max_size=20), st.sampled_from([*FieldType]))
def test_no_text_of_signs_and_digits_raises(text: str, kind: FieldType) -> None:
    for reading in (CSV, GERMAN, stated("%Y")):
        value_of(text, kind, reading)


VALUES = {
    FieldType.INTEGER: st.integers(-(2**63), 2**63 - 1),
    FieldType.FLOAT: st.floats(allow_nan=False, allow_infinity=False),
    FieldType.BOOL: st.booleans(),
    FieldType.DATETIME: st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    FieldType.GEO: st.fixed_dictionaries({"lat": st.floats(-90, 90), "lon": st.floats(-180, 180)}),
}


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_what_json_writes_is_read_back(kind: FieldType, data: st.DataObject) -> None:
    value = data.draw(VALUES[kind])
    text = value if isinstance(value, str) else json.dumps(value)
    assert value_of(text, kind, CSV) == value
    assert value_of(json.dumps([value]), kind, CSV) == [value]
    assert fits(value, kind)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_decimal_comma_says_the_same_as_a_point(number: float) -> None:
    text = f"{number:.2f}"
    assert value_of(text.replace(".", ","), FieldType.FLOAT, GERMAN) == float(text)


@given(st.datetimes(min_value=datetime(1000, 1, 1)))
def test_a_stated_format_reads_what_it_wrote(moment: datetime) -> None:
    for form in ("%d.%m.%Y %H:%M:%S.%f", "%m/%d/%Y %I:%M:%S.%f %p", "%Y%m%dT%H%M%S%f"):
        read = value_of(moment.strftime(form), FieldType.DATETIME, stated(form))
        assert datetime.fromisoformat(read) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dd.mm.yyyy", "%d.%m.%Y"),
        ("%d.%m", "whole date"),
        ("%Y-%m", "whole date"),
        ("%c", "%c"),
        ("%d.%m.%Y %", "not known"),
        ("%d/%m/%Y %I:%M", "%p"),
        ("%Y-%m-%d %Y", "cannot be read"),
        ("", "no date format"),
    ],
)
def test_a_format_that_could_not_be_read_is_told_beforehand(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        checked_format(text)


@pytest.mark.parametrize(
    "text", ["%d.%m.%Y", "%d/%m/%Y %H:%M", "%b %d, %Y", "%Y%j", "EpochSeconds", "%y%m%d"]
)
def test_usual_formats_are_taken(text: str) -> None:
    assert checked_format(text) == text
