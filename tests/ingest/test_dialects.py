"""Tables as spreadsheets, pandas and databases write them: separators, encodings, headers."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lookalike_serving.ingest.sources.dialects import dialect_of
from lookalike_serving.ingest.sources.protocol import SourceError
from lookalike_serving.ingest.sources.tables import Row, Table, Unreadable, rows

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)


def read(folder: Path, content: bytes, name: str = "t.csv") -> tuple[list[Row], list[str]]:
    path = folder / name
    path.write_bytes(content)
    table = Table(path, "Csv", text_column="file")
    return list(table), table.notes


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_separator_and_encoding_are_found(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = [["file", "Maß", "note"], ["ä.jpg", "12", "a;b,c\td|e"], ["b.jpg", "", "Grüße"]]
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows(lines)
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    content = marks.get(encoding, b"") + out.getvalue().encode(encoding)
    found, notes = read(tmp_path, content)
    assert [list(row) for row in found] == [lines[0]] * 2
    assert [list(row.values()) for row in found if isinstance(row, dict)] == lines[1:]
    assert [note for note in notes if "Windows-1252" in note] == notes
    assert bool(notes) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (b"sep=;\r\nfile;a,b,c,d\r\na.jpg;1,2,3,4\r\n", ";"),
        (b"a,b,c;file;d,e,f\n1,2,3;a.jpg;4,5,6\n", ";"),  # the header's known name decides
        (b"name;price,eur\na;1\nb;2\n", ";"),  # without it, as many cells as the header
        (b"file\na|b\nc|d\n", ","),
        (b"file|note\na|b\n", "|"),
        (b"", ","),
        (b'"', ","),
        (b"\xef\xbb\xbffile\tprice\n", "\t"),
    ],
)
def test_the_header_tells_the_separator(tmp_path: Path, content: bytes, separator: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert dialect_of(path, "file").separator == separator


@pytest.mark.parametrize(
    ("content", "comma"),
    [
        ("file;price\na;12,50\n", True),
        ("file\tprice\na\t12,50\n", True),
        ("file;price\na;1.234,5\n", False),  # no evidence of its own, and read as text
        ("file;price\na;1,234\n", False),
        ("file;price\na;12.50\n", False),
        ('file,price\na,"12,50"\n', False),
    ],
)
def test_decimal_commas_are_found(tmp_path: Path, content: str, comma: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert dialect_of(path, "file").decimal_comma is comma


def test_a_few_damaged_bytes_do_not_make_a_file_another_encoding(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "file,n\nä.jpg,ü\n".encode() + b"b\xe9.jpg,1\n")
    assert found[0] == {"file": "ä.jpg", "n": "ü"}
    assert isinstance(found[1], Unreadable)
    assert "not UTF-8" in found[1].cause
    assert not notes


def test_headers_of_spreadsheets_and_pandas_are_read_and_told(tmp_path: Path) -> None:
    found, notes = read(tmp_path, b",file, price ,price,\n0,a.jpg,1,2,\n1,b.jpg,,,\n")
    assert found == [{"file": "a.jpg", "price": "1"}, {"file": "b.jpg", "price": ""}]
    assert len(notes) == 2
    assert "several columns 'price'" in notes[0]
    assert "column 1" in notes[1]


def test_separators_at_the_end_of_lines_are_nothing(tmp_path: Path) -> None:
    found, notes = read(tmp_path, b"file;n;;\na.jpg;1;;\nb.jpg;2\nc.jpg;3;;;;\n\n;;;\n")
    assert [row["file"] for row in found if isinstance(row, dict)] == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
        "",
    ]
    assert not notes


def test_a_row_with_too_many_cells_is_told_with_the_remedy(tmp_path: Path) -> None:
    found, _ = read(tmp_path, b"file;n\na.jpg;1;2\nb.jpg;1\n")
    assert isinstance(found[0], Unreadable)
    assert "3 cells, the header has 2" in found[0].cause
    assert "';' in quotes" in found[0].cause
    assert found[1] == {"file": "b.jpg", "n": "1"}


@FILES
@given(
    table=st.lists(st.lists(st.text(max_size=6), min_size=2, max_size=2), max_size=5),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
)
def test_what_a_writer_of_any_dialect_wrote_is_read_back(
    tmp_path: Path, table: list[list[str]], separator: str, encoding: str
) -> None:
    table = [[cell.encode(errors="replace").decode() for cell in row] for row in table]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([["file", "note"], *table])
    found, _ = read(tmp_path, out.getvalue().encode(encoding))
    assert [list(row.values()) for row in found if isinstance(row, dict)] == table


@FILES
@given(content=st.binary(max_size=300))
@example(b"sep=,\r\n")
@example(b"\xff\xfe\x00")
@example(b"\xff\xfe\x00\xd8\x0a\x00")
@example(b'file,a\n"x')
@example(b"\x81\x8d\n")
def test_any_bytes_are_rows_or_causes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    try:
        for row in rows(path, "Csv", text_column="file"):
            told: Any = row.cause if isinstance(row, Unreadable) else row
            repr(told).encode()
    except SourceError as error:
        assert "header" in str(error)  # noqa: PT017 - any other way to raise fails
