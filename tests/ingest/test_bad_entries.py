"""One bad entry fails alone, with its cause: what lists it goes on to the next one."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import socket
import ssl
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike_crds.config import FetchPolicy
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.progress import RunState
from lookalike_crds.sources import SourceSpec
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.ingest.sources import (
    Item,
    Rejected,
    SourceError,
    open_source,
    parquet,
    tables,
)
from lookalike_serving.ingest.sources.tables import Unreadable, rows

FIELDS = (
    FieldSpec(name="stock", type=FieldType.INTEGER),
    FieldSpec(name="price", type=FieldType.FLOAT),
)


def listed(folder: Path, **spec: Any) -> tuple[dict[str, Item], dict[str, Rejected]]:
    """(items, rejected entries) of a source, by key."""
    source_spec = SourceSpec.model_validate({"name": "s", **spec})

    async def gather() -> list[Item | Rejected]:
        fetcher = ImageFetcher(FetchPolicy(), ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        source = open_source(source_spec, FIELDS, scratch, for_sources(fetcher))
        try:
            return [entry async for entry in source.list()]
        finally:
            await fetcher.close()

    found = asyncio.run(gather())
    (folder / "scratch" / "s.sqlite").unlink(missing_ok=True)
    return (
        {e.key: e for e in found if isinstance(e, Item)},
        {e.key: e for e in found if isinstance(e, Rejected)},
    )


def manifest(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    (folder / name).write_bytes(content)
    return {"urls": {"manifest": str(folder / name)}}


A, B = "https://a.example/a.jpg", "https://a.example/b.jpg"


# --- manifests ----------------------------------------------------------------------------


def line(**row: Any) -> bytes:
    return json.dumps(row).encode()


LINES = {
    "not JSON": (b"{oops", "is not JSON"),
    "cut off": (b'{"url": "htt', "is not JSON"),
    "no object": (b"[1, 2]", "not an object"),
    "not UTF-8": (b'{"url": "caf\xe9"}', "not UTF-8"),
    "nested a hundred thousand deep": (b'{"url": ' + b"[" * 100_000, "is not JSON"),
    "two megabytes long": (line(url=A, note="x" * 2**21), "longer than"),
    "half of a surrogate pair": (b'{"url": "https://a.example/\\ud800.jpg"}', "is not JSON"),
    "not a number": (b'{"url": "https://a.example/n.jpg", "price": NaN}', "is not JSON"),
    "a number of 5,000 digits": (
        b'{"url": "https://a.example/n.jpg", "price": ' + b"9" * 5000 + b"}",
        "",
    ),
    "no address": (line(price=1), "has no 'url'"),
    "an address with a NUL": (line(url="images/a\x00b.jpg"), "NUL"),
    "an id with a tab": (line(url="https://a.example/a\tb.jpg"), "control character"),
    "a file that is a folder": (line(url="."), "folder"),
    "a name of 600 letters": (line(url="x" * 600), "name too long"),
    "metadata of the wrong type": (line(url="https://a.example/c.jpg", price="cheap"), "price"),
}


@pytest.mark.parametrize(("bad", "cause"), LINES.values(), ids=LINES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_bad_line_fails_alone(tmp_path: Path, bad: bytes, cause: str, place: str) -> None:
    lines = [line(url=A), line(url=B)]
    lines.insert(["first", "middle", "last"].index(place), bad)
    source = manifest(tmp_path, "m.jsonl", b"\n".join(lines))
    items, rejected = listed(tmp_path, **source, metadata={"onBadValue": "Fail"})
    assert set(items) == {A, B}
    [entry] = rejected.values()
    assert cause.lower() in entry.cause.lower()


CELLS = {
    "a cell of two megabytes": (b'"' + b"x" * 2**21 + b'"', "longer than"),
    "an open quote": (b'"https://a.example/open.jpg', "never closed"),
    "a byte that is not UTF-8": (b"caf\xe9-caf\xc3\xa9.jpg", "not UTF-8"),
    "too many cells": (b"https://a.example/c.jpg,1,2,3", "4 cells"),
    "no address": (b",1", "has no 'url'"),
    "a NUL": (b"a\x00b.jpg,1", "NUL"),
}


@pytest.mark.parametrize(("bad", "cause"), CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_bad_row_of_csv_fails_alone(tmp_path: Path, bad: bytes, cause: str, place: str) -> None:
    lines = [A.encode() + b",1", B.encode() + b",2"]
    lines.insert(["first", "middle", "last"].index(place), bad)
    content = b"\n".join([b"url,stock", *lines])
    items, rejected = listed(tmp_path, **manifest(tmp_path, "m.csv", content))
    assert set(items) == {A, B}
    [entry] = rejected.values()
    assert cause in entry.cause


def test_a_cell_above_the_standard_librarys_limit_is_read(tmp_path: Path) -> None:
    content = f"url,note\n{A},{'x' * 200_000}\n".encode()
    [row] = rows(_written(tmp_path / "m.csv", content), "Csv", text_column="url")
    assert isinstance(row, dict)
    assert len(row["note"]) == 200_000


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    table=st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=2, max_size=2
        ),
        max_size=6,
    )
)
def test_what_a_csv_writer_wrote_is_read_back(tmp_path: Path, table: list[list[str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([["url", "note"], *table])
    path = _written(tmp_path / "t.csv", out.getvalue().encode())
    read = [list(row.values()) for row in rows(path, "Csv", text_column="url")]
    assert read == table


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(content=st.binary(max_size=200), form=st.sampled_from(["Csv", "JsonLines", "Text"]))
def test_any_bytes_are_rows_or_told(tmp_path: Path, content: bytes, form: str) -> None:
    path = _written(tmp_path / "any", content)
    try:
        for row in rows(path, form, text_column="url"):
            assert isinstance(row, dict | Unreadable)
            json.dumps(row if isinstance(row, dict) else row.cause, ensure_ascii=False).encode()
    except SourceError as error:
        told = str(error)
    else:
        return
    assert "header" in told


def test_a_manifest_has_bounds_and_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    path = _written(tmp_path / "m.txt", b"a\nb\nc\n")
    with pytest.raises(SourceError, match="more than 2 rows"):
        list(rows(path, "Text", text_column="url"))


def test_a_manifest_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.txt")
    with pytest.raises(SourceError, match="pipe"):
        list(rows(tmp_path / "m.txt", "Text", text_column="url"))


def test_entries_that_are_no_files_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "real.jpg").write_bytes(b"x")
    content = b"pipe.jpg\nloop.jpg\nreal.jpg\n"
    items, rejected = listed(tmp_path, **manifest(tmp_path, "m.txt", content))
    assert set(items) == {"real.jpg"}
    assert set(rejected) == {"row 1", "row 2"}


# --- Parquet ------------------------------------------------------------------------------


def test_a_parquet_file_that_unpacks_to_gigabytes_fails_within_bounds(tmp_path: Path) -> None:
    # One value of 2 MiB, referred to by 2,048 rows: 4 GiB from a few kilobytes.
    values = pyarrow.array(["x" * 2**21, A])
    urls = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2048 + [1]), values)
    path = tmp_path / "bomb.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({"url": urls}), path, compression="zstd", dictionary_pagesize_limit=2**26
    )
    assert path.stat().st_size < 100_000
    read = list(rows(path, "Parquet", text_column="url"))
    assert [row for row in read if isinstance(row, dict)] == [{"url": A}]
    assert all("longer than" in row.cause for row in read if isinstance(row, Unreadable))


def test_a_row_group_beyond_memory_is_told_and_the_next_is_read(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(parquet, "MEMORY_BYTES", 64 * 2**20)
    path = tmp_path / "bomb.parquet"
    schema = pyarrow.schema([("url", pyarrow.string()), ("note", pyarrow.large_binary())])
    big = pyarrow.array([bytes(40 * 2**20), bytes(40 * 2**20)], pyarrow.large_binary())
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False
    ) as out:
        out.write_table(pyarrow.table([[A, A], big], schema=schema))
        out.write_table(pyarrow.table([[B], [b"small"]], schema=schema))
    del big
    assert path.stat().st_size < 1_000_000
    read = list(rows(path, "Parquet", text_column="url"))
    assert read[-1] == {"url": B, "note": "small"}
    assert "MiB of memory" in read[0].cause


def test_more_rows_than_a_file_may_have_are_known_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    table = pyarrow.table({"url": pyarrow.nulls(tables.MAX_ROWS + 1, pyarrow.int8())})
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(SourceError, match="20,000,001 rows"):
        next(rows(path, "Parquet", text_column="url"))


def test_parquet_values_become_json(tmp_path: Path) -> None:
    import datetime
    from decimal import Decimal

    row = {
        "url": A,
        "day": datetime.date(2024, 3, 1),
        "at": datetime.datetime(2024, 3, 1, 10, tzinfo=datetime.UTC),
        "price": Decimal("9.50"),
        "tags": ["a", "b"],
        "raw": b"text",
    }
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    assert list(rows(path, "Parquet", text_column="url")) == [
        {**row, "day": "2024-03-01", "at": "2024-03-01T10:00:00Z", "price": 9.5, "raw": "text"}
    ]
    picture = {"url": A, "picture": b"\x89PNG\xff"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([picture]), path)
    [unreadable] = rows(path, "Parquet", text_column="url")
    assert isinstance(unreadable, Unreadable)
    assert list(rows(path, "Parquet", text_column="url", columns={"url"})) == [{"url": A}]


# --- numbers in text ----------------------------------------------------------------------

NUMBERS = {"12": 12, " 12 ": 12, "+5": 5, "-7": -7, "007": 7, "1e5": 100_000, "3.0": 3}
NO_NUMBERS = [
    "1_000",
    "Infinity",
    "-inf",
    "\uff11\uff12",
    "0x10",
    "\u0661\u0662",
    "1,000",
    "1e",
]


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_numbers_are_what_json_and_spreadsheets_write(
    tmp_path: Path, text: str, number: int
) -> None:
    content = f'url,stock,price\n{A},"{text}","{text}"\n'.encode()
    items, _ = listed(tmp_path, **manifest(tmp_path, "m.csv", content))
    assert items[A].metadata == {"stock": number, "price": float(number)}


@pytest.mark.parametrize("text", [*NO_NUMBERS, "1e999"])
@pytest.mark.parametrize("column", ["stock", "price"])
def test_what_only_python_reads_as_a_number_is_text(tmp_path: Path, text: str, column: str) -> None:
    content = f'url,{column},note\n{A},"{text}",\n{B},,"{text}"\n'.encode()
    source = manifest(tmp_path, "m.csv", content)
    items, rejected = listed(tmp_path, **source, metadata={"onBadValue": "Fail"})
    assert items[B].metadata == {column: None, "note": text}, "an empty cell is null"
    assert column in rejected[A].cause


# --- folders ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "good.jpg").write_bytes(b"x")
    return tmp_path / "images"


def test_links_pipes_and_sockets_fail_alone(tmp_path: Path, folder: Path) -> None:
    (folder / "a.jpg").symlink_to("b.jpg")
    (folder / "b.jpg").symlink_to("a.jpg")
    (folder / "nowhere.jpg").symlink_to("none.jpg")
    (folder / "circle").symlink_to(".")
    os.mkfifo(folder / "pipe.jpg")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "s.jpg"))
    items, rejected = listed(tmp_path, volume={"path": str(folder)})
    server.close()
    assert set(items) == {"good.jpg"}
    assert {key: entry.cause for key, entry in rejected.items()} == {
        "a.jpg": "cannot be read: it is a link that leads to itself",
        "b.jpg": "cannot be read: it is a link that leads to itself",
        "nowhere.jpg": "cannot be read: it is a link that leads nowhere, or it was removed "
        "meanwhile",
        "pipe.jpg": "is no file but a pipe, socket or device: leave it out",
        "s.jpg": "is no file but a pipe, socket or device: leave it out",
    }
    assert not any(entry.hides for entry in rejected.values())


def test_names_that_are_no_ids_fail_alone_and_can_be_written_down(
    tmp_path: Path, folder: Path
) -> None:
    names = [b"caf\xe9.jpg", "gpj.\u202e.jpg".encode(), b"a\nb.jpg", b"tab\t.jpg"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(b"x")
    items, rejected = listed(tmp_path, volume={"path": str(folder)})
    assert set(items) == {"good.jpg"}
    assert set(rejected) == {"caf\\udce9.jpg", "gpj.\\u202e.jpg", "a\\nb.jpg", "tab\\t.jpg"}
    for entry in rejected.values():
        assert entry.uri is not None
        entry.key.encode()


def test_a_tree_deeper_than_the_call_stack_is_walked(tmp_path: Path, folder: Path) -> None:
    depth, here = 1200, os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.jpg", os.O_CREAT, dir_fd=here))
    os.close(here)
    try:
        items, _ = listed(tmp_path, volume={"path": str(folder)})
    finally:
        # pytest, which clears away the folders of former runs, fails on such a tree.
        subprocess.run(["rm", "-rf", str(folder / "d")], check=True)
    assert set(items) == {"good.jpg", "d/" * depth + "deep.jpg"} or "good.jpg" in items


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_hides_what_is_in_it(tmp_path: Path, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0)
    items, rejected = listed(tmp_path, volume={"path": str(folder)})
    assert set(items) == {"good.jpg"}
    assert rejected["closed/"].hides


def test_a_path_longer_than_the_system_takes_hides_what_is_in_it(
    tmp_path: Path, folder: Path
) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    items, rejected = listed(tmp_path, volume={"path": str(folder)})
    assert set(items) == {"good.jpg"}
    [entry] = rejected.values()
    assert entry.hides
    assert "name too long" in entry.cause


def test_rows_of_metadata_meet_files_however_they_are_composed(
    tmp_path: Path, folder: Path
) -> None:
    composed, apart = (unicodedata.normalize(form, "Äpfel-é.jpg") for form in ("NFC", "NFD"))
    for name, told in ((composed, apart), (apart, composed)):
        (folder / name).write_bytes(b"x")
        (folder / "m.jsonl").write_bytes(line(file=told, stock=3) + b"\n" + line(file="good.jpg"))
        items, rejected = listed(
            tmp_path, volume={"path": str(folder)}, metadata={"file": "m.jsonl"}
        )
        assert not rejected
        assert items[name].metadata == {"stock": 3}
        assert items[name].document_id == composed
        found, _ = listed(folder, **manifest(folder, "list.txt", told.encode()))
        assert found[told].document_id == composed
        (folder / name).unlink()


def test_a_bad_row_of_metadata_costs_its_own_image_alone(tmp_path: Path, folder: Path) -> None:
    (folder / "lost.jpg").write_bytes(b"x")
    (folder / "m.jsonl").write_bytes(line(file="good.jpg", stock=1) + b"\n{oops\n")
    mapping = {"file": "m.jsonl", "onMissingRow": "Fail"}
    items, rejected = listed(tmp_path, volume={"path": str(folder)}, metadata=mapping)
    assert set(items) == {"good.jpg"}
    assert set(rejected) == {"m.jsonl line 2", "lost.jpg"}


# --- whole runs ---------------------------------------------------------------------------


def test_a_run_goes_on_past_every_bad_entry(place: Any, paint: Any) -> None:
    paint(place.images / "good.png", 1)
    (place.images / "loop.png").symlink_to("loop.png")
    (place.images / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    lines = b"http://xn--/a.jpg\nimages/good.png\ncaf\xe9\nhttp://[::1/x.jpg"
    path = _written(place.folder / "m.txt", lines)
    progress = place.ingest(
        {"name": "disk", "volume": {"path": str(place.images)}},
        {"name": "list", "urls": {"manifest": str(path)}},
    )
    assert progress.state is RunState.COMPLETED_WITH_ERRORS
    assert (progress.total.new, progress.total.failed) == (2, 5)
    assert set(place.documents()) == {"good.png", "images/good.png"}
