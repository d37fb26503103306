"""`lookalike gc --qdrant-url`: the cluster says what is in use, the server what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from tests.qdrant_server import StandIn, running

from lookalike_cli.gc import Done, _on_server
from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ImageCollectionSpec, ModelSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_operator.plan.indexes import wanted_index
from lookalike_operator.plan.model import Meta
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.open import open_index
from lookalike_serving.index.protocol import Point

SPEC = {"index": {"engine": "Qdrant", "qdrant": {"url": "http://q:6333"}}}


@dataclass
class Cluster:
    """What is asked of one: lists of our resources."""

    identity: str
    items: list[dict[str, Any]] = field(default_factory=list)

    async def list(self, kind: Any, namespace: str | None) -> Any:
        return SimpleNamespace(items=[each for each in self.items if each["kind"] == kind.kind])


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with running() as server:
        yield server


def resource(model: dict[str, Any] | None = None) -> dict[str, Any]:
    meta = {"namespace": "shop", "name": "catalogue", "uid": "u", "generation": 1}
    spec = {**SPEC, **({"model": model} if model else {})}
    kind = {"apiVersion": "lookalike.dev/v1alpha1", "kind": "ImageCollection"}
    return {**kind, "metadata": meta, "spec": spec}


def index_of(resource: dict[str, Any]) -> str:
    spec = ImageCollectionSpec.model_validate(resource["spec"])
    return wanted_index(Meta("shop", "catalogue", "u", 1), spec)


def made(server: StandIn, name: str, cluster: str) -> str:
    """An index with one upload."""

    async def make() -> None:
        uid = "u" if cluster == "ours" else "v"
        owner = IndexOwner(cluster=cluster, namespace="shop", name="catalogue", uid=uid)
        config = IndexConfig(
            engine=Engine.QDRANT,
            name=name,
            url=server.url,
            grpc_port=server.grpc_port,
            owner=owner,
        )
        index = await open_index(
            CollectionConfig(
                name="catalogue", model=ModelSpec(), vector=VectorSpec(), index=config
            ),
            dimension=4,
            fingerprint="f",
        )
        vector = np.ones(4, dtype=np.float32)
        await index.upsert(
            [Point(point_id("c", "1"), vector, payload({}, Origin("1", "upload:1")))]
        )
        await index.close()

    asyncio.run(make())
    return name


def gc(cluster: Cluster, server: StandIn, *names: str, yes: bool = False) -> Done:
    return asyncio.run(_on_server(cluster, server.url, list(names), yes))  # type: ignore[arg-type]


def test_what_no_collection_of_the_cluster_uses_is_listed_and_dropped_when_told_to(
    server: StandIn,
) -> None:
    now = resource()
    before = resource({"provider": "Timm", "name": "earlier"})
    live = made(server, index_of(now), "ours")
    earlier = made(server, index_of(before), "ours")
    theirs = made(server, "theirs-0", "theirs")
    cluster = Cluster("ours", [now])

    [found] = gc(cluster, server).found
    assert (found.name, found.collection, found.model) == (earlier, "shop/catalogue", "Demo")
    assert (found.documents, found.only_here) == (1, 1)

    refused = gc(cluster, server, earlier, live, theirs)
    assert refused.dropped == []
    assert "add --yes" in refused.failures[0]
    assert all(
        "indexes that are in use or belong to others are never deleted" in f
        for f in refused.failures[1:]
    )

    assert gc(cluster, server, earlier, live, theirs, yes=True).dropped == [earlier]
    client = QdrantClient(url=server.url, check_compatibility=False)
    assert {each.name for each in client.get_collections().collections} == {live, theirs}
    client.close()


def test_a_key_from_the_environment_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_QDRANT_API_KEY", "k")
    with running(api_key="k") as server:
        assert gc(Cluster("ours"), server).found == []
