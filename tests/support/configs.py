"""Serving configs: the demo model and Edge indexes in a folder, unless a test says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lookalike_crds.config import CollectionConfig, IndexConfig, RetrieverConfig, ServingConfig
from lookalike_crds.image_collection import Engine, ModelSpec, Provider, VectorSpec
from lookalike_crds.retriever import CollectionRef

DEMO = ModelSpec(provider=Provider.DEMO)


def edge(folder: Path, name: str, **changes: Any) -> IndexConfig:
    """An Edge index in a folder of its name."""
    path = folder / "indexes" / name
    return IndexConfig(engine=Engine.EDGE, name=name, path=path, **changes)


def collection(folder: Path, name: str, **changes: Any) -> CollectionConfig:
    """A collection of the demo model in an Edge index of the same name."""
    given: dict[str, Any] = {
        "model": DEMO,
        "vector": VectorSpec(),
        "index": edge(folder, name),
        **changes,
    }
    return CollectionConfig(name=name, **given)


def retriever(name: str, *collections: str, **changes: Any) -> RetrieverConfig:
    """A retriever over collections of equal weight."""
    refs = tuple(CollectionRef(name=each) for each in collections)
    return RetrieverConfig(name=name, collections=refs, **changes)


def serving_config(folder: Path, *collections: CollectionConfig, **changes: Any) -> ServingConfig:
    """Serves these collections, without a retriever unless `retrievers` names one."""
    given: dict[str, Any] = {
        "retrievers": (),
        "data_dir": folder,
        "batches_index": edge(folder, "batches"),
        **changes,
    }
    return ServingConfig(collections=collections, **given)
