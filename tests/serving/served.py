"""One collection of the demo model, in an Edge index, as these tests serve it."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from lookalike_crds.config import (
    CollectionConfig,
    HttpConfig,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    Engine,
    FieldSpec,
    FieldType,
    ModelSpec,
    Provider,
    VectorSpec,
)
from lookalike_crds.retriever import CollectionRef


def free_port() -> int:
    """Below those that the kernel hands out: none of them takes it before the server does."""
    while True:
        port = random.randint(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port


def edge(folder: Path, name: str) -> IndexConfig:
    return IndexConfig(engine=Engine.EDGE, name=name, path=folder / "indexes" / name)


def serving_config(folder: Path) -> ServingConfig:
    return ServingConfig(
        collections=(
            CollectionConfig(
                name="catalogue",
                model=ModelSpec(provider=Provider.DEMO),
                vector=VectorSpec(),
                index=edge(folder, "catalogue"),
                fields=(FieldSpec(name="price", type=FieldType.FLOAT),),
            ),
        ),
        retrievers=(RetrieverConfig(name="shop", collections=(CollectionRef(name="catalogue"),)),),
        data_dir=folder,
        http=HttpConfig(port=free_port()),
        batches_index=edge(folder, "batches"),
    )
