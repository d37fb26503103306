"""Runs that embed images by a copy model, too: on both engines, and when it is added later."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from tests.duplicates.pictures import photograph
from tests.ingest.conftest import Place
from tests.ingest.test_features import asked, copies, put, shown
from tests.ingest.test_model_change import MODEL, Change
from tests.qdrant_server.process import running
from tests.support.configs import edge
from tests.support.pictures import encoded

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import DuplicatesSpec, Engine, ModelSpec, OnIngest, Provider
from lookalike_crds.progress import CARRIED
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.embed.protocol import Embedder


def by_copy_model(place: Place, **changes: object) -> CollectionConfig:
    file = place.folder / "copies.py"
    file.write_text(MODEL)
    copies = ModelSpec(provider=Provider.PLUGIN, name=f"{file}:Colours")
    given = {
        "copy_model": copies,
        "duplicates": DuplicatesSpec(),
        "index": edge(place.folder / "served", "shop-copies"),
        **changes,
    }
    return place.collection.model_copy(update=given)


def test_a_copy_that_a_source_brings_is_found_by_the_copy_model(place: Place) -> None:
    place.collection = by_copy_model(place, duplicates=DuplicatesSpec(on_ingest=OnIngest.REJECT))
    place.restart(collections=(place.collection,), image_roots=(place.images,))
    put(place, "coffee.png", "rocket.jpg")
    assert place.ingest().sources["disk"].new == 2
    crop = encoded(Image.fromarray(photograph("coffee.png")[20:, 30:]))
    (place.images / "crop.png").write_bytes(crop)
    counts = place.ingest().sources["disk"]
    assert (counts.new, counts.unchanged, counts.skipped) == (0, 2, 1)
    place.restart()
    assert copies(asked(place, "coffee.png")) == ["coffee.png"]


def test_an_index_for_a_copy_model_that_is_added_takes_every_document_over(place: Place) -> None:
    put(place, "coffee.png")
    place.ingest()
    change = Change(place)
    change.upload("up", shown("rocket.jpg"))
    new = by_copy_model(place)
    place.restart(filling=(new,), image_roots=(place.images,))
    made = change.fill(new)
    assert (made.sources["disk"].new, made.sources[CARRIED].new) == (1, 1)
    assert set(change.documents(new)) == {"coffee.png", "up"}
    assert copies(asked(place, "rocket.jpg")) == ["up"]


def test_a_run_makes_an_index_on_a_qdrant_server_for_both_models(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which loads each of them once."""
    loads: list[str] = []

    def noted(model: ModelSpec, *asked: Any, **more: Any) -> Embedder:
        loads.append(model.provider.value)
        return load_embedder(model, *asked, **more)

    monkeypatch.setattr("lookalike_serving.ingest.models.load_embedder", noted)
    with running() as server:
        at = {"engine": Engine.QDRANT, "url": server.url, "grpc_port": server.grpc_port}
        place.collection = by_copy_model(
            place, index=IndexConfig(name="shop", **at), books=IndexConfig(name="records", **at)
        )
        put(place, "coffee.png")
        assert place.ingest().sources["disk"].new == 1
        assert sorted(loads) == ["Demo", "Plugin"]
        put(place, "rocket.jpg")
        counts = place.ingest().sources["disk"]
        assert (counts.new, counts.unchanged) == (1, 1)
        place.restart(collections=(place.collection,), image_roots=(place.images,))
        assert copies(asked(place, "rocket.jpg")) == ["rocket.jpg"]
        place.stop()
