"""An ingestion into a Qdrant server that fails in its middle."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.qdrant_server import StandIn

from lookalike_crds.config import CollectionConfig, IndexConfig, IngestionConfig
from lookalike_crds.image_collection import Engine, IngestionSpec, ModelSpec, Provider, VectorSpec
from lookalike_crds.progress import Progress
from lookalike_crds.sources import SourceSpec
from lookalike_serving.index.protocol import IndexUnavailable
from lookalike_serving.index.qdrant_client import client_of
from lookalike_serving.index.qdrant_errors import CollectionLost, KeyRefused
from lookalike_serving.ingest import store
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run

SECONDS = 240
IMAGES = 40
BATCH = 8


@pytest.fixture
def config(stand_in: StandIn, tmp_path: Path) -> IngestionConfig:
    images = tmp_path / "images"
    images.mkdir()
    for n in range(IMAGES):
        pixels = np.random.default_rng(n).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{n}.png")
    return IngestionConfig(
        collection=CollectionConfig(
            name="shoes",
            model=ModelSpec(provider=Provider.DEMO),
            vector=VectorSpec(),
            index=IndexConfig(
                engine=Engine.QDRANT,
                name=f"shoes-{uuid.uuid4()}",
                url=stand_in.url,
                grpc_port=stand_in.grpc_port,
            ),
        ),
        sources=(SourceSpec.model_validate({"name": "disk", "volume": {"path": str(images)}}),),
        ingestion=IngestionSpec(batch_size=BATCH),
        data_dir=tmp_path,
        progress_file=tmp_path / "progress.json",
    )


async def ingested(config: IngestionConfig) -> int:
    """How many documents one run wrote anew."""
    with ProgressWriter(config.progress_file, config.collection.name) as writer:
        async with asyncio.timeout(SECONDS):
            await run(config, writer)
    return Progress.model_validate_json(config.progress_file.read_bytes()).total.new


async def documents(server: StandIn, config: IngestionConfig) -> int:
    client = client_of(server.url, server.grpc_port)
    found = (await client.count(config.collection.index.name, exact=True)).count
    await client.close()
    return found


@pytest.mark.parametrize("applied", [False, True], ids=["not applied", "only the answer lost"])
async def test_a_run_rides_out_a_server_that_is_away_for_some_writes(
    stand_in: StandIn, config: IngestionConfig, applied: bool
) -> None:
    fault = {"code": "UNAVAILABLE", "after": 2, "times": 3, "applied": applied}
    stand_in.faults(fail_methods={"Upsert": fault})
    assert await ingested(config) == IMAGES
    assert await documents(stand_in, config) == IMAGES


async def test_a_run_whose_collection_is_deleted_says_so_and_the_next_one_is_whole(
    stand_in: StandIn, config: IngestionConfig
) -> None:
    # NOT_FOUND is what the writes after the deletion are answered with.
    stand_in.faults(fail_methods={"Upsert": {"code": "NOT_FOUND", "after": 2}})
    with pytest.raises(CollectionLost, match="ingest again"):
        await ingested(config)
    stand_in.heal()
    stand_in.lose(config.collection.index.name)
    assert await ingested(config) == IMAGES
    assert await documents(stand_in, config) == IMAGES


async def test_a_run_that_was_given_up_is_finished_by_the_next_one(
    stand_in: StandIn, config: IngestionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "GATEWAY_WAIT_SECONDS", 0.5)
    fault = {"code": "UNAVAILABLE", "after": 2, "applied": True}
    stand_in.faults(fail_methods={"Upsert": fault})
    with pytest.raises(IndexUnavailable, match="does not answer"):
        await ingested(config)
    there = await documents(stand_in, config)
    assert 2 * BATCH < there < IMAGES
    stand_in.heal()
    assert await ingested(config) == IMAGES - there
    assert await documents(stand_in, config) == IMAGES


async def test_a_run_with_a_refused_key_says_so(stand_in: StandIn, config: IngestionConfig) -> None:
    stand_in.faults(unauthenticated=True)
    with pytest.raises(KeyRefused, match="refused the API key"):
        await ingested(config)
