"""A real service behind its API: Edge indexes in a temporary folder, a real model, no server.

One for each test module, since loading the model takes longer than all of a module's tests.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from PIL import Image, ImageDraw

from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    FetchPolicy,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    Distance,
    Engine,
    FieldSpec,
    FieldType,
    ModelSpec,
    Provider,
    VectorSpec,
)
from lookalike_crds.retriever import CollectionRef, Fusion, SearchSpec
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

MODEL = ModelSpec(provider=Provider.DEMO)
FIELDS = (
    FieldSpec(name="status", type=FieldType.KEYWORD),
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="added", type=FieldType.DATETIME),
)


def collection(folder: Path, name: str, distance: Distance = Distance.COSINE) -> CollectionConfig:
    return CollectionConfig(
        name=name,
        model=MODEL,
        vector=VectorSpec(distance=distance),
        index=IndexConfig(engine=Engine.EDGE, name=name, path=folder / "indexes" / name),
        fields=FIELDS,
    )


def serving_config(folder: Path, **changes: object) -> ServingConfig:
    """Two cosine collections, one of each other distance, and retrievers over them."""
    config = ServingConfig(
        collections=(
            collection(folder, "catalogue"),
            collection(folder, "archive"),
            collection(folder, "euclid", Distance.EUCLID),
            collection(folder, "dot", Distance.DOT),
        ),
        retrievers=(
            RetrieverConfig(name="shop", collections=(CollectionRef(name="catalogue"),)),
            RetrieverConfig(name="euclid", collections=(CollectionRef(name="euclid"),)),
            RetrieverConfig(name="dot", collections=(CollectionRef(name="dot"),)),
            RetrieverConfig(
                name="both",
                collections=(
                    CollectionRef(name="catalogue"),
                    CollectionRef(name="archive", weight=0.5),
                ),
            ),
            RetrieverConfig(
                name="ranks",
                collections=(CollectionRef(name="catalogue"), CollectionRef(name="archive")),
                search=SearchSpec(fusion=Fusion.RRF),
            ),
        ),
        data_dir=folder,
        access=AccessConfig(),
        fetch=FetchPolicy(max_bytes=1024 * 1024),
        batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=folder / "batches"),
    )
    return config.model_copy(update=changes)


class Gateway:
    """An API with its lifespan running, and a client to it."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service


async def running(config: ServingConfig) -> AsyncIterator[Gateway]:
    app = create_api(lambda: Service.start(config))
    async with app.router.lifespan_context(app):
        # An exception that reaches the transport is a bug: the gateway answers every failure.
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000"
        ) as client:
            yield Gateway(app, client)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def serving(folder: Path) -> Callable[..., ServingConfig]:
    """Makes the usual config, with changes."""
    return partial(serving_config, folder)


@pytest.fixture(scope="module")
def config(serving: Callable[..., ServingConfig]) -> ServingConfig:
    """What `gateway` serves; a module may put its own in its place."""
    return serving()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(config: ServingConfig) -> AsyncIterator[Gateway]:
    async for each in running(config):
        yield each


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(gateway: Gateway) -> httpx.AsyncClient:
    return gateway.client


class Picture(Protocol):
    """Draws an image file: one shape of one colour on white."""

    def __call__(
        self, colour: str, *, shape: str = "ellipse", format: str = "JPEG", side: int = 96
    ) -> bytes: ...


def _draw(colour: str, *, shape: str = "ellipse", format: str = "JPEG", side: int = 96) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    getattr(ImageDraw.Draw(image), shape)((16, 16, side - 16, side - 16), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def picture() -> Picture:
    return _draw
