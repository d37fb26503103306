"""What `init` sees in a folder: its pictures, and the table that describes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lookalike_serving.starting.folder import (
    Described,
    NearMiss,
    description_of,
    pictures_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names alone matter here: nothing is decoded."""
    folder = tmp_path / "Fotos"
    for name in ("a.jpg", "b.JPEG", "Ünïcode name.png", "deep/down/c.tif", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def described(folder: Path) -> Described | NearMiss | None:
    return description_of(folder, pictures_of(folder))


def test_pictures_are_counted_by_format_and_the_rest_as_skipped(folder: Path) -> None:
    found = pictures_of(folder)
    assert found.formats == {"JPEG": 2, "PNG": 1, "TIFF": 1}
    assert (len(found.keys), found.skipped.total, found.whole) == (4, 1, True)


def test_of_several_tables_the_one_with_most_rows_of_pictures_is_chosen(folder: Path) -> None:
    (folder / "one.csv").write_text("file,x\na.jpg,1\n")
    (folder.parent / "beside.csv").write_text("id,Bild,x\n7,a.jpg,1\n8,./deep/down/c.tif,2\n")
    (folder / "other.csv").write_text("what,ever\n1,2\n")
    found = described(folder)
    assert isinstance(found, Described)
    assert (found.file, found.key_column, found.matched) == ("../beside.csv", "Bild", 2)
    assert found.id_column is None, "two pictures have no row, and would have no id"


def test_what_excel_writes_is_read(folder: Path) -> None:
    text = "Datei;Preis;Titel\r\na.jpg;12,50;Rot\r\nu\u0308.png;1,00;x\r\n"
    (folder / "ü.png").touch()
    (folder / "Liste.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = described(folder)
    assert isinstance(found, Described)
    assert (found.key_column, found.matched) == ("Datei", 2)
    assert {name: guess.type for name, guess in found.fields.items()} == {
        "Preis": "Float",
        "Titel": "Keyword",
    }


def test_a_unique_column_with_an_ids_name_is_the_id_if_every_picture_has_one(folder: Path) -> None:
    names = ("a.jpg", "b.JPEG", "Ünïcode name.png", "deep/down/c.tif")
    rows = "".join(f"{name},S-{i}\n" for i, name in enumerate(names))
    (folder / "rows.csv").write_text("file,sku\n" + rows)
    found = described(folder)
    assert isinstance(found, Described)
    assert found.id_column == "sku"
    (folder / "rows.csv").write_text("file,sku\n" + rows.replace("S-1", "S-0"))
    found = described(folder)
    assert isinstance(found, Described)
    assert found.id_column is None


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("C:\\Users\\me\\a.jpg", "other folders before them"),
        ("/mnt/disk/c.tif", "other folders before them"),
        ("b", "lack their endings"),
    ],
)
def test_names_that_nearly_fit_are_told_and_not_taken(folder: Path, row: str, why: str) -> None:
    (folder / "rows.csv").write_text(f"picture,x\n{row},1\n")
    found = described(folder)
    assert isinstance(found, NearMiss)
    assert (found.column, found.matched) == ("picture", 1)
    assert why in found.why


def test_rubbish_beside_the_pictures_is_no_table(folder: Path) -> None:
    (folder / "rubbish.parquet").write_bytes(os.urandom(500))
    (folder / "empty.csv").touch()
    (folder / "more.jsonl").write_bytes(b"\xff\xfe{{{")
    assert described(folder) is None
