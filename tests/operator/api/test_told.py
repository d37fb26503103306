"""Whatever goes wrong in a look, foreseen or not, stands in the resource's status."""

from __future__ import annotations

from typing import Any

import pytest
from e2e.cluster.api import Api
from fault_proxy import Call, Fault, FaultProxy
from operators import PLANNER, ByHand, collection, kind_named

from lookalike_operator.cluster import Cluster
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import CollectionSnapshot, Key, Manifest, Plan
from lookalike_operator.plan.names import Component, Owner
from lookalike_operator.reconcile import Planner

pytestmark = pytest.mark.apiserver


def deployment(owner: Owner, **pod: Any) -> Manifest:
    labels = {"app": "x"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata("search", Component.SERVING),
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "x"}], **pod},
            },
        },
    }


def planner(**pod: Any) -> Planner:
    """As the operator's own, with one more object."""

    def plan(snapshot: CollectionSnapshot) -> Plan:
        made = plan_collection(snapshot)
        extra = deployment(Owner("ImageCollection", snapshot.meta), **pod)
        return Plan(objects=(extra,), status=made.status)

    return Planner(plan, PLANNER.retriever)


async def conditions(
    cluster: Cluster, namespace: str, planner: Planner, looks: int = 2
) -> dict[str, Any]:
    hand = ByHand(cluster, namespace, planner)
    for _ in range(looks):
        await hand.refresh()
        verdict = await hand.look(Key("ImageCollection", namespace, "catalogue"))
        assert verdict.failure is not None
    return await _told(cluster, namespace)


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({"nodeselector": {"gpu": "yes"}}, ".spec.template.spec.nodeselector: field not declared"),
        ({"nodeSelector": ["a"]}, "nodeSelector"),
        (
            {"containers": [{"name": "c", "image": "x", "resources": {"limits": {"cpu": "lots"}}}]},
            "quantit",
        ),
        ({"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": "x"}]}]}, "Port"),
        ({"containers": [{"name": "Not_A_Name", "image": "x"}]}, "Not_A_Name"),
    ],
    ids=["typo", "list", "quantity", "port", "name"],
)
async def test_what_the_api_server_does_not_take_is_told_in_its_words(
    cluster: Cluster, api: Api, namespace: str, pod: dict[str, Any], says: str
) -> None:
    api.apply(collection(namespace))
    told = await conditions(cluster, namespace, planner(**pod))
    assert (told["Stalled"]["status"], told["Stalled"]["reason"]) == ("True", "Refused")
    assert told["Ready"]["status"] == "False"
    assert says in told["Stalled"]["message"]


def broken(_: CollectionSnapshot) -> Plan:
    raise TypeError("list indices must be integers")


async def test_a_defect_of_planning_is_told_of_a_resource_that_is_new(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    told = await conditions(cluster, namespace, Planner(broken, PLANNER.retriever), looks=1)
    assert (told["Ready"]["status"], told["Ready"]["reason"]) == ("False", "Unforeseen")
    assert told["Stalled"]["status"] == "True"
    assert told["Stalled"]["message"] == "TypeError: list indices must be integers"


async def test_it_goes_when_planning_works_again(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    await conditions(cluster, namespace, Planner(broken, PLANNER.retriever), looks=1)
    hand = ByHand(cluster, namespace)
    await hand.settle()
    reasons = {each["reason"] for each in (await _told(cluster, namespace)).values()}
    assert "Unforeseen" not in reasons


def unable(_: CollectionSnapshot) -> Plan:
    kind = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x", "namespace": "y"}}
    return Plan(objects=(kind,), status={"documents": 3})


async def test_a_defect_of_carrying_out_keeps_no_status_from_being_written(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    hand = ByHand(cluster, namespace, Planner(unable, PLANNER.retriever))
    await hand.refresh()
    key = Key("ImageCollection", namespace, "catalogue")
    assert (await hand.look(key)).failure == "UnknownKind"
    live = await cluster.get(kind_named("ImageCollection"), namespace, "catalogue")
    assert live is not None
    assert live["status"]["documents"] == 3
    trouble = hand.memory.of(key).trouble
    assert trouble is not None
    assert trouble.reason == "Unforeseen"


async def test_a_write_that_fails_and_a_permission_that_is_missing_are_told(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))

    def no_config_maps(call: Call) -> Fault | None:
        return Fault(500) if call.method == "PATCH" and "/configmaps/" in call.path else None

    def no_secrets(call: Call) -> Fault | None:
        return Fault(403, "Forbidden") if "/secrets/" in call.path else None

    async with proxy.cluster() as through:
        hand = ByHand(through, namespace)
        proxy.rule = no_config_maps
        for _ in range(3):
            await hand.refresh()
            await hand.look(Key("ImageCollection", namespace, "catalogue"))
        told = await _told(cluster, namespace)
        assert told["Degraded"]["reason"] == "WriteFailed"
        proxy.rule = None
        await hand.settle()
        assert (await _told(cluster, namespace))["Degraded"]["status"] == "False"
        qdrant = {"serviceRef": "q", "apiKeySecretRef": {"name": "key", "key": "k"}}
        api.apply(collection(namespace, "other", index={"engine": "Qdrant", "qdrant": qdrant}))
        proxy.rule = no_secrets
        await hand.refresh()
        await hand.look(Key("ImageCollection", namespace, "other"))
        told = await _told(cluster, namespace, "other")
        assert told["Stalled"]["reason"] == "Unforeseen"
        assert "the operator may not read what it needs" in told["Ready"]["message"]


async def _told(cluster: Cluster, namespace: str, name: str = "catalogue") -> dict[str, Any]:
    live = await cluster.get(kind_named("ImageCollection"), namespace, name)
    assert live is not None
    return {each["type"]: each for each in live["status"]["conditions"]}
