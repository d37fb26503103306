"""On a cluster with a Qdrant server the pods of a run keep its records there, without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.qdrant_server.process import StandIn, running
from tests.support.configs import DEMO
from tests.support.pictures import paint

from lookalike_crds.config import CollectionConfig, IndexConfig, IngestionConfig
from lookalike_crds.image_collection import Engine, VectorSpec
from lookalike_crds.progress import Counts
from lookalike_crds.sources import SourceSpec
from lookalike_serving.books.record import Deletion, Scope
from lookalike_serving.books.store import Books
from lookalike_serving.documents.ids import point_id
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.index.open import open_index, open_payload_index
from lookalike_serving.ingest import models
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run


@pytest.fixture
def config(tmp_path: Path) -> Iterator[IngestionConfig]:
    with running() as server:
        yield _config(tmp_path, server)


def _config(folder: Path, server: StandIn) -> IngestionConfig:
    def place(name: str) -> IndexConfig:
        return IndexConfig(
            engine=Engine.QDRANT, name=name, url=server.url, grpc_port=server.grpc_port
        )

    images = {"name": "disk", "volume": {"path": str(folder / "images")}}
    return IngestionConfig(
        collection=CollectionConfig(
            name="shop",
            model=DEMO,
            vector=VectorSpec(),
            index=place("shop"),
            books=place("records"),
        ),
        sources=(SourceSpec.model_validate(images),),
        data_dir=folder / "data",
        progress_file=folder / "progress.json",
    )


def ingest(config: IngestionConfig, index: int) -> Counts:
    with ProgressWriter(config.progress_file, "shop") as writer:
        asyncio.run(run(config, writer, Partition(index, 2)))
        return writer.progress.total


async def recorded(config: IngestionConfig, deleted: dict[str, Deletion] | None = None) -> Any:
    """(runs, failures by code), after noting these deletions."""
    assert config.collection.books is not None
    index = await open_payload_index(config.collection.books)
    books = Books(lambda: index, Scope.of(config.collection))
    if deleted:
        await books.note_deletions(deleted)
    found = await books.runs(), await books.failures_by_code()
    await index.close()
    return found


def test_pods_of_a_run_share_its_records(
    config: IngestionConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    for number in range(6):
        paint(images / f"{number}.png", number)
    for number in range(4):
        (images / f"broken{number}.png").write_bytes(b"broken")
    monkeypatch.setenv("LOOKALIKE_RUN", "job-1")
    for index in range(2):
        ingest(config, index)
    [one], failed = asyncio.run(recorded(config))
    assert one.complete
    assert (one.counts.listed, one.counts.new, one.counts.failed, one.counts.left) == (10, 6, 4, 0)
    assert failed == {"image-not-an-image": 4}

    # Somebody deletes a document of each share; one of the images changes.
    monkeypatch.setenv("LOOKALIKE_RUN", "job-2")
    for name in ("broken0.png", "broken1.png"):
        (images / name).unlink()
    version = (images / "0.png").stat()
    away = Deletion("0.png", "2026-01-01", "disk", None, f"{version.st_size}-{version.st_mtime_ns}")
    asyncio.run(_delete(config, "0.png"))
    asyncio.run(recorded(config, {point_id("shop", "0.png"): away}))
    for index in range(2):
        ingest(config, index)
    [two, _], failed = asyncio.run(recorded(config))
    assert (two.counts.unchanged, two.counts.skipped, two.counts.failed) == (5, 1, 2)
    assert two.counts.left == 0
    assert failed == {"image-not-an-image": 2}

    # With nothing to do, no pod loads the model.
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(models, "load_embedder", refuse)
    monkeypatch.setenv("LOOKALIKE_RUN", "job-3")
    for name in ("broken2.png", "broken3.png"):
        (images / name).unlink()
    counts = [ingest(config, index) for index in range(2)]
    assert sum(each.unchanged for each in counts) == 5


async def _delete(config: IngestionConfig, document_id: str) -> None:
    info = load_embedder(DEMO, config.data_dir).info
    index = await open_index(
        config.collection, dimension=info.dimension, fingerprint=info.fingerprint
    )
    await index.delete([point_id("shop", document_id)])
    await index.close()
