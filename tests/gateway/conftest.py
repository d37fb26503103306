"""A real service behind its API: Edge indexes in a temporary folder, a real model, no server.

One for each test module, since loading the model takes longer than all of a module's tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from tests.support.configs import collection, retriever, serving_config
from tests.support.pictures import drawn, encoded
from tests.support.servers import api_of, client_of

from lookalike_crds.config import (
    CollectionConfig,
    FetchPolicy,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    Distance,
    FieldSpec,
    FieldType,
    VectorSpec,
)
from lookalike_crds.retriever import CollectionRef, Fusion, SearchSpec
from lookalike_serving.service import Service

FIELDS = (
    FieldSpec(name="status", type=FieldType.KEYWORD),
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="added", type=FieldType.DATETIME),
)


def stored(folder: Path, name: str, distance: Distance = Distance.COSINE) -> CollectionConfig:
    return collection(folder, name, vector=VectorSpec(distance=distance), fields=FIELDS)


def usual_config(folder: Path, **changes: object) -> ServingConfig:
    """Two cosine collections, one of each other distance, and retrievers over them."""
    halves = (CollectionRef(name="catalogue"), CollectionRef(name="archive", weight=0.5))
    config = serving_config(
        folder,
        stored(folder, "catalogue"),
        stored(folder, "archive"),
        stored(folder, "euclid", Distance.EUCLID),
        stored(folder, "dot", Distance.DOT),
        retrievers=(
            retriever("shop", "catalogue"),
            retriever("euclid", "euclid"),
            retriever("dot", "dot"),
            RetrieverConfig(name="both", collections=halves),
            retriever("ranks", "catalogue", "archive", search=SearchSpec(fusion=Fusion.RRF)),
        ),
        fetch=FetchPolicy(max_bytes=1024 * 1024),
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
    app = api_of(config)
    async with client_of(app) as client:
        yield Gateway(app, client)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def serving(folder: Path) -> Callable[..., ServingConfig]:
    """Makes the usual config, with changes."""
    return partial(usual_config, folder)


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
    return encoded(drawn(colour, shape=shape, side=side), format)


@pytest.fixture(scope="session")
def picture() -> Picture:
    return _draw
