"""Whatever is cut off where, another look ends at the same objects: real plans, real API server."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from e2e.cluster.api import Api
from e2e.cluster.waiting import until
from fault_proxy import Call, Fault, FaultProxy
from operators import ByHand, children_of, collection, essence, kind_named, rests, retriever

from lookalike_operator.apply.stamp import APPLIED
from lookalike_operator.cluster import ApiError, Cluster

pytestmark = pytest.mark.apiserver


class Died(Exception):
    """The process is no more."""


class DiesAfter(Cluster):
    """A client whose process dies after its n-th write: before the answer, or after."""

    left = 10**9
    answered = True

    async def _send(self, method: str, *arguments: Any, **named: Any) -> Any:
        if method in {"POST", "PUT", "PATCH", "DELETE"}:
            if self.left <= 0:
                raise Died
            self.left -= 1
            answer = await super()._send(method, *arguments, **named)
            if self.left == 0 and not self.answered:
                answer.close()
                raise Died
            return answer
        return await super()._send(method, *arguments, **named)


def install(api: Api, namespace: str) -> None:
    api.apply(collection(namespace))
    api.apply(retriever(namespace))


async def test_a_collection_and_a_retriever_settle_and_then_ask_for_nothing(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    install(api, namespace)
    async with proxy.cluster() as cluster:
        hand = ByHand(cluster, namespace)
        await hand.settle()
        children = await children_of(cluster, namespace)
        kinds = {name.split("/")[0] for name in children}
        assert {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Secret", "Service"} <= kinds

        async def look() -> None:
            for key in hand.store.resources():
                await hand.look(key)

        assert await hand.undisturbed(proxy.calls, look) == []


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
async def test_a_clock_that_jumps_writes_nothing(
    proxy: FaultProxy, api: Api, namespace: str, days: int
) -> None:
    install(api, namespace)
    async with proxy.cluster() as cluster:
        hand = ByHand(cluster, namespace)
        await hand.settle()

        async def jump() -> None:
            hand.now = lambda: datetime.now(UTC) + timedelta(days=days)
            await hand.settle()
            hand.now = lambda: datetime.now(UTC)

        assert [c for c in await hand.undisturbed(proxy.calls, jump) if c.writes] == []


@pytest.mark.slow
@pytest.mark.parametrize("answered", [True, False], ids=["after-the-answer", "before-the-answer"])
async def test_killed_after_any_write_a_fresh_operator_ends_at_the_same_objects(
    plane: Any, api: Api, namespace: str, cluster: Cluster, answered: bool
) -> None:
    install(api, namespace)
    await ByHand(cluster, namespace).settle()
    wanted = {name: essence(o) for name, o in (await children_of(cluster, namespace)).items()}
    conditions = await _conditions(cluster, namespace)
    assert wanted

    n = 0
    while True:
        n += 1
        place = f"{namespace}-{n}"
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}})
        install(api, place)
        async with await DiesAfter.connect(str(plane.kubeconfig)) as dying:
            dying.left, dying.answered = n, answered
            died = False
            try:
                await ByHand(dying, place).settle()
            except Died:
                died = True
        await ByHand(cluster, place).settle()
        found = {name: essence(o) for name, o in (await children_of(cluster, place)).items()}
        assert _renamed(found, place, namespace) == _renamed(wanted, namespace, namespace), (
            f"after write {n}"
        )
        assert await _conditions(cluster, place) == conditions, f"after write {n}"
        if not died:
            break
    assert n > len(wanted), "every write has been the last one once"


async def test_deleting_both_leaves_nothing_behind(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    install(api, namespace)
    hand = ByHand(cluster, namespace)
    await hand.settle()
    for kind, name in (("Retriever", "search"), ("ImageCollection", "catalogue")):
        live = await cluster.get(kind_named(kind), namespace, name)
        assert live is not None
        await cluster.delete(kind_named(kind), namespace, name, uid=live["metadata"]["uid"])
    await hand.settle()
    assert hand.store.resources() == []

    def left() -> list[str]:
        paths = {
            f"/api/v1/namespaces/{namespace}": ("configmaps", "services", "secrets"),
            f"/apis/apps/v1/namespaces/{namespace}": ("deployments",),
            f"/apis/batch/v1/namespaces/{namespace}": ("jobs", "cronjobs"),
            f"/apis/policy/v1/namespaces/{namespace}": ("poddisruptionbudgets",),
        }
        return [
            item["metadata"]["name"]
            for root, plurals in paths.items()
            for plural in plurals
            for item in api.get(
                f"{root}/{plural}", labelSelector="app.kubernetes.io/managed-by=lookalike-operator"
            )["items"]
        ]

    until(lambda: not left(), "the garbage collector taking every child", 120)


@pytest.mark.parametrize("name", ["Deployment", "Service", "ConfigMap", "PodDisruptionBudget"])
async def test_each_child_of_a_retriever_that_is_deleted_comes_back(
    cluster: Cluster, api: Api, namespace: str, name: str
) -> None:
    install(api, namespace)
    hand = ByHand(cluster, namespace)
    await hand.settle()
    before = await children_of(cluster, namespace)
    for child in (child for child in before.values() if child["kind"] == name):
        meta = child["metadata"]
        await cluster.delete(kind_named(name), namespace, meta["name"], uid=meta["uid"])
    await hand.settle()
    after = await children_of(cluster, namespace)
    assert set(after) == set(before)


Rule = Callable[[Call], Fault | None]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(503, "ServiceUnavailable"),
        Fault(429, "TooManyRequests", retry_after=1),
        Fault(409, "Conflict"),
        Fault(0),
        Fault(500, forwarded=True),
        Fault(0, forwarded=True),
    ],
    ids=lambda fault: f"{fault.status}{'-done-all-the-same' if fault.forwarded else ''}",
)
async def test_when_every_third_write_fails_looks_repeated_end_at_the_same_objects(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str, fault: Fault
) -> None:
    install(api, namespace)
    twin = f"{namespace}-twin"
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": twin}})
    install(api, twin)
    await ByHand(cluster, twin).settle()
    wanted = {name: essence(o) for name, o in (await children_of(cluster, twin)).items()}

    writes = 0

    def rule(call: Call) -> Fault | None:
        nonlocal writes
        if not call.writes:
            return None
        writes += 1
        return fault if writes % 3 == 1 else None

    proxy.rule = rule
    async with proxy.cluster() as faulty:
        hand = ByHand(faulty, namespace)
        for _ in range(60):
            await hand.refresh()
            quiet = True
            for key in hand.store.resources():
                try:
                    quiet = rests(await hand.look(key)) and quiet
                except ApiError:
                    quiet = False
            if quiet:
                break
        assert quiet
    found = {name: essence(o) for name, o in (await children_of(cluster, namespace)).items()}
    assert _renamed(found, namespace, namespace) == _renamed(wanted, twin, namespace)
    assert writes > 3


async def _conditions(cluster: Cluster, namespace: str) -> list[tuple[str, str, str]]:
    found = []
    for kind, name in (("ImageCollection", "catalogue"), ("Retriever", "search")):
        live = await cluster.get(kind_named(kind), namespace, name)
        assert live is not None
        found += [
            (c["type"], c["status"], c["reason"])
            for c in (live.get("status") or {}).get("conditions") or ()
            if c["reason"] not in _THE_PODS_TELL
        ]
    return found


_THE_PODS_TELL = {"Starting", "Updating", "PodsStarting"}
"""Reasons that depend on how far the controllers have come with the pods."""


def _renamed(children: dict[str, Any], namespace: str, to: str) -> dict[str, Any]:
    """Neither names of the namespace inside of configuration, nor the digests of it, nor the UIDs
    that an API server gives to each owner anew, are compared."""
    return {name: _without(child, namespace, to) for name, child in children.items()}


def _without(value: Any, namespace: str, to: str) -> Any:
    if isinstance(value, dict):
        return {
            k: _without(v, namespace, to)
            for k, v in value.items()
            if not k.endswith("digest") and k != APPLIED
        }
    if isinstance(value, list):
        return [_without(each, namespace, to) for each in value]
    return _UID.sub("UID", value.replace(namespace, to)) if isinstance(value, str) else value


_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
