"""`lookalike init`: a folder of pictures becomes a YAML that says what to run next."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import pytest
from command import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.load import load_files
from lookalike_crds.names import LABEL, SERVICE
from lookalike_serving.ingest.sources import Skipped
from lookalike_serving.ingest.sources.guess import Guess
from lookalike_serving.starting import model
from lookalike_serving.starting.document import Proposal, name_for, yaml_of
from lookalike_serving.starting.folder import Described, Pictures


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_hub_answers", lambda: False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "Fotos vom Sommer"
    folder.mkdir()
    for name in ("a.jpg", "b c.png"):
        Image.new("RGB", (40, 30), "teal").save(folder / name)
    return folder


def test_the_file_is_valid_and_the_next_command_is_told(
    lookalike: Command, photos: Path, tmp_path: Path
) -> None:
    (photos / "rows.csv").write_text("file;price;sku\na.jpg;1,5;A\nb c.png;2;B\n")
    ran = lookalike("init", photos)
    assert ran.code == 0, ran.err
    assert "2 in" in ran.out
    assert "rows.csv: 2 of 2 pictures have a row" in ran.out
    assert "finds similar photographs; knows no words" in ran.out
    assert "fotos-vom-sommer, since 'Fotos vom Sommer' cannot be" in ran.out
    assert re.search(r"next: +lookalike up -f lookalike.yaml", ran.out)
    loaded = load_files([tmp_path / "lookalike.yaml"], standalone=True)
    assert not loaded.problems
    spec = loaded.collections[0].spec
    assert spec.fields == (FieldSpec.model_validate({"name": "price", "type": "Float"}),)
    assert spec.sources[0].volume is not None
    assert spec.sources[0].volume.path == "./Fotos vom Sommer"
    assert spec.sources[0].metadata.document_id == "sku"


def test_a_file_is_never_overwritten_without_force(lookalike: Command, photos: Path) -> None:
    file = photos.parent / "lookalike.yaml"
    file.write_text("mine")
    ran = lookalike("init", photos)
    assert ran.code == 1
    assert "--force" in ran.err
    assert file.read_text() == "mine"
    assert lookalike("init", photos, "--force").code == 0
    assert file.read_text() != "mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "there is no folder nowhere"),
        ("empty", "contains no pictures"),
        ("links", "1 skipped: is a link that leads out of the folder: copy the picture"),
        (b"b\xffd", "not UTF-8"),
        ("file.jpg", "is a file: name the folder"),
    ],
)
def test_what_is_no_folder_of_pictures_is_refused_with_a_remedy(
    lookalike: Command, tmp_path: Path, name: str | bytes, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.jpg").symlink_to(tmp_path / "file.jpg")
    (tmp_path / os.fsdecode(b"b\xffd")).mkdir()
    (tmp_path / "file.jpg").touch()
    ran = lookalike("init", os.fsdecode(name))
    assert ran.code == 1
    assert told in ran.err
    assert not (tmp_path / "lookalike.yaml").exists()


def test_as_json_everything_is_told_that_was_found(lookalike: Command, photos: Path) -> None:
    told = lookalike("init", photos, "-o", "json").json
    assert told["pictures"] == 2
    assert told["formats"] == {"JPEG": 1, "PNG": 1}
    assert told["collection"] == "fotos-vom-sommer"
    assert told["metadata"] is None
    assert told["next"].startswith("lookalike up -f lookalike.yaml")


def test_a_dry_run_tells_what_will_not_come_in_and_ends_with_5(
    lookalike: Command, photos: Path
) -> None:
    assert lookalike("init", photos).code == 0
    ran = lookalike("ingest", "--dry-run", "-f", "lookalike.yaml")
    assert (ran.code, "2 pictures will be ingested" in ran.out) == (0, True), ran.out
    (photos / "bad.jpg").write_bytes(b"no picture")
    ran = lookalike("ingest", "--dry-run", "-f", "lookalike.yaml")
    assert ran.code == 5
    assert "1 picture: " in ran.out
    assert "(such as bad.jpg)" in ran.out
    told = lookalike("ingest", "--dry-run", "-f", "lookalike.yaml", "-o", "json")
    assert told.code == 5
    assert told.json[0]["undecodable"][0]["example"] == "bad.jpg"
    ran = lookalike("validate", "-f", "lookalike.yaml")
    assert ran.code == 0, "the file itself is valid"
    assert "1 found so far that will not be ingested" in ran.out
    assert "lookalike ingest --dry-run -f lookalike.yaml" in ran.out


def test_a_dry_run_of_nothing_that_comes_in_ends_with_1(lookalike: Command, photos: Path) -> None:
    assert lookalike("init", photos).code == 0
    for each in photos.iterdir():
        each.unlink()
    photos.rmdir()
    ran = lookalike("ingest", "--dry-run", "-f", "lookalike.yaml")
    assert ran.code == 1
    assert "is not a folder" in ran.out
    assert lookalike("ingest", "--dry-run").code == 2
    assert lookalike("ingest", "-f", "lookalike.yaml").code == 2


@given(st.text(max_size=300))
def test_any_folders_name_gives_a_name_of_a_resource(folder: str) -> None:
    name = name_for(folder)
    assert re.fullmatch(LABEL.pattern, name)
    assert re.fullmatch(SERVICE.pattern, f"{name}-search")
    assert len(f"{name}-search") <= SERVICE.longest


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)


@settings(deadline=None)
@given(path=texts, file=texts, column=texts)
def test_whatever_the_names_are_the_yaml_says_them(path: str, file: str, column: str) -> None:
    described = Described(file, column, 1, 1, True, column, {"x": Guess(None, 0)})
    pictures = Pictures(frozenset({"a"}), {"JPEG": 1}, Skipped(), True)
    proposal = Proposal("n", path, pictures, described, model.LITE, (("x", "Float"),))
    with tempfile.TemporaryDirectory() as folder:
        yaml = Path(folder) / "x.yaml"
        yaml.write_text(yaml_of(proposal, "lookalike up"), encoding="utf-8")
        loaded = load_files([yaml], standalone=True)
    assert not loaded.errors
    (source,) = loaded.collections[0].spec.sources
    assert source.volume is not None
    assert source.volume.path == path
    assert (source.metadata.file, source.metadata.key_column) == (file, column)
    assert json.dumps(source.metadata.document_id) == json.dumps(column)
