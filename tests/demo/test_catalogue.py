from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike_serving.demo.catalogue import assortment, render_catalogue
from lookalike_serving.demo.paths import flatten
from lookalike_serving.demo.products import COLOURS, KINDS, PATTERNS, SHAPES
from lookalike_serving.demo.render import render
from lookalike_serving.index.moments import stored_form


def test_the_world_is_at_least_as_large_as_promised() -> None:
    assert len(KINDS) >= 20
    assert len(COLOURS) >= 12
    assert len(PATTERNS) >= 10


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("catalogue")
    render_catalogue(out, 24, seed=3, workers=1)
    return out


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "catalogue.jsonl").read_text().splitlines()]


def test_every_picture_is_described_and_every_description_has_its_picture(catalogue: Path) -> None:
    described = {str(line["file"]) for line in lines(catalogue)}
    drawn = {f"images/{p.name}" for p in (catalogue / "images").iterdir()}
    assert described == drawn
    assert len(described) == 24


def test_metadata_holds_what_filters_need(catalogue: Path) -> None:
    for line in lines(catalogue):
        assert line["kind"] in KINDS
        assert line["colour"] in COLOURS
        assert line["pattern"] in PATTERNS
        assert line["status"] in {"active", "discontinued"}
        assert isinstance(line["price"], float)
        assert stored_form(str(line["added"])) == line["added"]
        assert line["maker"]
    assert len({line["document_id"] for line in lines(catalogue)}) == 24


def test_pictures_come_as_jpeg_png_and_webp(catalogue: Path) -> None:
    formats = set()
    for path in (catalogue / "images").iterdir():
        with Image.open(path) as image:
            image.load()
            formats.add(image.format)
    assert formats == {"JPEG", "PNG", "WEBP"}


def test_the_same_seed_gives_the_same_bytes(catalogue: Path, tmp_path: Path) -> None:
    render_catalogue(tmp_path, 24, seed=3, workers=2)
    for path in sorted((catalogue / "images").iterdir()):
        assert (tmp_path / "images" / path.name).read_bytes() == path.read_bytes()
    assert lines(tmp_path) == lines(catalogue)


def test_a_smaller_catalogue_is_the_beginning_of_a_larger_one(
    catalogue: Path, tmp_path: Path
) -> None:
    render_catalogue(tmp_path, 5, seed=3)
    assert lines(tmp_path) == lines(catalogue)[:5]


def test_another_catalogue_in_the_same_folder_replaces_pictures_and_nothing_else(
    tmp_path: Path,
) -> None:
    render_catalogue(tmp_path, 5, seed=3)
    mine = tmp_path / "images" / "holiday.jpg"
    mine.write_bytes(b"mine")
    render_catalogue(tmp_path, 3, seed=4)
    assert mine.exists()
    assert len(list((tmp_path / "images").iterdir())) == 4


def test_a_catalogue_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        render_catalogue(tmp_path, 0, seed=1)


@pytest.mark.parametrize("seed", [1, 7, 99])
def test_what_the_examples_ask_for_is_always_sold(seed: int) -> None:
    assert {("mug", "red", "striped"), ("bag", "blue", "dotted")} <= set(assortment(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stays_within_its_box(kind: str) -> None:
    for path in SHAPES[kind].body:
        for outline in flatten(path):
            assert outline.min() >= 0
            assert outline.max() <= 100


def test_colour_is_what_most_of_a_plain_product_shows() -> None:
    for name, rgb in COLOURS.items():
        picture = render("cushion", name, "plain", np.random.default_rng(5), (200, 200))
        middle = np.asarray(picture.crop((80, 80, 120, 120)), float).reshape(-1, 3).mean(0)
        nearest = min(COLOURS, key=lambda c: float(np.abs(middle - COLOURS[c]).sum()))
        assert nearest == name, (name, rgb, middle)
