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


def test_a_few_odd_values_are_told_with_the_type_that_they_prevent(tmp_path: Path) -> None:
    rows = ["a.jpg;12,50;01.02.2020", "b.jpg;n. a.;02.02.2020", "c.jpg;3;unknown", "d.jpg;4,5;"]
    rows.append("e.jpg;5;25.12.2020")
    text = written(tmp_path, "\n".join(["file;price;taken", *rows]))
    assert "name: price, type: Keyword }" in text
    assert "1 of 5 values does not read as Float (such as 'n. a.')" in text
    assert "write type Datetime and dateFormat '%d.%m.%Y'" in text
    (tmp_path / "x.yaml").write_text(text)
    assert not load_files([tmp_path / "x.yaml"], standalone=True).errors
