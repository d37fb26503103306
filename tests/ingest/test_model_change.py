"""A run that fills the index of a changed model: every document of the former one is in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ingest.conftest import Place
from tests.qdrant_server.process import running
from tests.support.configs import edge
from tests.support.pictures import drawn, encoded

from lookalike_crds.config import CarryOver, CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, GateSpec, ModelSpec, Provider
from lookalike_crds.progress import CARRIED, RUN_VARIABLE, Counts, Progress, RunState
from lookalike_crds.switching import why_held
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run

MODEL = """
import numpy as np
class Colours:
    size = 8
    def __init__(self, weights): pass
    def embed_images(self, images): return images.reshape(len(images), -1) + 1.0
    def embed_texts(self, texts): return np.ones((len(texts), 192))
"""
BLIND = """
import hashlib
import numpy as np
class Colours:
    size = 8
    def __init__(self, weights): pass
    def embed_images(self, images):
        return np.stack([self.noise(each.tobytes()) for each in images])
    def noise(self, seed):
        seed = int.from_bytes(hashlib.sha256(seed).digest()[:8])
        return np.random.default_rng(seed).normal(size=16)
"""
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "grey", "pink", "brown")


class Change:
    """The collection of `place` with an index for another model beside it."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def to(self, code: str, **asked: Any) -> CollectionConfig:
        file = self.place.folder / "model.py"
        file.write_text(code)
        model = ModelSpec(provider=Provider.PLUGIN, name=f"{file}:Colours")
        index = edge(self.place.folder / "served", "shop-new")
        new = self.place.collection.model_copy(update={"model": model, "index": index, **asked})
        self.place.restart(filling=(new,), image_roots=(self.place.images,))
        return new

    def fill(self, new: CollectionConfig, *sources: dict[str, Any]) -> Progress:
        former = self.place.collection
        self.place.collection = new
        carry = CarryOver(index=former.index.name, model=former.model)
        try:
            return self.place.ingest(*sources, carry=carry)
        finally:
            self.place.collection = former

    def documents(self, new: CollectionConfig) -> dict[str, dict[str, Any]]:
        """As the new model answers, once it does."""
        self.place.restart(collections=(new,), filling=())
        return self.place.documents()

    def upload(self, name: str, image: bytes, **metadata: Any) -> None:
        answer = httpx.post(
            f"{self.place.url}/v1/collections/shop/documents",
            files={"image": image},
            data={"document_id": name, "metadata": json.dumps(metadata)},
        )
        assert answer.is_success, answer.text

    def delete(self, name: str) -> None:
        answer = httpx.delete(f"{self.place.url}/v1/collections/shop/documents/{name}")
        assert answer.status_code == 204

    def change(self, name: str, **metadata: Any) -> None:
        answer = httpx.patch(
            f"{self.place.url}/v1/collections/shop/documents/{name}", json={"metadata": metadata}
        )
        assert answer.status_code == 200, answer.text

    @property
    def uploads(self) -> list[Path]:
        folder = self.place.folder / "served" / "images"
        return [path for path in folder.glob("*/*") if path.is_file()]


@pytest.fixture
def change(place: Place) -> Iterator[Change]:
    return Change(place)


def picture(colour: str) -> bytes:
    return encoded(drawn(colour))


def test_every_document_is_carried_over_whoever_brought_it(
    change: Change, place: Place, paint: Callable[..., Path]
) -> None:
    paint(place.images / "a.png", 1)
    paint(place.images / "gone.png", 2)
    place.ingest()
    (place.images / "gone.png").rename(place.folder / "images" / "gone.png.away")
    change.upload("up", picture("red"), status="new")
    change.change("a.png", status="sold")
    before = place.documents()
    assert sorted(before) == ["a.png", "gone.png", "up"]
    new = change.to(MODEL)
    made = change.fill(new)
    assert made.sources["disk"].new == 1
    assert made.sources[CARRIED] == Counts(listed=2, new=1, failed=1)
    [error] = made.errors
    assert (error.source, error.key, error.code) == (CARRIED, "gone.png", "image-not-found")
    assert made.state is RunState.COMPLETED_WITH_ERRORS
    listed = httpx.get(f"{place.url}/v1/collections/shop/failures").json()["items"]
    assert [(each["source"], each["key"]) for each in listed] == [(CARRIED, "gone.png")]
    held = why_held(made.sources[CARRIED], ("gone.png",), None, None)
    assert held is not None
    assert "1 documents (gone.png)" in held.message
    # Somebody puts the image back, and the run is made again.
    (place.images / "gone.png.away").rename(place.images / "gone.png")
    made = change.fill(new)
    assert made.state is RunState.COMPLETED
    assert why_held(made.sources.get(CARRIED), (), None, None) is None
    assert httpx.get(f"{place.url}/v1/collections/shop/failures").json()["items"] == []
    after = change.documents(new)
    assert after.keys() == before.keys()
    for name in ("a.png", "up"):
        assert after[name] == before[name], "what requests have changed is kept"


def test_uploads_alone_are_carried_over(change: Change, place: Place) -> None:
    for colour in COLOURS:
        change.upload(colour, picture(colour), status=colour)
    new = change.to(MODEL)
    made = change.fill(new, *())
    assert made.sources[CARRIED].new == len(COLOURS)
    assert len(change.uploads) == len(COLOURS)
    assert sorted(change.documents(new)) == sorted(COLOURS)


def test_what_was_deleted_since_does_not_come_back_with_the_index(
    change: Change, place: Place
) -> None:
    for colour in ("red", "green"):
        change.upload(colour, picture(colour))
    new = change.to(MODEL)
    change.fill(new)
    change.delete("red")
    change.upload("green", picture("blue"), status="replaced")
    made = change.fill(new)
    assert (made.sources[CARRIED].deleted, made.sources[CARRIED].new) == (1, 1)
    after = change.documents(new)
    assert list(after) == ["green"]
    assert after["green"]["metadata"] == {"status": "replaced"}
    assert len(change.uploads) == 1, "an image that no document shows stays"


def test_documents_of_a_source_that_deletes_go_with_their_objects(
    change: Change, place: Place, paint: Callable[..., Path]
) -> None:
    source = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    for number in range(2):
        paint(place.images / f"{number}.png", number)
    place.ingest(source)
    (place.images / "1.png").unlink()
    new = change.to(MODEL)
    made = change.fill(new, source)
    assert made.state is RunState.COMPLETED
    assert list(change.documents(new)) == ["0.png"]


@pytest.mark.parametrize(("code", "passed"), [(MODEL, True), (BLIND, False)], ids=["good", "blind"])
def test_the_gate_tells_a_good_model_from_a_bad_one(
    change: Change, place: Place, code: str, passed: bool
) -> None:
    for colour in COLOURS:
        change.upload(colour, picture(colour))
    gate = GateSpec(min_recall=0.8, min_overlap=0.5, queries=10)
    made = change.fill(change.to(code, gate=gate))
    assert made.gate is not None
    assert made.gate.passed is passed, made.gate.told
    assert made.gate.queries == 10
    assert (made.gate.recall or 0) >= 0.8 if passed else (made.gate.recall or 1) < 0.8
    held = why_held(made.sources[CARRIED], (), gate, made.gate)
    assert (held is None) is passed
    if held is not None:
        assert held.message == made.gate.told
        assert "recall 0." in held.message
        assert "(at least 0.8 is asked)" in held.message


def test_the_gate_measures_judgments_and_how_long_a_query_takes(
    change: Change, place: Place
) -> None:
    for colour in COLOURS:
        change.upload(colour, picture(colour))
    file = place.folder / "judgments.jsonl"
    (place.folder / "query.png").write_bytes(picture("red"))
    lines = [
        {"image": "query.png", "relevant": ["red"]},
        {"document": "green", "relevant": dict.fromkeys(COLOURS, 1)},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    gate = GateSpec(judgments=str(file), min_overlap=0, min_recall=1, max_latency_factor=1000)
    made = change.fill(change.to(MODEL, gate=gate))
    assert made.gate is not None
    assert made.gate.passed, made.gate.told
    assert made.gate.recall == 1
    assert made.gate.overlap is not None
    assert made.gate.latency_factor is not None
    assert made.gate.latency_factor > 0
    file.write_text('{"image": "nowhere.png", "relevant": ["red"]}')
    made = change.fill(change.to(MODEL, gate=gate))
    assert made.gate is not None
    assert not made.gate.passed
    assert "nowhere.png" in made.gate.told


@pytest.fixture
def on_server(place: Place) -> Iterator[Change]:
    """The same with both indexes, and the records, on a Qdrant server, as on a cluster."""
    with running() as server:

        def at(name: str) -> IndexConfig:
            return IndexConfig(
                engine=Engine.QDRANT, name=name, url=server.url, grpc_port=server.grpc_port
            )

        place.collection = place.collection.model_copy(
            update={"index": at("shop-old"), "books": at("records")}
        )
        place.restart(collections=(place.collection,))
        yield Change(place)
        place.stop()


def test_the_pods_of_a_job_share_what_is_carried_and_the_first_measures_the_gate(
    on_server: Change, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in COLOURS:
        on_server.upload(colour, picture(colour), status=colour)
    former = place.collection
    file = place.folder / "model.py"
    file.write_text(MODEL)
    new = former.model_copy(
        update={
            "model": ModelSpec(provider=Provider.PLUGIN, name=f"{file}:Colours"),
            "index": former.index.model_copy(update={"name": "shop-new"}),
            "gate": GateSpec(min_overlap=0.1, min_recall=0.1, queries=10),
        }
    )
    carry = CarryOver(index="shop-old", model=former.model, on_server=former.index)
    place.collection = new
    config = place.config(carry=carry).model_copy(update={"sources": ()})
    monkeypatch.setenv(RUN_VARIABLE, "one-run")
    made = {}
    for index in (1, 0):
        with ProgressWriter(config.progress_file, "shop") as writer:
            asyncio.run(run(config, writer, Partition(index, 2)))
            made[index] = writer.progress
    assert sum(made[index].sources[CARRIED].new for index in (0, 1)) == len(COLOURS)
    assert 0 < made[0].sources[CARRIED].new < len(COLOURS)
    assert made[1].gate is None
    assert made[0].gate is not None
    assert made[0].gate.passed, made[0].gate.told
    after = on_server.documents(new)
    assert {name: each["metadata"] for name, each in after.items()} == {
        colour: {"status": colour} for colour in COLOURS
    }
