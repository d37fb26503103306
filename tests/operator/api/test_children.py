"""What is applied, what is left alone, what is pruned: against a real API server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from e2e.cluster.api import Api
from e2e.cluster.waiting import until
from fault_proxy import FaultProxy
from operators import ByHand, children_of, collection, kind_named

from lookalike_operator.apply.stamp import APPLIED
from lookalike_operator.cluster import Cluster
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    Event,
    Key,
    Manifest,
    Plan,
    ref_of,
)
from lookalike_operator.plan.names import Component, Owner
from lookalike_operator.plan.secrets import GENERATE
from lookalike_operator.reconcile import Planner

pytestmark = pytest.mark.apiserver

Render = Callable[[Owner], Plan]


def by_hand(cluster: Cluster, namespace: str, render: Render) -> ByHand:
    """An operator whose plans for collections are the test's own."""

    def plan(snapshot: CollectionSnapshot) -> Plan:
        return render(Owner("ImageCollection", snapshot.meta))

    return ByHand(cluster, namespace, Planner(plan, lambda _: Plan()))


def config_map(owner: Owner, name: str = "settings", **data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(name, Component.INDEX),
        "data": data,
    }


def service(owner: Owner) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata("front", Component.SERVING),
        # The server fills the empty address in: rendered and stored never agree.
        "spec": {"clusterIP": "", "ports": [{"name": "http", "port": 8000}]},
    }


def job(owner: Owner) -> Manifest:
    pod = {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owner.metadata("run", Component.INGESTION),
        "spec": {"suspend": True, "template": {"spec": pod}},
    }


def generated(owner: Owner) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.metadata("keys", Component.SERVING, annotations={GENERATE: "keys"}),
        "type": "Opaque",
    }


async def test_children_are_made_with_owner_and_stamp_and_at_rest_nothing_is_asked(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))

    def render(owner: Owner) -> Plan:
        return Plan(
            objects=(config_map(owner, a="1"), service(owner)),
            once=(job(owner), generated(owner)),
            status={"documents": 1},
            events=(Event("Normal", "Made", "it is made"),),
        )

    async with proxy.cluster() as cluster:
        hand = by_hand(cluster, namespace, render)
        await hand.settle()
        children = await children_of(cluster, namespace)
        assert set(children) == {"ConfigMap/settings", "Service/front", "Job/run", "Secret/keys"}
        for name, child in children.items():
            assert child["metadata"]["ownerReferences"][0]["name"] == "catalogue", name
        assert APPLIED in children["ConfigMap/settings"]["metadata"]["annotations"]

        await hand.refresh()
        before = len(proxy.calls)
        for key in hand.store.resources():
            assert (await hand.look(key)).again is None
        assert proxy.calls[before:] == []


async def test_a_fresh_operator_writes_nothing_where_all_is_as_rendered(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))

    def render(owner: Owner) -> Plan:
        return Plan(
            objects=(config_map(owner, a="1"),),
            once=(job(owner), generated(owner)),
            status={"documents": 1},
        )

    async with proxy.cluster() as cluster:
        await by_hand(cluster, namespace, render).settle()
        before = len(proxy.writes)
        await by_hand(cluster, namespace, render).settle()
        assert proxy.writes[before:] == []


async def test_an_edit_of_our_field_is_reverted_and_an_edit_of_another_stays(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    hand = by_hand(cluster, namespace, lambda owner: Plan(objects=(config_map(owner, a="1"),)))
    await hand.settle()
    maps = kind_named("ConfigMap")
    await cluster.patch(
        maps,
        namespace,
        "settings",
        {"data": {"a": "edited", "b": "theirs"}, "metadata": {"labels": {"team": "x"}}},
        manager="somebody",
    )
    await hand.settle()
    live = await cluster.get(maps, namespace, "settings")
    assert live is not None
    assert live["data"] == {"a": "1", "b": "theirs"}
    assert live["metadata"]["labels"]["team"] == "x"


async def test_a_field_that_is_no_longer_rendered_is_removed(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    data = {"a": "1", "b": "2"}
    hand = by_hand(cluster, namespace, lambda owner: Plan(objects=(config_map(owner, **data),)))
    await hand.settle()
    del data["b"]
    await hand.settle()
    live = await cluster.get(kind_named("ConfigMap"), namespace, "settings")
    assert live is not None
    assert live["data"] == {"a": "1"}


@pytest.mark.parametrize("name", ["ConfigMap/settings", "Service/front", "Job/run"])
async def test_each_child_that_is_deleted_comes_back(
    cluster: Cluster, api: Api, namespace: str, name: str
) -> None:
    api.apply(collection(namespace))
    hand = by_hand(
        cluster,
        namespace,
        lambda owner: Plan(objects=(config_map(owner, a="1"), service(owner)), once=(job(owner),)),
    )
    await hand.settle()
    first = (await children_of(cluster, namespace))[name]
    meta = first["metadata"]
    await cluster.delete(kind_named(first["kind"]), namespace, meta["name"], uid=meta["uid"])
    await hand.settle()
    assert (await children_of(cluster, namespace))[name]["metadata"]["uid"] != meta["uid"]


async def test_labels_that_somebody_removed_come_back(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    hand = by_hand(cluster, namespace, lambda owner: Plan(objects=(config_map(owner, a="1"),)))
    await hand.settle()
    maps = kind_named("ConfigMap")
    unlabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    await cluster.patch(maps, namespace, "settings", unlabelled, manager="somebody")
    await hand.settle()
    assert set(await children_of(cluster, namespace)) == {"ConfigMap/settings"}


async def test_somebody_elses_object_of_the_same_name_is_reported_and_stays_as_it_is(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    theirs: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": namespace},
        "data": {"theirs": "yes"},
    }
    before = await cluster.create(theirs)
    key = Key("ImageCollection", namespace, "catalogue")
    hand = by_hand(cluster, namespace, lambda owner: Plan(objects=(config_map(owner, a="1"),)))
    await hand.settle()
    maps = kind_named("ConfigMap")
    after = await cluster.get(maps, namespace, "settings")
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert hand.memory.of(key).foreign == (ref_of(before),)

    # Its owner lets us have it.
    adopt = {"metadata": {"annotations": {"lookalike.dev/adopt": "true"}}}
    await cluster.patch(maps, namespace, "settings", adopt, manager="somebody")
    await hand.settle()
    adopted = await cluster.get(maps, namespace, "settings")
    assert adopted is not None
    assert adopted["data"] == {"a": "1", "theirs": "yes"}
    assert adopted["metadata"]["ownerReferences"][0]["name"] == "catalogue"
    assert hand.memory.of(key).foreign == ()


async def test_what_a_plan_no_longer_names_is_deleted_unless_it_is_kept_or_not_ours(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    names = ["one", "two", "three"]
    keep: list[str] = []

    def render(owner: Owner) -> Plan:
        every = {name: config_map(owner, name, a="1") for name in ("one", "two", "three")}
        return Plan(
            objects=tuple(every[name] for name in names),
            keep=tuple(ref_of(every[name]) for name in keep),
        )

    hand = by_hand(cluster, namespace, render)
    await hand.settle()
    live = (await children_of(cluster, namespace))["ConfigMap/one"]
    lookalike = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "not-ours",
            "namespace": namespace,
            "labels": live["metadata"]["labels"],
        },
    }
    await cluster.create(lookalike)
    names[:] = ["one"]
    keep[:] = ["two"]
    await hand.settle()
    assert set(await children_of(cluster, namespace)) == {
        "ConfigMap/one",
        "ConfigMap/two",
        "ConfigMap/not-ours",
    }


async def test_nothing_is_made_for_a_resource_that_is_gone_though_nobody_told_us(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    live = await cluster.create(collection(namespace))
    hand = by_hand(cluster, namespace, lambda owner: Plan(objects=(config_map(owner, a="1"),)))
    await hand.refresh()
    kind, uid = kind_named("ImageCollection"), live["metadata"]["uid"]
    await cluster.delete(kind, namespace, "catalogue", uid=uid)
    key = Key("ImageCollection", namespace, "catalogue")
    assert (await hand.look(key)).gone
    assert await children_of(cluster, namespace) == {}
    assert hand.store.resources() == []


async def test_nor_in_the_name_of_its_successor(cluster: Cluster, api: Api, namespace: str) -> None:
    live = await cluster.create(collection(namespace))
    hand = by_hand(cluster, namespace, lambda owner: Plan(objects=(config_map(owner, a="1"),)))
    await hand.refresh()
    kind, uid = kind_named("ImageCollection"), live["metadata"]["uid"]
    await cluster.delete(kind, namespace, "catalogue", uid=uid)
    successor = await cluster.create(collection(namespace))
    await hand.look(Key("ImageCollection", namespace, "catalogue"))
    assert await children_of(cluster, namespace) == {}
    await hand.settle()
    made = (await children_of(cluster, namespace))["ConfigMap/settings"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == successor["metadata"]["uid"]


async def test_a_successor_of_the_same_name_gets_secrets_of_its_own(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    live = await cluster.create(collection(namespace))
    hand = by_hand(cluster, namespace, lambda owner: Plan(once=(generated(owner),)))
    await hand.settle()
    kind, uid = kind_named("ImageCollection"), live["metadata"]["uid"]
    await cluster.delete(kind, namespace, "catalogue", uid=uid)
    secret = f"/api/v1/namespaces/{namespace}/secrets/keys"
    until(lambda: api.find(secret) is None, "end of the first one's Secret", 60)
    successor = await cluster.create(collection(namespace))
    await hand.settle()
    made = (await children_of(cluster, namespace))["Secret/keys"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == successor["metadata"]["uid"]


@pytest.mark.parametrize("doubtful", [True, False])
async def test_a_deleted_secret_comes_back_when_pods_wait_and_else_at_a_later_resync(
    cluster: Cluster, api: Api, namespace: str, doubtful: bool
) -> None:
    api.apply(collection(namespace))
    plan = partial(Plan, doubtful=doubtful)
    hand = by_hand(cluster, namespace, lambda owner: plan(once=(generated(owner),)))
    await hand.settle()
    api.delete(f"/api/v1/namespaces/{namespace}/secrets/keys")
    await hand.settle()
    assert await children_of(cluster, namespace) == {}, "seen a moment ago"
    hand.passed = 20.0
    await hand.settle()
    assert set(await children_of(cluster, namespace)) == ({"Secret/keys"} if doubtful else set())
    hand.passed = 700.0
    await hand.settle()
    assert set(await children_of(cluster, namespace)) == {"Secret/keys"}


async def test_a_refused_object_stops_the_look_before_anything_is_pruned(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    broken = False

    def render(owner: Owner) -> Plan:
        if not broken:
            return Plan(objects=(config_map(owner, "old", a="1"),))
        wrong = {**config_map(owner, "new"), "data": {"not a key!": "1"}}
        return Plan(objects=(wrong,), status={"documents": 7})

    hand = by_hand(cluster, namespace, render)
    await hand.settle()
    broken = True
    key = Key("ImageCollection", namespace, "catalogue")
    verdict = await hand.look(key)
    assert verdict.failure == "RefusedInvalid"
    assert set(await children_of(cluster, namespace)) == {"ConfigMap/old"}
    ((ref, said),) = hand.memory.of(key).refused
    assert ref.name == "new"
    assert "not a key!" in said
    # The status tells of it all the same.
    live = await cluster.get(kind_named("ImageCollection"), namespace, "catalogue")
    assert live is not None
    assert live["status"]["documents"] == 7


async def test_a_stale_view_is_refused_rather_than_written_over_what_is_newer(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    hand = by_hand(cluster, namespace, lambda owner: Plan(status={"documents": 2}))
    await hand.refresh()
    labelled = {"metadata": {"labels": {"team": "x"}}}
    kind = kind_named("ImageCollection")
    await cluster.patch(kind, namespace, "catalogue", labelled, manager="somebody")
    verdict = await hand.look(Key("ImageCollection", namespace, "catalogue"))
    assert verdict.failure == "Conflict"
    await hand.settle()
    live = await cluster.get(kind, namespace, "catalogue")
    assert live is not None
    assert live["status"]["documents"] == 2


async def test_the_finalizer_comes_first_and_goes_last(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))

    def render(owner: Owner) -> Plan:
        if owner.meta.deleting:
            return Plan(hands_off=True, remove_finalizer=True)
        return Plan(add_finalizer=True)

    hand = by_hand(cluster, namespace, render)
    await hand.settle()
    kind = kind_named("ImageCollection")
    live = await cluster.get(kind, namespace, "catalogue")
    assert live is not None
    assert live["metadata"]["finalizers"] == ["lookalike.dev/index"]
    await cluster.delete(kind, namespace, "catalogue", uid=live["metadata"]["uid"])
    assert await cluster.get(kind, namespace, "catalogue") is not None
    await hand.settle()
    assert await cluster.get(kind, namespace, "catalogue") is None


async def test_the_same_event_is_written_once_even_by_another_process(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    said = [Event("Warning", "Broken", "it is broken")]

    def render(_: Owner) -> Plan:
        return Plan(events=tuple(said))

    for _ in range(2):
        hand = by_hand(cluster, namespace, render)
        for _ in range(2):
            await hand.settle()
    said.append(Event("Normal", "Mended", "it is mended"))
    await by_hand(cluster, namespace, render).settle()
    events = api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    assert sorted(event["reason"] for event in events) == ["Broken", "Mended"]
    assert events[0]["regarding"]["name"] == "catalogue"
