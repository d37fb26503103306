"""Features of images that sources bring: kept for as long as their document is there."""

from __future__ import annotations

import shutil
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.duplicates.pictures import photograph
from tests.ingest.conftest import Place
from tests.ingest.test_model_change import MODEL, Change
from tests.support.pictures import encoded

from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_crds.progress import CARRIED
from lookalike_serving.duplicates.features import Features

FEATURED = DuplicatesSpec(features=True)


def shown(name: str) -> bytes:
    return encoded(Image.fromarray(photograph(name)))


@pytest.fixture
def change(place: Place) -> Change:
    return Change(place)


def put(place: Place, *names: str) -> None:
    for name in names:
        (place.images / name).write_bytes(shown(name))


def keep(place: Place, duplicates: DuplicatesSpec | None) -> None:
    place.collection = place.collection.model_copy(update={"duplicates": duplicates})
    place.restart(collections=(place.collection,))


def asked(place: Place, name: str) -> dict[str, Any]:
    answer = httpx.post(
        f"{place.url}/v1/collections/shop/duplicates",
        files={"image": encoded(Image.fromarray(photograph(name)[20:, 30:]))},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def copies(told: dict[str, Any]) -> list[str]:
    return [m["document_id"] for m in told["matches"] if m["verdict"] == "copy"]


def test_features_come_with_the_next_run_and_go_with_their_document(place: Place) -> None:
    put(place, "coffee.png", "rocket.jpg")
    source = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    keep(place, DuplicatesSpec())
    assert place.ingest(source).sources["disk"].new == 2
    keep(place, FEATURED)
    assert asked(place, "coffee.png")["hashes"]["featured"] == 0
    assert place.ingest(source).sources["disk"].updated == 2
    assert place.ingest(source).sources["disk"].unchanged == 2
    place.restart()
    (place.images / "coffee.png").rename(place.folder / "away.png")
    told = asked(place, "coffee.png")  # nothing is left but its features
    assert copies(told) == ["coffee.png"]
    assert told["hashes"]["featured"] == 2
    assert place.ingest(source).sources["disk"].deleted == 1
    place.restart()
    told = asked(place, "coffee.png")
    assert (copies(told), told["hashes"]["featured"]) == ([], 1)


def test_a_changed_model_finds_features_that_are_there(
    place: Place, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(place, FEATURED)
    put(place, "coffee.png")
    place.ingest()
    change.upload("up", shown("rocket.jpg"))
    new = change.to(MODEL)
    monkeypatch.setattr(Features, "of", None)  # making them again would fail
    made = change.fill(new)
    assert (made.sources["disk"].new, made.sources[CARRIED].new) == (1, 1)
    place.restart(collections=(new,), filling=())
    shutil.rmtree(place.images)
    assert copies(asked(place, "coffee.png")) == ["coffee.png"]
    told = asked(place, "rocket.jpg")
    assert copies(told) == ["up"]
    assert told["hashes"]["featured"] == 2
