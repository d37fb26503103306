"""Opening what a configuration names."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_serving.index import open_index, open_payload_index
from lookalike_serving.index.protocol import IndexFailure, Point, Query

ID = "00000000-0000-0000-0000-000000000001"


def collection(config: IndexConfig) -> CollectionConfig:
    return CollectionConfig(name="shoes", model=ModelSpec(), vector=VectorSpec(), index=config)


@pytest.fixture(params=["edge", "qdrant"])
def config(request, folder) -> IndexConfig:
    if request.param == "edge":
        return IndexConfig(engine=Engine.EDGE, name="shoes-demo", path=folder / "index")
    return IndexConfig(engine=Engine.QDRANT, name="shoes-demo", url=":memory:")


async def test_a_configured_index_opens_with_either_engine(config):
    index = await open_index(collection(config), dimension=4, fingerprint="a")
    await index.upsert([Point(ID, np.ones(4, np.float32), {})])
    assert [h.id for h in await index.query(Query(np.ones(4, np.float32), limit=1))] == [ID]
    await index.close()


async def test_an_index_of_payloads_opens_with_either_engine(config):
    index = await open_payload_index(config)
    await index.upsert([Point(ID, None, {"state": "QUEUED"})])
    assert (await index.retrieve([ID]))[0].payload == {"state": "QUEUED"}
    await index.close()


@pytest.mark.parametrize(("engine", "setting"), [("Edge", "index.path"), ("Qdrant", "index.url")])
async def test_a_missing_setting_is_named(engine, setting):
    config = IndexConfig(engine=Engine(engine), name="shoes-demo")
    with pytest.raises(IndexFailure, match=f"set {setting}"):
        await open_index(collection(config), dimension=4, fingerprint="a")


def test_the_package_loads_no_engine_before_one_is_asked_for():
    code = (
        "import sys, lookalike_serving.index\n"
        "print([m for m in ('qdrant_edge', 'qdrant_client', 'grpc', 'torch') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
