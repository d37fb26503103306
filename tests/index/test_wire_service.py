"""A service whose index is a Qdrant server: what it says while the server is away, and after."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.qdrant_server import StandIn
from tests.support.configs import collection, retriever, serving_config
from tests.support.servers import api_of, client_of

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import (
    IndexConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import Engine
from lookalike_serving import service as service_module
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.index import qdrant_client
from lookalike_serving.index.open import open_index
from lookalike_serving.index.protocol import Point

BOUND_SECONDS = 60
SEARCH = {"queries": [{"type": "text", "value": "a red mug"}]}


def config_of(server: StandIn, folder: Path) -> ServingConfig:
    def index(name: str) -> IndexConfig:
        unique = f"{name}-{uuid.uuid4()}"
        return IndexConfig(
            engine=Engine.QDRANT, name=unique, url=server.url, grpc_port=server.grpc_port
        )

    return serving_config(
        folder,
        collection(folder, "shoes", index=index("shoes")),
        retrievers=(retriever("shop", "shoes"),),
        batches_index=index("batches"),
    )


def serving(config: ServingConfig) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return client_of(api_of(config), timeout=BOUND_SECONDS)


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until it says so."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            if (await client.get("/readyz")).status_code == 200:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"drop_connections": True}, "does not answer"),
        ({"latency_seconds": 600}, "not answered within"),
        ({"unauthenticated": True}, "refused the API key"),
        ({"fail_methods": {"QueryBatch": "INTERNAL"}}, "answered INTERNAL"),
    ],
    ids=["away", "slow", "key refused", "failing"],
)
async def test_readiness_tells_what_is_wrong_with_the_server_and_that_it_is_over(
    stand_in: StandIn, tmp_path: Path, fault: dict[str, object], says: str
) -> None:
    async with serving(config_of(stand_in, tmp_path)) as client:
        await ready(client)
        stand_in.faults(**fault)
        async with asyncio.timeout(BOUND_SECONDS):
            told = await client.get("/readyz")
        assert told.status_code == 503
        (part,) = told.json()["errors"]
        assert part["path"] == "collections.shoes"
        assert says in part["message"]
        assert stand_in.url in part["message"]
        assert len(part["message"].splitlines()) == 1
        assert (await client.get("/healthz")).status_code == 200  # no reason to restart the pod
        stand_in.heal()
        await ready(client)
        assert (await client.post("/v1/retrievers/shop/search", json=SEARCH)).status_code == 200


async def test_a_search_without_its_server_is_answered_with_the_reason(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant_client, "TIMEOUT_SECONDS", 1)
    async with serving(config_of(stand_in, tmp_path)) as client:
        for fault in ({"drop_connections": True}, {"latency_seconds": 600}):
            stand_in.faults(**fault)
            async with asyncio.timeout(BOUND_SECONDS):
                answer = await client.post("/v1/retrievers/shop/search", json=SEARCH)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert stand_in.url in answer.json()["detail"]
            assert "try again" in answer.json()["detail"]


async def test_a_service_that_starts_before_its_server_opens_when_that_is_there(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_REOPENING", Backoff(base=0.1))
    stand_in.faults(drop_connections=True)
    async with serving(config_of(stand_in, tmp_path)) as client:
        told = await client.get("/readyz")
        assert told.status_code == 503
        assert {part["path"] for part in told.json()["errors"]} == {"collections.shoes", "batches"}
        assert all(stand_in.url in part["message"] for part in told.json()["errors"])
        stand_in.heal()
        await ready(client)


async def test_a_collection_deleted_behind_the_service_is_served_again_once_ingested(
    stand_in: StandIn, tmp_path: Path
) -> None:
    config = config_of(stand_in, tmp_path)
    (collection,) = config.collections
    async with serving(config) as client:
        await ready(client)
        stand_in.lose(collection.index.name)
        told = await client.get("/readyz")
        assert told.status_code == 503
        assert "ingest again" in told.json()["errors"][0]["message"]
        # What the next ingestion does.
        embedder = load_embedder(collection.model, tmp_path / "weights")
        info = embedder.info
        ingestion = await open_index(
            collection, dimension=info.dimension, fingerprint=info.fingerprint
        )
        vector = np.ones(info.dimension, np.float32)
        await ingestion.upsert([Point(str(uuid.uuid4()), vector, {"document_id": "a"})])
        await ingestion.close()
        await ready(client)
        answer = await client.post("/v1/retrievers/shop/search", json=SEARCH)
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 1
