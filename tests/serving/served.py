"""One collection of the demo model, in an Edge index, as these tests serve it."""

from __future__ import annotations

from pathlib import Path

from tests.support import configs
from tests.support.ports import free_port

from lookalike_crds.config import HttpConfig, ServingConfig
from lookalike_crds.image_collection import FieldSpec, FieldType


def serving_config(folder: Path) -> ServingConfig:
    price = FieldSpec(name="price", type=FieldType.FLOAT)
    return configs.serving_config(
        folder,
        configs.collection(folder, "catalogue", fields=(price,)),
        retrievers=(configs.retriever("shop", "catalogue"),),
        http=HttpConfig(port=free_port()),
    )
