"""Configurations that a running service goes from and to, and one real model for all of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from tests.support import configs
from tests.support.configs import edge, retriever, serving_config

from lookalike_crds.config import CollectionConfig, ServingConfig
from lookalike_crds.image_collection import ModelSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.embed.protocol import Embedder, ModelError
from lookalike_serving.index.protocol import Point
from lookalike_serving.service import Service

ID = "00000000-0000-0000-0000-00000000000{}"


def collection(folder: Path, name: str, index: str = "", **changes: object) -> CollectionConfig:
    owner = IndexOwner(cluster="here", name=name)
    at = edge(folder, index or f"{name}-00000001", owner=owner)
    return configs.collection(folder, name, index=at).model_copy(update=changes)


def config(folder: Path, *collections: CollectionConfig, **changes: object) -> ServingConfig:
    retrievers = tuple(retriever(f"find-{each.name}", each.name) for each in collections)
    return serving_config(folder, *collections, retrievers=retrievers).model_copy(update=changes)


@cache
def _load(model: ModelSpec) -> Embedder:
    """Of all tests: it takes a second."""
    return load_embedder(model, Path("weights"))


def loaded(model: ModelSpec, weights: Path, **options: object) -> Embedder:
    """Instead of `load_embedder`. A model that names weights has none."""
    if model.weights is not None:
        raise ModelError(f"there is no file {model.weights}")
    return _load(model)


async def store(service: Service, name: str, number: int, source: str | None = None) -> None:
    """One document with price 9, uploaded or of a source."""
    state = service.collections[name]
    vector = np.full(state.embedder.info.dimension, 0.1, dtype=np.float32)
    origin = Origin(f"d{number}", "file:///d.jpg", source=source)
    point = Point(ID.format(number), vector, payload({"price": 9}, origin))
    await state.index.upsert([point])
