"""Whatever somebody edits in a child of ours, the next look takes it back, or says why not."""

from __future__ import annotations

import copy
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from e2e.cluster.api import Api
from fault_proxy import FaultProxy
from operators import ByHand, children_of, collection, essence, kind_named, retriever

from lookalike_operator.apply.status import merge_patch
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.plan.model import Key, Manifest

pytestmark = pytest.mark.apiserver

Edit = Callable[[Cluster, str, int], Awaitable[Manifest]]

SCHEDULED = {
    "name": "products",
    "volume": {"claimName": "images", "path": "x"},
    "schedule": "0 3 * * *",
}


async def installed(cluster: Cluster, api: Api, namespace: str) -> ByHand:
    api.apply(collection(namespace, sources=[SCHEDULED]))
    access = {"networkPolicy": True, "ingress": {"host": "search.example"}}
    api.apply(retriever(namespace, access=access))
    hand = ByHand(cluster, namespace)
    await hand.settle()
    return hand


EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "port": ("Service/search", {"ports": [{"name": "http", "port": 80, "targetPort": 8000}]}),
    "one more key in a selector": ("Service/search", {"selector": {"team": "x"}}),
    "NodePort": ("Service/search", {"type": "NodePort"}),
    "session affinity": ("Service/search", {"sessionAffinity": "ClientIP"}),
    "strategy": (
        "Deployment/search",
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    ),
    "node selector": ("Deployment/search", {"template": {"spec": {"nodeSelector": {"a": "b"}}}}),
    "paused": ("Deployment/search", {"paused": True}),
    "label of pods": ("Deployment/search", {"template": {"metadata": {"labels": {"a": "b"}}}}),
    "host network": ("Deployment/search", {"template": {"spec": {"hostNetwork": True}}}),
    "replicas": ("Deployment/search", {"replicas": 7}),
    "suspended": ("CronJob/catalogue-products", {"suspend": True}),
    "time zone": ("CronJob/catalogue-products", {"timeZone": "Asia/Tokyo"}),
    "budget": ("PodDisruptionBudget/search", {"maxUnavailable": None, "minAvailable": 1}),
    "one more label that a policy selects by": (
        "NetworkPolicy/search",
        {"podSelector": {"matchLabels": {"a": "b"}}},
    ),
    "one more host": ("Ingress/search", {"rules": [{"host": "another.example"}]}),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_is_taken_back(cluster: Cluster, api: Api, namespace: str, edit: str) -> None:
    hand = await installed(cluster, api, namespace)
    name, spec = EDITS[edit]
    await _edited_and_taken_back(hand, name, spec)


async def test_an_added_variable_and_an_added_container_are_taken_back(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    hand = await installed(cluster, api, namespace)
    live = (await children_of(cluster, namespace))["Deployment/search"]
    containers = copy.deepcopy(live["spec"]["template"]["spec"]["containers"])
    containers[0].setdefault("env", []).append({"name": "ADDED", "value": "1"})
    containers.append({"name": "another", "image": "x"})
    await _edited_and_taken_back(
        hand, "Deployment/search", {"template": {"spec": {"containers": containers}}}
    )


async def test_a_restart_that_somebody_asked_for_is_left_alone(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    hand = await installed(cluster, api, namespace)
    asked = {"kubectl.kubernetes.io/restartedAt": "2026-03-01T12:00:00Z"}
    patch = {"spec": {"template": {"metadata": {"annotations": asked}}, "paused": True}}
    kind = kind_named("Deployment")
    await cluster.patch(kind, namespace, "search", patch, manager="kubectl-rollout")
    await hand.settle()
    live = await cluster.get(kind, namespace, "search")
    assert live is not None
    assert asked.items() <= live["spec"]["template"]["metadata"]["annotations"].items()
    assert "paused" not in live["spec"]


async def _edited_and_taken_back(hand: ByHand, name: str, spec: dict[str, Any]) -> bool:
    """False where the API server does not take the edit."""
    before = (await children_of(hand.cluster, hand.namespace))[name]
    kind = kind_named(before["kind"])
    try:
        edited = await hand.cluster.patch(
            kind, hand.namespace, before["metadata"]["name"], {"spec": spec}, manager="somebody"
        )
    except ApiError as error:
        if error.refused:
            return False
        raise
    await hand.refresh()
    for key in hand.store.resources():
        await hand.look(key)
    after = await hand.cluster.get(kind, hand.namespace, before["metadata"]["name"])
    assert after is not None
    assert essence(after)["spec"] == essence(before)["spec"], f"{name}: {spec} -> {edited['spec']}"
    return True


@pytest.mark.parametrize("name", ["search-api-keys", "search-internal"])
async def test_a_generated_secret_that_is_emptied_is_told_and_one_that_is_deleted_is_made_again(
    cluster: Cluster, api: Api, namespace: str, name: str
) -> None:
    """The operator may not change a Secret, so that nobody's keys are ever replaced by it."""
    hand = await installed(cluster, api, namespace)
    kind, key = kind_named("Secret"), Key("Retriever", namespace, "search")
    made = await cluster.get(kind, namespace, name)
    assert made is not None
    (entry,) = made["data"]
    await cluster.patch(kind, namespace, name, {"data": {entry: None}}, manager="somebody")
    hand.passed += 700
    for _ in range(2):
        await hand.refresh()
        await hand.look(key)
    live = await cluster.get(kind_named("Retriever"), namespace, "search")
    assert live is not None
    stalled = _condition(live, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "SecretEmptied")
    assert f"the key {entry} was removed from Secret/{name}" in stalled["message"]
    await cluster.delete(kind, namespace, name, uid=made["metadata"]["uid"])
    await hand.settle()
    again = await cluster.get(kind, namespace, name)
    assert again is not None
    assert set(again["data"]) == {entry}
    live = await cluster.get(kind_named("Retriever"), namespace, "search")
    assert live is not None
    assert _condition(live, "Stalled")["status"] == "False"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["Service/search", "Deployment/search", "CronJob/catalogue-products",
     "PodDisruptionBudget/search", "NetworkPolicy/search", "Ingress/search"],
)  # fmt: skip
async def test_any_single_edit_of_a_spec_is_taken_back(
    cluster: Cluster, api: Api, namespace: str, name: str
) -> None:
    hand = await installed(cluster, api, namespace)
    # No fight: in this test one person changes many things within a minute.
    live = (await children_of(cluster, namespace))[name]
    edits = list(_single_edits(live["spec"]))
    taken = 0
    for spec in random.Random(8).sample(edits, min(30, len(edits))):
        hand.passed += 3700
        patch = merge_patch(live["spec"], spec)
        taken += bool(patch) and await _edited_and_taken_back(hand, name, patch)
    assert taken > 0


def _single_edits(value: Any) -> Iterator[Any]:
    """The value with one thing changed, removed or added somewhere in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {k: v for k, v in value.items() if k != key}
            for changed in _single_edits(inner):
                yield {**value, key: changed}
        if all(isinstance(inner, str) for inner in value.values()):
            yield {**value, "added": "x"}
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield [*value[:i], *value[i + 1 :]]
            for changed in _single_edits(inner):
                yield [*value[:i], changed, *value[i + 1 :]]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, str):
        yield value + "x"


async def test_a_fight_over_a_field_is_braked_and_the_other_manager_is_named(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    await installed(cluster, api, namespace)
    async with proxy.cluster() as ours:
        hand = ByHand(ours, namespace)
        await hand.settle()
        key = Key("Retriever", namespace, "search")
        kind = kind_named("Deployment")
        before = len(proxy.writes)
        verdicts = []
        for number in range(25):
            await cluster.patch(
                kind, namespace, "search", {"spec": {"replicas": 3 + number % 2}}, manager="scaler"
            )
            await hand.refresh()
            verdicts.append(await hand.look(key))
        writes = [w for w in proxy.writes[before:] if "/deployments/" in w.path]
        # What went wrong at one look is told by the next.
        for _ in range(2):
            await hand.refresh()
            await hand.look(key)
    assert len(writes) <= 7
    assert verdicts[-1].failure == "FieldsContested"
    assert verdicts[-1].at_least > 0
    live = await cluster.get(kind_named("Retriever"), namespace, "search")
    assert live is not None
    stalled = _condition(live, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "FieldsContested")
    assert "scaler" in stalled["message"]
    assert "replicas" in stalled["message"]


async def _applied_by_force(cluster: Cluster, namespace: str, number: int) -> Manifest:
    """As `kubectl apply --server-side --force-conflicts --field-manager=flux` does."""
    kind = kind_named("Deployment")
    return await cluster._request(
        *("PATCH", "apply", kind, kind.path(namespace, "search")),
        query={"fieldManager": "flux", "force": "true"},
        body={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "search", "namespace": namespace},
            "spec": {"progressDeadlineSeconds": 700 + number},
        },
        content_type="application/apply-patch+yaml",
    )


async def _scaled(cluster: Cluster, namespace: str, replicas: int) -> Manifest:
    """Through another API group: the Scale of autoscaling/v1, as an autoscaler does."""
    kind = kind_named("Deployment")
    body = {"spec": {"replicas": replicas}}
    await cluster.patch(kind, namespace, "search", body, subresource="scale", manager="flux")
    live = await cluster.get(kind, namespace, "search")
    assert live is not None
    return live


@pytest.mark.parametrize("edit", [_applied_by_force, _scaled])
async def test_a_minute_of_edits_twice_a_second_by_another_controller_is_not_answered_in_kind(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str, edit: Edit
) -> None:
    await installed(cluster, api, namespace)
    async with proxy.cluster() as ours:
        hand = ByHand(ours, namespace)
        await hand.settle()
        key = Key("Retriever", namespace, "search")
        before = len(proxy.writes)
        for number in range(120):
            # A watch brings it, and nothing else.
            hand.store.put(await edit(cluster, namespace, 3 + number % 2))
            await hand.look(key)
            hand.passed += 0.5
        writes = proxy.writes[before:]
    # A few at once, one after 15 s and one 30 s later.
    assert 6 <= len([w for w in writes if "/deployments/" in w.path]) <= 8
    if edit is not _scaled:
        # Nor does the status follow each edit; but it does show how many replicas there are.
        assert len([w for w in writes if w.path.endswith("/status")]) <= 20
    live = await cluster.get(kind_named("Retriever"), namespace, "search")
    assert live is not None
    stalled = _condition(live, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "FieldsContested")
    assert "Field manager flux has changed it back" in stalled["message"]


def _condition(live: Manifest, type: str) -> dict[str, Any]:
    return next(dict(c) for c in live["status"]["conditions"] if c["type"] == type)
