"""Missing rows, values that do not fit, rows that name no file: who comes in, what is told."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lookalike_crds.config import FetchPolicy
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.progress import ByCause, total_of
from lookalike_crds.sources import MetadataMapping, SourceSpec
from lookalike_serving.documents.metadata import checked_metadata
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.ingest.sources import Entry, Item, LeftOut, Rejected, open_source
from lookalike_serving.ingest.sources.cells import Reading
from lookalike_serving.ingest.sources.rows import RowReader

FIELDS = (
    FieldSpec(name="status", type=FieldType.KEYWORD),
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="place", type=FieldType.GEO),
    FieldSpec(name="camera.iso", type=FieldType.INTEGER),
    FieldSpec(name="Shot On", type=FieldType.DATETIME),
)


def listed(folder: Path, table: str, name: str = "m.csv", **spec: Any) -> list[Entry]:
    """What a folder's source lists, with `table` as its metadata file."""
    (folder / name).write_text(table)
    mapping = {"file": name, **spec.pop("metadata", {})}
    volume = {"path": str(folder), **spec}
    source_spec = SourceSpec.model_validate({"name": "s", "volume": volume, "metadata": mapping})

    async def gather(scratch: Path) -> list[Entry]:
        fetcher = ImageFetcher(FetchPolicy(), ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        source = open_source(source_spec, FIELDS, scratch, for_sources(fetcher))
        try:
            return [entry async for entry in source.list()]
        finally:
            await fetcher.close()

    with tempfile.TemporaryDirectory() as scratch:
        return asyncio.run(gather(Path(scratch)))


def items(entries: list[Entry]) -> dict[str, dict[str, Any]]:
    return {each.key: each.metadata for each in entries if isinstance(each, Item)}


def warnings(entries: list[Entry]) -> list[str]:
    return [each.told() for each in entries if isinstance(each, ByCause)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_by_default_every_image_comes_in_and_what_it_lacks_is_told(folder: Path) -> None:
    found = listed(folder, 'file,price,status\na.jpg,cheap,new\nb.jpg,,"[""x"", ""y""]"\n')
    assert items(found) == {
        "a.jpg": {"status": "new"},
        "b.jpg": {"price": None, "status": ["x", "y"]},
        "c.jpg": {},
    }
    cautions = {each.key: each.cautions for each in found if isinstance(each, Item)}
    (bad,) = cautions["a.jpg"]
    assert "'price'" in bad.cause
    assert "Float" in bad.cause
    assert "cheap" not in bad.cause
    assert bad.value == '"cheap"'
    (missing,) = cautions["c.jpg"]
    assert "m.csv has no row" in missing.cause
    assert not cautions["b.jpg"]


@pytest.mark.parametrize(("policy", "kind"), [("Fail", Rejected), ("Skip", LeftOut)])
def test_what_lacks_something_can_fail_or_be_left_out(
    folder: Path, policy: str, kind: type[Rejected] | type[LeftOut]
) -> None:
    """In both cases it is still there: a document from before is not missing."""
    table = "file,price\na.jpg,cheap\nb.jpg,1\n"
    found = listed(folder, table, metadata={"onBadValue": policy})
    assert items(found) == {"b.jpg": {"price": 1.0}, "c.jpg": {}}
    assert [each.uri for each in found if isinstance(each, kind)] == [(folder / "a.jpg").as_uri()]
    found = listed(folder, table, metadata={"onMissingRow": policy})
    assert items(found) == {"a.jpg": {}, "b.jpg": {"price": 1.0}}
    assert [each.uri for each in found if isinstance(each, kind)] == [(folder / "c.jpg").as_uri()]


@pytest.mark.parametrize("policy", ["Warn", "Fail", "Skip"])
def test_an_id_cannot_be_left_out(folder: Path, policy: str) -> None:
    mapping = {"documentId": "id", "onBadValue": policy, "onMissingRow": policy}
    found = listed(folder, 'file,id\na.jpg,\nb.jpg,"x\ty"\n', metadata=mapping)
    assert not items(found)
    causes = {each.key: each.cause for each in found if isinstance(each, Rejected)}
    assert "document id, is empty" in causes["a.jpg"]
    assert "control character" in causes["b.jpg"]
    assert ("c.jpg" in causes) == (policy != "Skip")


def test_a_constant_is_kept_by_an_image_without_a_row(folder: Path) -> None:
    found = listed(
        folder,
        "file,price\na.jpg,1\n",
        metadata={"constants": {"status": "new", "camera.make": "X", "price": "high"}},
    )
    assert items(found)["b.jpg"] == {"status": "new", "camera": {"make": "X"}}


def test_a_row_that_cannot_be_read_is_told_and_its_image_comes_in(folder: Path) -> None:
    found = listed(folder, '{"file": "a.jpg", "price": 1}\n{oops\n', "m.jsonl")
    assert items(found) == {"a.jpg": {"price": 1.0}, "b.jpg": {}, "c.jpg": {}}
    (told,) = warnings(found)
    assert told.startswith("1 row: is not JSON")
    assert "m.jsonl line 2" in told


def test_rows_without_a_file_are_counted_with_an_example(folder: Path) -> None:
    table = "file,price\na.jpg,1\n" + "".join(f"gone-{i}.jpg,2\n" for i in range(1200))
    (told,) = warnings(listed(folder, table))
    assert told.startswith("1,200 rows: no file of the folder has the name that m.csv says")
    assert "(such as gone-0.jpg)" in told


def test_a_row_of_a_file_that_is_no_image_or_not_in_the_glob_names_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")
    (folder / "sub").mkdir()
    (folder / "sub" / "d.jpg").write_bytes(b"x")
    table = "file,price\na.jpg,1\nb.jpg,1\nc.jpg,1\nnotes.txt,2\nsub/d.jpg,1\nm.csv,1\nz.jpg,1\n"
    found = listed(folder, table, glob="*.jpg")
    assert set(items(found)) == {"a.jpg", "b.jpg", "c.jpg"}
    (told,) = warnings(found)
    assert told.startswith("2 rows")  # the metadata file itself is no image of the folder
    assert "(such as m.csv)" in told


REMEDIES = [
    ("A.JPG", "a.jpg", "capital letters"),
    ("images/a.jpg", "a.jpg", "leading folder"),
    ("/data/set/a.jpg", "a.jpg", "leading folder"),
    ("a.jpg", "sub/a.jpg", "write the folder in front"),
    ("a", "a.jpg", "the suffix"),
    ("sub/a.png", "sub/a.jpg", "the suffix"),
]


@pytest.mark.parametrize(("row", "file", "told"), REMEDIES)
def test_rows_that_nearly_name_a_file_come_with_the_remedy(
    tmp_path: Path, row: str, file: str, told: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"x")
    (warning,) = warnings(listed(tmp_path, f"file,price\n{row},1\n"))
    assert told in warning
    assert repr(row) in warning
    assert repr(file) in warning


@pytest.mark.parametrize("row", ["./sub/é.jpg", r"sub\é.jpg", "sub//é.jpg", " sub/x/../é.jpg "])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_spellings_of_one_path_meet(tmp_path: Path, row: str, form: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / unicodedata.normalize("NFC", "é.jpg")).write_bytes(b"x")
    found = listed(tmp_path, f"file,price\n{unicodedata.normalize(form, row)},1\n")  # type: ignore[arg-type]
    assert list(items(found).values()) == [{"price": 1.0}]
    assert not warnings(found)


def test_two_rows_of_one_file_are_told(folder: Path) -> None:
    found = listed(folder, "file,price\na.jpg,1\n./a.jpg,2\n")
    assert items(found)["a.jpg"] == {"price": 1.0}
    (told,) = warnings(found)
    assert "an earlier row" in told
    assert "row 2: ./a.jpg" in told


def test_nested_keys_places_and_dates_come_from_columns(folder: Path) -> None:
    table = (
        "file;camera.make;camera.iso;Shot On;Breite;lng\n"
        "a.jpg;Leica;4.0;01.05.2024;52,5;13,4\n"
        "b.jpg;;;31.02.2024;91;0\n"
    )
    mapping = {"geo": {"place": {"lat": "Breite", "lon": "lng"}}, "dateFormat": ["%d.%m.%Y"]}
    found = listed(folder, table, metadata=mapping)
    assert items(found)["a.jpg"] == {
        "camera": {"make": "Leica", "iso": 4},
        "Shot On": "2024-05-01",
        "place": {"lat": 52.5, "lon": 13.4},
    }
    assert items(found)["b.jpg"] == {"camera": {"make": "", "iso": None}}
    (b,) = [each for each in found if isinstance(each, Item) and each.key == "b.jpg"]
    assert [each.cause.partition(",")[0] for each in b.cautions] == [
        "without 'Shot On'",
        "without 'place'",
    ]


def test_objects_of_json_lines_match_nested_fields_and_columns(folder: Path) -> None:
    lines = [
        {"file": "a.jpg", "camera": {"make": "X", "iso": "100"}, "exif": {"taken": "2024-05-01"}},
        {"file": "b.jpg", "camera": {"make": "X", "iso": "high"}},
        {"file": "c.jpg", "camera": "X"},
    ]
    table = "\n".join(map(json.dumps, lines))
    columns = {"Shot On": "exif.taken", "camera": "camera"}
    found = listed(folder, table, "m.jsonl", metadata={"columns": columns})
    assert items(found) == {
        "a.jpg": {"camera": {"make": "X", "iso": 100}, "Shot On": "2024-05-01"},
        "b.jpg": {"camera": {"make": "X"}},
        "c.jpg": {},
    }
    assert not warnings(found)


def test_a_column_that_no_row_has_is_told(folder: Path) -> None:
    lines = '{"file": "a.jpg", "cost": 1}\n{"file": "b.jpg"}\n'
    mapping = {"columns": {"price": "cost", "status": "state"}}
    found = listed(folder, lines, "m.jsonl", metadata=mapping)
    assert items(found)["a.jpg"] == {"price": 1.0}
    (told,) = warnings(found)
    assert "'state'" in told


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
NAMES = st.sampled_from([*(field.name for field in FIELDS), "camera", "place.lat", "a.b"])


@given(
    row=st.dictionaries(NAMES | st.text(max_size=9), ANY, max_size=8),
    all_text=st.booleans(),
)
def test_no_value_fails_an_image_where_warnings_are_asked_for(
    row: dict[str, Any], all_text: bool
) -> None:
    """And what comes in is what an upload might say, each value that is missing told."""
    reader = RowReader(MetadataMapping(), FIELDS, "file", Reading(all_text=all_text))
    described = reader.read({**row, "file": "a.jpg"}, "a.jpg")
    assert checked_metadata(described.metadata, FIELDS) == described.metadata
    for each in described.cautions:
        each.cause.encode(errors="surrogatepass")


@pytest.mark.parametrize(
    "mapping",
    [
        {"dateFormat": ["dd.mm.yyyy"]},
        {"geo": {"place": {"lat": "x"}}, "columns": {"place": "y"}},
        {"onBadValue": "warn"},
        {"columns": {"a..b": "x"}},
        {"constants": {"_mine": "x"}},
        {"columns": {"price ": "x"}},
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(mapping: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MetadataMapping.model_validate(mapping)


def test_a_run_tells_each_thing_once_however_it_is_shared_out(place: Any, paint: Any) -> None:
    """And an image that is left out or lost its row is still there: nothing is deleted."""
    for name in "abcd":
        paint(place.images / f"{name}.png", ord(name))
    (place.images / "notes.pdf").write_bytes(b"%PDF")
    file = place.images / "m.csv"
    source = {
        "name": "disk",
        "volume": {"path": str(place.images)},
        "metadata": {"file": "m.csv", "onBadValue": "Skip"},
        "deleteMissing": True,
    }
    file.write_text("file,stock\n" + "".join(f"{n}.png,1\n" for n in "abcd"))
    assert place.ingest(source).total.new == 4

    file.write_text("file,stock\na.png,many\nb.png,2\ngone.png,3\n")
    ends = []
    for index in range(2):
        config = place.config(source)
        with ProgressWriter(config.progress_file, place.collection.name) as writer:
            asyncio.run(run(config, writer, Partition(index, 2)))
        ends.append(place.progress())
    total = total_of(each.total for each in ends)
    assert (total.deleted, total.failed, total.skipped, total.updated) == (0, 0, 2, 3)
    counted: Counter[str] = Counter()
    for end in ends:
        for each in (*end.warnings, *end.skipped):
            counted[each.cause.partition(":")[0]] += each.count
    assert counted == {
        "left out, as metadata.onBadValue says": 1,
        ".pdf is no name of an image": 1,
        "m.csv has no row for it": 2,
        "no file of the folder has the name that m.csv says": 1,
    }
    documents = place.documents()
    assert documents["a.png"]["metadata"] == {"stock": 1}, "left as it was"
    assert documents["c.png"]["metadata"] == {}

    for name in "abcd":
        (place.images / f"{name}.png").rename(place.folder / f"{name}.png")
    progress = place.ingest(source)
    assert progress.total.deleted == 0, "a table without a picture is an empty source"
    assert "nothing was deleted" in (progress.message or "")
    for name in "abcd":
        (place.folder / f"{name}.png").rename(place.images / f"{name}.png")

    file.write_text("file,stock\na.png,5\nb.png,2\nc.png,3\nd.png,4\n")
    progress = place.ingest(source)
    assert (progress.total.updated, progress.warnings) == (3, [])
    assert place.documents()["a.png"]["metadata"] == {"stock": 5}
