"""Indexes that are left behind on a Qdrant server, as `lookalike up` with one leaves them."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from tests.qdrant_server import StandIn
from tests.support.configs import serving_config

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_crds.naming import index_name
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.open import open_index
from lookalike_serving.index.protocol import IndexMismatch, IndexUnavailable, Point
from lookalike_serving.indexes.left_behind import (
    Kept,
    LeftBehind,
    drop,
    left_behind,
    left_on_servers,
)
from lookalike_serving.indexes.superseded import check_nothing_left

EARLIER = ModelSpec(provider="Timm", name="earlier")
LATER = ModelSpec(provider="Timm", name="later")


@pytest.fixture
def here() -> str:
    """The id of a data folder: each test has one of its own on the one server."""
    return uuid.uuid4().hex[:16]


def collection(
    server: StandIn, folder: str, model: ModelSpec, sources: tuple[str, ...] = ("products",)
) -> CollectionConfig:
    return CollectionConfig(
        name="shop",
        model=model,
        vector=VectorSpec(),
        index=IndexConfig(
            engine=Engine.QDRANT,
            name=index_name("shop", model, folder),
            url=server.url,
            grpc_port=server.grpc_port,
            owner=IndexOwner(cluster=folder, name="shop"),
        ),
        sources=sources,
    )


async def fill(config: CollectionConfig, *sources: str | None) -> str:
    """Its index, with a document of each source; None: an upload."""
    index = await open_index(config, dimension=4, fingerprint="f")
    await index.upsert(
        [
            Point(
                point_id("shop", str(i)),
                np.eye(4, dtype=np.float32)[i],
                payload({}, Origin(str(i), f"upload:{i}", source=source)),
            )
            for i, source in enumerate(sources)
        ]
    )
    await index.close()
    return config.index.name


async def test_the_index_of_an_earlier_model_is_found_counted_and_dropped(
    stand_in: StandIn, here: str, tmp_path: Path
) -> None:
    earlier = await fill(collection(stand_in, here, EARLIER), "products", "old", None)
    await fill(collection(stand_in, here, LATER), "products")
    await fill(collection(stand_in, "another" + here[7:], EARLIER), None)
    config = serving_config(tmp_path, collection(stand_in, here, LATER))
    [found] = await left_behind(config)
    assert await left_on_servers(config) == [earlier]
    assert found == LeftBehind(
        earlier, stand_in.url, "shop", "Timm earlier", documents=3, only_here=2
    )
    with pytest.raises(Kept, match="2 documents that no source"):
        await drop(found, lambda: config, with_documents=False)
    used = serving_config(tmp_path, collection(stand_in, here, EARLIER))
    with pytest.raises(Kept, match="in use"):
        await drop(found, lambda: used, with_documents=True)
    await drop(found, lambda: config, with_documents=True)
    assert await left_behind(config) == []
    index = await open_index(config.collections[0], dimension=4, fingerprint="f")
    assert await index.count() == 1, "the one in use stays"
    await index.close()


@pytest.mark.parametrize(("sources", "lost"), [(("products",), 1), ((), 2)])
async def test_another_model_is_refused_while_documents_would_be_left_behind(
    stand_in: StandIn, here: str, tmp_path: Path, sources: tuple[str, ...], lost: int
) -> None:
    earlier = await fill(collection(stand_in, here, EARLIER), "products", None)
    later = collection(stand_in, here, LATER, sources)
    with pytest.raises(IndexMismatch) as refused:
        await check_nothing_left(later, tmp_path)
    assert str(refused.value).startswith(f"{lost} documents of collection shop")
    assert f"lookalike gc --data-dir {tmp_path} --drop {earlier} --yes" in str(refused.value)
    await check_nothing_left(collection(stand_in, here, EARLIER), tmp_path)
    await fill(later)  # made before this was looked at
    await check_nothing_left(later, tmp_path)


async def test_what_sources_bring_again_and_what_others_have_is_in_nobodys_way(
    stand_in: StandIn, here: str, tmp_path: Path
) -> None:
    await fill(collection(stand_in, here, EARLIER), "products")
    await fill(collection(stand_in, uuid.uuid4().hex[:16], EARLIER), None)
    await check_nothing_left(collection(stand_in, here, LATER), tmp_path)


async def test_uploads_in_an_edge_index_are_not_left_for_one_on_a_server(
    here: str, stand_in: StandIn, tmp_path: Path
) -> None:
    wanted = collection(stand_in, here, LATER)
    folder = tmp_path / "indexes" / "shop-earlier"
    edge = IndexConfig(engine=Engine.EDGE, name="x", path=folder, owner=wanted.index.owner)
    await fill(wanted.model_copy(update={"index": edge}), None)
    with pytest.raises(IndexMismatch, match=r"^1 documents .*shop-earlier"):
        await check_nothing_left(wanted, tmp_path)
    await fill(wanted)
    await check_nothing_left(wanted, tmp_path)


async def test_a_server_that_does_not_answer_is_no_reason_to_go_on(
    here: str, stand_in: StandIn, tmp_path: Path
) -> None:
    nowhere = collection(stand_in, here, LATER)
    index = nowhere.index.model_copy(update={"url": "http://127.0.0.1:9", "grpc_port": None})
    with pytest.raises(IndexUnavailable, match="does not answer"):
        await check_nothing_left(nowhere.model_copy(update={"index": index}), tmp_path)
