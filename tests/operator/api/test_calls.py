"""What a collection with its Retriever costs: each request to the API server, counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pytest
from e2e.cluster.api import Api
from fault_proxy import Call, FaultProxy
from operators import ByHand, collection, kind_named, retriever

from lookalike_operator.cluster import Cluster
from lookalike_operator.plan.model import Key, Plan
from lookalike_operator.plan.names import Component, Owner
from lookalike_operator.reconcile import Planner

pytestmark = pytest.mark.apiserver

_PLACE = re.compile(r"/apis?/.*/namespaces/[^/]+/(?P<resource>[^/]+)(/[^/]+(/(?P<sub>\w+))?)?")


def counted(calls: Iterable[Call]) -> Counter[str]:
    """`METHOD resource/subresource` -> how often."""
    found: Counter[str] = Counter()
    for call in calls:
        place = _PLACE.fullmatch(call.path)
        assert place is not None, call.path
        found["/".join(filter(None, (f"{call.method} {place['resource']}", place["sub"])))] += 1
    return found


async def test_a_new_collection_and_its_retriever_cost_a_call_for_each_object_and_status(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    api.apply(retriever(namespace))
    async with proxy.cluster() as cluster:
        hand = ByHand(cluster, namespace)
        await hand.refresh()
        before = len(proxy.calls)
        for key in hand.store.resources():
            await hand.look(key)
        assert counted(proxy.calls[before:]) == {
            "PATCH imagecollections/status": 1,
            "PATCH retrievers/status": 1,
            "PATCH configmaps": 2,
            "PATCH persistentvolumeclaims": 2,
            "PATCH deployments": 1,
            "PATCH services": 1,
            "PATCH poddisruptionbudgets": 1,
            "POST secrets": 2,
        }

        # From then on only what the cluster's controllers make of it is told.
        before = len(proxy.calls)
        await hand.settle()
        writes = counted(call for call in proxy.calls[before:] if call.writes)
        assert writes.keys() <= {
            "PATCH imagecollections/status",
            "PATCH retrievers/status",
            "POST events",
        }

        async def look() -> None:
            for key in hand.store.resources():
                await hand.look(key)

        assert await hand.undisturbed(proxy.calls, look) == []


async def test_a_fresh_operator_reads_secrets_and_nothing_else(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    api.apply(retriever(namespace))
    async with proxy.cluster() as cluster:
        await ByHand(cluster, namespace).settle()
        fresh = ByHand(cluster, namespace)

        await fresh.refresh()
        before = len(proxy.calls)
        for key in fresh.store.resources():
            await fresh.look(key)
        told = counted(proxy.calls[before:])
        assert told.pop("GET secrets") == 2
        assert told.keys() <= {"PATCH retrievers/status", "PATCH imagecollections/status"}


async def test_without_a_status_to_write_the_server_is_asked_whether_the_resource_is_there(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))

    def plan(owner: Owner) -> Plan:
        settings = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": owner.metadata("settings", Component.INDEX),
        }
        return Plan(objects=(settings,))

    async with proxy.cluster() as cluster:
        planner = Planner(lambda s: plan(Owner("ImageCollection", s.meta)), lambda _: Plan())
        hand = ByHand(cluster, namespace, planner)
        await hand.refresh()
        before = len(proxy.calls)
        await hand.look(Key("ImageCollection", namespace, "catalogue"))
        assert counted(proxy.calls[before:]) == {
            "GET imagecollections": 1,
            "PATCH configmaps": 1,
        }


async def test_an_object_that_is_to_be_new_is_not_written_over_one_that_is_there(
    cluster: Cluster, namespace: str
) -> None:
    def settings(text: str) -> dict[str, object]:
        meta = {"name": "settings", "namespace": namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {text: "1"}}

    made = await cluster.apply_new(settings("first"))
    assert made is not None
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
    assert await cluster.apply_new(settings("second")) is None
    live = await cluster.get(kind_named("ConfigMap"), namespace, "settings")
    assert live is not None
    assert live["data"] == {"first": "1"}
