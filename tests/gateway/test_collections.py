"""What `/v1/collections` tells of a collection."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.progress import RunState
from lookalike_serving.gateway.api import create_api
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.machine.rundir import RunDirectory
from lookalike_serving.service import Service

CATALOGUE = "/v1/collections/catalogue"


@asynccontextmanager
async def started(config: ServingConfig, price: FieldType) -> AsyncIterator[httpx.AsyncClient]:
    """A service of one collection whose field `price` is of that type."""
    fields = (FieldSpec(name="price", type=price),)
    shop = config.collections[0].model_copy(update={"fields": fields})
    only = config.model_copy(update={"collections": (shop,), "retrievers": config.retrievers[:1]})
    app = create_api(lambda: Service.start(only))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000"
        ) as client:
            yield client


async def warnings(client: httpx.AsyncClient) -> list[str]:
    one = (await client.get(CATALOGUE)).json()
    assert (await client.get("/v1/collections")).json()["items"] == [one]
    told: list[str] = one["warnings"]
    return told


async def test_a_field_whose_type_was_changed_is_told_with_what_to_do(
    serving: Callable[..., ServingConfig],
    picture: Callable[[str], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = serving()
    image = base64.b64encode(picture("red")).decode()
    async with started(config, FieldType.FLOAT) as client:
        for id, price in (("a", 60.5), ("b", 8.0)):
            body = {"document_id": id, "image": image, "metadata": {"price": price}}
            assert (await client.post(f"{CATALOGUE}/documents", json=body)).status_code == 201
        assert await warnings(client) == []
    caplog.set_level(logging.WARNING, "lookalike.service")
    told = (
        "field price is Integer and was Float: 1 document holds values that are no Integer, and no "
        "filter on it finds them: ingest again, or write those documents again, or set the type "
        "back"
    )
    for _ in range(2):  # as long as it is so, not at the first start alone
        async with started(config, FieldType.INTEGER) as client:
            assert await warnings(client) == [told]
        assert caplog.messages[-1] == f"collection catalogue: {told}"
    async with started(config, FieldType.INTEGER) as client:
        change = {"metadata": {"price": 60}}
        assert (await client.patch(f"{CATALOGUE}/documents/a", json=change)).status_code == 200
        assert await warnings(client) == []


async def test_a_run_that_reads_pictures_in_is_told_while_its_process_lives(
    serving: Callable[..., ServingConfig],
) -> None:
    config = serving()
    file = RunDirectory.of(config.data_dir, config.run_dir).progress_file("catalogue")
    async with started(config, FieldType.FLOAT) as client:
        assert "ingestion" not in (await client.get(CATALOGUE)).json()
        with ProgressWriter(file, "catalogue") as run:
            counts = run.counts("photos")
            counts.listed, counts.new, counts.failed = 40, 11, 1
            run.enter(RunState.RUNNING)
            told = (await client.get(CATALOGUE)).json()["ingestion"]
            assert (told["listed"], told["done"], told["failed"]) == (40, 12, 1)
            run.progress.pid = 2**22 + 1  # of no process: the run was killed
            run.write(now=True)
            assert "ingestion" not in (await client.get(CATALOGUE)).json()
            run.progress.pid = os.getpid()
            run.enter(RunState.COMPLETED)
        assert "ingestion" not in (await client.get(CATALOGUE)).json()
        file.write_text("{half")
        assert "ingestion" not in (await client.get(CATALOGUE)).json()
