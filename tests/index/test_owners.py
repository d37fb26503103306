"""An index is its owner's: nobody else opens it, and one that has none yet is adopted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.qdrant_server import StandIn

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.index.open import open_index, open_payload_index
from lookalike_serving.index.protocol import Index, IndexMismatch, Point

OURS = IndexOwner(cluster="laptop-1", name="catalogue")
THEIRS = IndexOwner(cluster="laptop-2", name="catalogue")
POINT = Point("00000000-0000-0000-0000-000000000001", [1.0, 0.0, 0.0, 0.0], {"kind": "mug"})


@pytest.fixture(params=[Engine.EDGE, Engine.QDRANT])
def config(request: pytest.FixtureRequest, folder: Path) -> IndexConfig:
    name = f"owned-{abs(hash(request.node.nodeid)):x}"
    if request.param is Engine.EDGE:
        return IndexConfig(engine=Engine.EDGE, name=name, path=folder / "index")
    server: StandIn = request.getfixturevalue("stand_in")
    return IndexConfig(engine=Engine.QDRANT, name=name, url=server.url, grpc_port=server.grpc_port)


async def opened(config: IndexConfig, owner: IndexOwner | None, **more: object) -> Index:
    collection = CollectionConfig(
        name="catalogue",
        model=ModelSpec(),
        vector=VectorSpec(),
        index=config.model_copy(update={"owner": owner, **more}),
    )
    return await open_index(collection, dimension=4, fingerprint="a")


async def test_nobody_elses_index_is_opened(config: IndexConfig) -> None:
    index = await opened(config, OURS)
    await index.upsert([POINT])
    await index.close()
    with pytest.raises(IndexMismatch, match=r"belongs to .*laptop-1.*is opened for .*laptop-2"):
        await opened(config, THEIRS)
    again = await opened(config, OURS)
    assert (await again.info()).points == 1
    await again.close()


async def test_an_index_of_an_early_release_becomes_that_of_the_first_that_opens_it(
    config: IndexConfig,
) -> None:
    before = await opened(config, None)
    await before.upsert([POINT])
    await before.close()
    now = await opened(config, OURS)
    assert (await now.info()).points == 1
    await now.close()
    with pytest.raises(IndexMismatch, match="belongs to"):
        await opened(config, THEIRS)


async def test_a_successor_of_its_owner_takes_an_index_over(config: IndexConfig) -> None:
    first = IndexOwner(cluster="c", namespace="shop", name="catalogue", uid="1")
    await (await opened(config, first)).close()
    second = first.model_copy(update={"uid": "2"})
    await (await opened(config, second)).close()
    # By its uid alone: the cluster's authority has been renewed since.
    await (await opened(config, second.model_copy(update={"cluster": "renewed"}))).close()


async def test_batch_records_have_an_owner_too(config: IndexConfig) -> None:
    mine = config.model_copy(update={"name": config.name + "-batches", "owner": OURS})
    await (await open_payload_index(mine)).close()
    with pytest.raises(IndexMismatch, match="belongs to"):
        await open_payload_index(mine.model_copy(update={"owner": THEIRS}))


async def test_two_that_shared_an_index_of_the_earlier_name_have_one_each_from_now_on(
    stand_in: StandIn,
) -> None:
    shared = IndexConfig(
        engine=Engine.QDRANT, name="shared", url=stand_in.url, grpc_port=stand_in.grpc_port
    )
    before = await opened(shared, None)
    await before.upsert([POINT])
    await before.close()
    counts = []
    for owner in (OURS, THEIRS, OURS):
        index = await opened(shared, owner, name=f"shared-{owner.cluster}", adopts="shared")
        counts.append((await index.info()).points)
        await index.close()
    assert counts == [1, 0, 1], "the first has it, and keeps it"
