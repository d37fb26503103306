"""What the first YAML says of dates and places."""

from __future__ import annotations

from pathlib import Path

from lookalike_crds.load import load_files
from lookalike_serving.starting.document import Proposal, fields_of, yaml_of
from lookalike_serving.starting.folder import Described, description_of, pictures_of
from lookalike_serving.starting.model import LITE


def written(folder: Path, table: str) -> str:
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").touch()
    (folder / "photos" / "rows.csv").write_text(table)
    pictures = pictures_of(folder / "photos")
    described = description_of(folder / "photos", pictures)
    assert isinstance(described, Described)
    fields = fields_of(described)
    proposal = Proposal("photos", "./photos", pictures, described, LITE, fields)
    return yaml_of(proposal, "lookalike up")


def test_dates_in_another_form_have_their_format_stated(tmp_path: Path) -> None:
    text = written(tmp_path, "file,taken\na.jpg,24.12.2025\n")
    assert 'dateFormat: ["%d.%m.%Y"]' in text
    (tmp_path / "x.yaml").write_text(text)
    loaded = load_files([tmp_path / "x.yaml"], standalone=True)
    assert not loaded.errors
    assert loaded.collections[0].spec.sources[0].metadata.date_format == ("%d.%m.%Y",)


def test_a_date_that_may_be_either_is_said_to_be_in_doubt(tmp_path: Path) -> None:
    text = written(tmp_path, "file,taken\na.jpg,05/06/2024\n")
    assert 'dateFormat: ["%d/%m/%Y"]' in text
    assert "or %m/%d/%Y: only you can know" in text


def test_latitude_and_longitude_become_a_place(tmp_path: Path) -> None:
    text = written(tmp_path, "file,Latitude,lng\na.jpg,52.5,13.4\n")
    assert "- { name: place, type: Geo }" in text
    (tmp_path / "x.yaml").write_text(text)
    loaded = load_files([tmp_path / "x.yaml"], standalone=True)
    assert not loaded.errors
    place = loaded.collections[0].spec.sources[0].metadata.geo["place"]
    assert (place.lat, place.lon) == ("Latitude", "lng")
