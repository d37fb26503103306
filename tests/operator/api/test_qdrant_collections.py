"""A collection on a Qdrant server: made usable, mended, and deleted with it – or let go in time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from e2e.cluster.api import Api
from e2e.cluster.waiting import until
from operators import ByHand, collection, kind_named
from qdrant_client import QdrantClient
from tests.qdrant_server import StandIn, running

from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_operator.cluster import Cluster
from lookalike_operator.plan.indexes import wanted_index
from lookalike_operator.plan.model import Key, Meta

pytestmark = pytest.mark.apiserver

KEY = "a-key"


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with running(api_key=KEY) as server:
        yield server


@pytest.fixture(autouse=True)
def healed(server: StandIn) -> Iterator[None]:
    yield
    server.heal()


@pytest.fixture
def qdrant(server: StandIn) -> Iterator[QdrantClient]:
    with pytest.warns(UserWarning, match="insecure connection"):
        client = QdrantClient(url=server.url, api_key=KEY, timeout=60, check_compatibility=False)
    yield client
    client.close()


def on(url: str, namespace: str, **spec: Any) -> dict[str, Any]:
    index = {
        "engine": "Qdrant",
        "qdrant": {"url": url, "apiKeySecretRef": {"name": "qdrant", "key": "api-key"}},
    }
    fields = [{"name": "colour", "type": "Keyword"}, {"name": "price", "type": "Float"}]
    return collection(namespace, **{"index": index, "fields": fields, "sources": [], **spec})


def secret(namespace: str, key: str = KEY) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "qdrant", "namespace": namespace},
        "data": {"api-key": base64.b64encode(key.encode()).decode()},
    }


def index_of(manifest: dict[str, Any]) -> str:
    meta = manifest["metadata"]
    return wanted_index(
        Meta(meta["namespace"], meta["name"], "", 1),
        ImageCollectionSpec.model_validate(manifest["spec"]),
    )


def make(qdrant: QdrantClient, index: str) -> None:
    """As the first process that has loaded the model does."""
    made_for = {"dimension": 4, "distance": "Cosine"}
    qdrant.create_collection(index, vectors_config={}, metadata={"lookalike": made_for})


async def condition(cluster: Cluster, namespace: str, type: str) -> dict[str, Any]:
    live = await cluster.get(kind_named("ImageCollection"), namespace, "catalogue")
    assert live is not None
    found = [c for c in live["status"]["conditions"] if c["type"] == type]
    assert found, live["status"]["conditions"]
    return dict(found[0])


async def test_the_index_gets_its_payload_indexes_and_its_alias_and_loses_them_for_no_longer(
    cluster: Cluster, api: Api, namespace: str, server: StandIn, qdrant: QdrantClient
) -> None:
    manifest = on(server.url, namespace)
    index, alias = index_of(manifest), f"{namespace}.catalogue"
    api.apply(secret(namespace))
    make(qdrant, index)
    api.apply(manifest)
    hand = ByHand(cluster, namespace)
    await hand.settle()
    assert set(qdrant.get_collection(index).payload_schema) == {"colour", "price"}
    aliases = {a.alias_name: a.collection_name for a in qdrant.get_aliases().aliases}
    assert aliases[alias] == index

    # Somebody tampers; the next look at the server mends it.
    qdrant.delete_payload_index(index, "colour")
    later = ByHand(cluster, namespace)
    await later.settle()
    assert set(qdrant.get_collection(index).payload_schema) == {"colour", "price"}


async def test_with_the_collection_its_index_goes_and_with_retain_it_stays(
    cluster: Cluster, api: Api, namespace: str, server: StandIn, qdrant: QdrantClient
) -> None:
    api.apply(secret(namespace))
    for policy, stays in (("Delete", False), ("Retain", True)):
        manifest = on(server.url, namespace, deletionPolicy=policy)
        index = index_of(manifest)
        make(qdrant, index)
        api.apply(manifest)
        hand = ByHand(cluster, namespace)
        await hand.settle()
        await delete(cluster, namespace)
        await hand.settle()
        kind = kind_named("ImageCollection")
        assert await cluster.get(kind, namespace, "catalogue") is None
        assert qdrant.collection_exists(index) is stays


async def test_an_unreachable_server_is_told_of_and_does_not_hold_a_deletion_for_ever(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(secret(namespace))
    api.apply(on("http://127.0.0.1:1", namespace))
    hand = ByHand(cluster, namespace)
    await hand.settle()
    ready = await condition(cluster, namespace, "IndexReady")
    assert ready["status"] != "True"
    assert "http://127.0.0.1:1 is unreachable" in ready["message"]

    await delete(cluster, namespace)
    await hand.refresh()
    key = Key("ImageCollection", namespace, "catalogue")
    await hand.look(key)
    kind = kind_named("ImageCollection")
    assert await cluster.get(kind, namespace, "catalogue") is not None
    hand.now = lambda: datetime.now(UTC) + timedelta(days=1)
    for _ in range(4):
        await hand.refresh()
        await hand.look(key)
    assert await cluster.get(kind, namespace, "catalogue") is None
    events = api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    assert any(e["type"] == "Warning" and "index" in e["note"].lower() for e in events)


async def test_after_an_hour_without_operator_the_index_is_deleted_and_not_given_up(
    cluster: Cluster, api: Api, namespace: str, server: StandIn, qdrant: QdrantClient
) -> None:
    api.apply(secret(namespace))
    manifest = on(server.url, namespace)
    make(qdrant, index_of(manifest))
    api.apply(manifest)
    await ByHand(cluster, namespace).settle()
    await delete(cluster, namespace)
    late = ByHand(cluster, namespace)
    late.now = lambda: datetime.now(UTC) + timedelta(hours=1)
    await late.settle()
    assert await cluster.get(kind_named("ImageCollection"), namespace, "catalogue") is None
    assert not qdrant.collection_exists(index_of(manifest))
    events = api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    assert not [e for e in events if e["reason"] == "IndexOrphaned"]


async def test_an_index_of_another_cluster_is_neither_changed_nor_deleted(
    cluster: Cluster, api: Api, namespace: str, server: StandIn, qdrant: QdrantClient
) -> None:
    api.apply(secret(namespace))
    manifest = on(server.url, namespace)
    owner = {"cluster": "another", "namespace": namespace, "name": "catalogue", "uid": "another"}
    made_for = {"dimension": 4, "distance": "Cosine", "owner": owner}
    qdrant.create_collection(
        index_of(manifest), vectors_config={}, metadata={"lookalike": made_for}
    )
    api.apply(manifest)
    hand = ByHand(cluster, namespace)
    await hand.settle()
    assert qdrant.get_collection(index_of(manifest)).payload_schema == {}
    live = await cluster.get(kind_named("ImageCollection"), namespace, "catalogue")
    assert live is not None
    assert live["status"]["indexName"] != index_of(manifest)
    await delete(cluster, namespace)
    await hand.settle()
    assert await cluster.get(kind_named("ImageCollection"), namespace, "catalogue") is None
    assert qdrant.collection_exists(index_of(manifest))


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_a_key_that_is_missing_or_wrong_is_told_of(
    cluster: Cluster, api: Api, namespace: str, server: StandIn, key: str | None
) -> None:
    if key is not None:
        api.apply(secret(namespace, key))
    api.apply(on(server.url, namespace))
    await ByHand(cluster, namespace).settle()
    ready = await condition(cluster, namespace, "Ready")
    assert ready["status"] == "False"
    expected = "qdrant" if key is None else "refused the API key"
    assert expected in ready["message"], ready


async def test_the_key_itself_is_nowhere_but_in_its_secret(
    cluster: Cluster, api: Api, namespace: str, server: StandIn
) -> None:
    api.apply(secret(namespace))
    api.apply(on(server.url, namespace))
    hand = ByHand(cluster, namespace)
    await hand.settle()
    live = await cluster.get(kind_named("ImageCollection"), namespace, "catalogue")
    assert KEY not in str(live)
    for child in hand.store.children(Key("ImageCollection", namespace, "catalogue")):
        assert KEY not in str(child)


async def delete(cluster: Cluster, namespace: str) -> None:
    kind = kind_named("ImageCollection")
    live = await cluster.get(kind, namespace, "catalogue")
    assert live is not None
    await cluster.delete(kind, namespace, "catalogue", uid=live["metadata"]["uid"])


async def test_a_quota_that_refuses_the_pods_of_a_run_is_told(
    cluster: Cluster, api: Api, namespace: str, server: StandIn
) -> None:
    """The Job itself says nothing: it has no pod, and no condition."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    path = api.path(api.apply(quota))
    until(lambda: "hard" in api.get(path).get("status", {}), "quota in force", 60)
    api.apply(secret(namespace))
    source = {"name": "products", "volume": {"claimName": "images", "path": "x"}}
    api.apply(on(server.url, namespace, sources=[source]))
    hand = ByHand(cluster, namespace)
    key = Key("ImageCollection", namespace, "catalogue")
    again: list[float | None] = []

    async def told() -> str:
        await hand.refresh()
        again[:] = [(await hand.look(key)).again]
        resource = hand.store.resource(key)
        assert resource is not None
        conditions = resource.get("status", {}).get("conditions", ())
        return "".join(c["message"] for c in conditions if c["reason"] == "QuotaExceeded")

    async def eventually(there: bool) -> str:
        for _ in range(400):
            if bool(message := await told()) is there:
                return message
            await asyncio.sleep(0.3)
        raise AssertionError(f"QuotaExceeded is told: {not there}")

    message = await eventually(True)
    assert "requested: pods=1, used: pods=0, limited: pods=0" in message
    assert "raise the ResourceQuota" in message
    await eventually(True)  # with nothing to write any more
    assert again == [15.0], "no watch tells when the quota is raised"
    api.delete(path)
    await eventually(False)
