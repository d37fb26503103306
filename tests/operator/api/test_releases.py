"""Of two releases that watch the same namespaces one acts, and the other writes nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.cluster.api import Api
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.waiting import until
from fault_proxy import Call, Fault, FaultProxy
from operators import InThread, collection, kind_named

from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.engine.namespaces import (
    ASKED_BY,
    MARK_NAME,
    Namespaces,
    holder_of,
    release_name,
)
from lookalike_operator.release import release_marks
from lookalike_operator.settings import MarkTimes

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

TIMES = MarkTimes(look=0.3, trust=2.0, answer=4.0, ask=1.0)
LEASE = kind_named("Lease")


@pytest.fixture
def other_proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(plane.server, plane.credentials) as proxy:
        yield proxy


def mark(api: Api, namespace: str) -> dict[str, Any] | None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{MARK_NAME}"
    return api.find(path)


def release(
    proxy: FaultProxy, name: str, *watches: str, times: MarkTimes = TIMES, **options: Any
) -> InThread:
    """A release installed in the namespace `name`; it watches all if it names none."""
    return InThread(proxy, name, release=name, watches=watches, marks=times, **options)


def writes(proxy: FaultProxy, namespace: str = "") -> list[Call]:
    """Those of anything but marks."""
    return [
        call
        for call in proxy.writes
        if f"/leases/{MARK_NAME}" not in call.path
        and not call.path.endswith("/leases")
        and f"/namespaces/{namespace}" in call.path
    ]


def nothing_else(api: Api) -> None:
    """Other tests leave their resources, and a release that watches all would act on them."""

    def delete(plural: str, meta: dict[str, Any]) -> None:
        path = f"/apis/lookalike.dev/v1alpha1/namespaces/{meta['namespace']}/{plural}"
        if meta.get("finalizers"):
            api.patch(f"{path}/{meta['name']}", {"metadata": {"finalizers": None}})
        if "deletionTimestamp" not in meta:
            api.delete(f"{path}/{meta['name']}")

    with ThreadPoolExecutor(8) as side_by_side:
        for plural in ("retrievers", "imagecollections"):
            left = api.get(f"/apis/lookalike.dev/v1alpha1/{plural}")["items"]
            metas = [each["metadata"] for each in left]
            list(side_by_side.map(partial(delete, plural), metas))


def observed(api: Api, namespace: str) -> bool:
    path = f"/apis/lookalike.dev/v1alpha1/namespaces/{namespace}/imagecollections/catalogue"
    live = api.get(path)
    observed = (live.get("status") or {}).get("observedGeneration")
    return bool(observed == live["metadata"]["generation"])


def edited(api: Api, namespace: str) -> None:
    """Somebody changes a resource several times: two that act would both write, sooner or later."""
    for size in range(1, 9):
        api.apply(collection(namespace, ingestion={"batchSize": size}))
        until(lambda: observed(api, namespace), "the change to be taken in", 60)


def elsewhere(operator: InThread) -> float:
    """What its metrics say: namespaces in which another release acts."""
    text = httpx.get(f"{operator.url}/metrics").text
    (line,) = re.findall(r"^lookalike_operator_namespaces_of_others (.*)$", text, re.M)
    return float(line)


# -- whole operators -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [("all", "list"), ("list", "all"), ("list", "list")],
    ids=lambda scope: scope,
)
def test_the_second_release_writes_nothing_and_takes_over_when_the_first_has_gone(
    proxy: FaultProxy,
    other_proxy: FaultProxy,
    api: Api,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
    first: str,
    second: str,
) -> None:
    def scope(name: str) -> tuple[str, ...]:
        return () if name == "all" else (namespace,)

    if "all" in (first, second):
        nothing_else(api)
    api.apply(collection(namespace))
    with release(proxy, "release-one", *scope(first)):
        until(lambda: observed(api, namespace), "the first release to act", 120)
        assert holder_of(mark(api, namespace) or {}) == release_name("release-one")
        with release(other_proxy, "release-two", *scope(second)) as two:
            until(lambda: elsewhere(two) > 0, "the second release to find the first", 60)
            api.apply(collection(namespace, vector={"onDisk": True}))
            until(lambda: observed(api, namespace), "the first release to go on", 60)
            # Longer than it takes until somebody who does not answer has gone.
            time.sleep(TIMES.answer * 1.1)
            assert writes(other_proxy) == []
            assert (
                f"another release is active in namespace {namespace}: release-one/" in caplog.text
            )
            proxy.rule = lambda _: Fault(0)
            made = len(writes(proxy, namespace))
            until(lambda: bool(two.operator and two.operator.namespaces.ours(namespace)), "it", 60)
            assert holder_of(mark(api, namespace) or {}) == release_name("release-two")
            api.apply(collection(namespace, vector={"onDisk": False}))
            until(lambda: observed(api, namespace), "the second release to act", 60)
            assert len(writes(proxy, namespace)) == made


def test_of_two_releases_that_start_at_the_same_instant_one_acts(
    proxy: FaultProxy, other_proxy: FaultProxy, api: Api, namespace: str
) -> None:
    with (
        release(proxy, "release-one", namespace) as one,
        release(other_proxy, "release-two", namespace) as two,
    ):
        until(lambda: one.working and two.working, "both to work", 60)
        api.apply(collection(namespace))
        until(lambda: observed(api, namespace), "one of them to act", 60)
        until(lambda: elsewhere(one) + elsewhere(two) == 1, "the other to know", 60)
        edited(api, namespace)
        assert [bool(writes(each)) for each in (proxy, other_proxy)] in (
            [True, False],
            [False, True],
        )


def test_where_only_one_of_them_watches_each_acts(
    proxy: FaultProxy, other_proxy: FaultProxy, api: Api, namespace: str
) -> None:
    shared, alone = f"{namespace}-shared", f"{namespace}-alone"
    for each in (shared, alone):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}})
        api.apply(collection(each))
    with release(proxy, "release-one", shared):
        until(lambda: observed(api, shared), "the first release to act", 120)
        with release(other_proxy, "release-two", shared, alone) as two:
            until(lambda: observed(api, alone), "the second release to act", 60)
            until(lambda: elsewhere(two) == 1, "it to find the first", 60)
            edited(api, shared)
            assert writes(other_proxy, shared) == []


def test_pods_of_one_release_follow_each_other_at_once_and_uninstalling_leaves_nothing(
    proxy: FaultProxy, other_proxy: FaultProxy, api: Api, namespace: str, plane: ControlPlane
) -> None:
    long = MarkTimes(look=0.3, trust=100, answer=1000, ask=1)
    api.apply(collection(namespace))
    with release(proxy, "release-one", namespace, times=long):
        until(lambda: observed(api, namespace), "the first pod to act", 60)
    with release(other_proxy, "release-one", namespace, times=long):
        api.apply(collection(namespace, vector={"onDisk": True}))
        until(lambda: observed(api, namespace), "the second pod to act", 60)

    async def uninstalled(name: str) -> None:
        async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
            await release_marks(cluster, release_name(name), [namespace])

    asyncio.run(uninstalled("release-two"))
    assert mark(api, namespace) is not None, "another release's mark is not touched"
    asyncio.run(uninstalled("release-one"))
    assert mark(api, namespace) is None
    with release(proxy, "release-two", namespace, times=long):
        api.apply(collection(namespace))
        until(lambda: observed(api, namespace), "the next release to act at once", 60)


def test_a_release_that_can_act_nowhere_is_not_ready_and_tells_whose_the_namespaces_are(
    proxy: FaultProxy, other_proxy: FaultProxy, api: Api, namespace: str
) -> None:
    api.apply(collection(namespace))
    with release(proxy, "release-one", namespace) as one:
        until(lambda: observed(api, namespace), "the first release to act", 120)
        assert one.operator is not None
        assert httpx.get(f"{one.url}/readyz").status_code == 200
        with release(other_proxy, "release-two", namespace) as two:
            until(lambda: elsewhere(two) == 1, "the second release to find the first", 60)
            answer = httpx.get(f"{two.url}/readyz")
            assert answer.status_code == 503
            assert f"{namespace}: release-one/lookalike-operator" in answer.text


def test_without_the_right_to_mark_a_namespace_nothing_is_written_there(
    proxy: FaultProxy, api: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(call: Call) -> Fault | None:
        return Fault(403, "Forbidden") if "/leases" in call.path else None

    proxy.rule = forbidden
    api.apply(collection(namespace))
    with release(proxy, "release-one", namespace) as one:
        until(lambda: one.working, "it to work", 60)
        until(lambda: "cannot read which release" in caplog.text, "its word", 60)
        assert httpx.get(f"{one.url}/readyz").status_code == 503
        assert writes(proxy) == []
        proxy.rule = None
        until(lambda: observed(api, namespace), "it to act once it may", 60)


def test_a_mark_goes_with_the_last_resource_of_its_namespace(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    with release(proxy, "release-one", namespace):
        api.apply(collection(namespace))
        until(lambda: observed(api, namespace), "the release to act", 60)
        api.delete(
            f"/apis/lookalike.dev/v1alpha1/namespaces/{namespace}/imagecollections/catalogue"
        )
        until(lambda: mark(api, namespace) is None, "the mark to go", 60)


# -- marks alone, on a clock of the test -----------------------------------------------------------


class OneRelease:
    """A release that reads its marks when the test says so."""

    def __init__(self, cluster: Cluster, name: str, namespace: str) -> None:
        self.now = 1000.0
        self.gained: list[str] = []
        self.namespace = namespace
        self.wanted = {namespace}
        self.marks = Namespaces(
            cluster,
            (namespace,),
            release_name(name),
            MarkTimes(),
            wanted=lambda: self.wanted,
            gained=self.gained.append,
            clock=lambda: self.now,
        )

    async def reads(self, after: float = 0.0) -> bool:
        """One round; whether it may act afterwards."""
        self.now += after
        await self.marks._round()
        return self.ours

    @property
    def ours(self) -> bool:
        return self.marks.ours(self.namespace)


async def version(cluster: Cluster, namespace: str) -> str:
    live = await cluster.get(LEASE, namespace, MARK_NAME)
    assert live is not None
    return str(live["metadata"]["resourceVersion"])


async def test_nothing_is_written_while_nobody_asks(cluster: Cluster, namespace: str) -> None:
    one = OneRelease(cluster, "one", namespace)
    assert await one.reads()
    before = await version(cluster, namespace)
    for _ in range(20):
        assert await one.reads(after=15)
    assert await version(cluster, namespace) == before
    assert one.gained == [namespace]


async def test_one_that_cannot_read_its_marks_ends_before_another_may_begin(
    cluster: Cluster, namespace: str
) -> None:
    one, two = (OneRelease(cluster, name, namespace) for name in ("one", "two"))
    assert await one.reads()
    assert not await two.reads()
    for _ in range(4):
        # `one` sees nothing of this: its connection is cut, or it stands still.
        assert not await two.reads(after=14)
        one.now += 14
    assert not one.ours
    assert await two.reads(after=14)
    assert not await one.reads(after=1000)
    assert one.marks.others == {namespace: release_name("two")}


async def test_one_that_answers_keeps_its_namespace_whoever_asks_and_how_long(
    cluster: Cluster, namespace: str
) -> None:
    one, two, three = (OneRelease(cluster, name, namespace) for name in ("one", "two", "three"))
    assert await one.reads()
    for _ in range(40):
        assert not await two.reads(after=15)
        assert not await three.reads(after=15)
        assert await one.reads(after=15)


async def test_of_two_that_wait_one_takes_over(cluster: Cluster, namespace: str) -> None:
    one, two, three = (OneRelease(cluster, name, namespace) for name in ("one", "two", "three"))
    assert await one.reads()
    for each in (two, three):
        assert not await each.reads()
        assert not await each.reads(after=50)
    assert await two.reads(after=11)
    assert not await three.reads(after=11)
    live = await cluster.get(LEASE, namespace, MARK_NAME)
    assert live is not None
    assert holder_of(live) == release_name("two")
    assert live["metadata"]["annotations"] == {ASKED_BY: release_name("three")}


async def test_a_mark_that_somebody_deletes_is_made_again(cluster: Cluster, namespace: str) -> None:
    one = OneRelease(cluster, "one", namespace)
    assert await one.reads()
    live = await cluster.get(LEASE, namespace, MARK_NAME)
    assert live is not None
    await cluster.delete(LEASE, namespace, MARK_NAME, uid=live["metadata"]["uid"])
    assert await one.reads(after=15)
    await version(cluster, namespace)
    assert one.gained == [namespace]


async def test_in_a_namespace_that_is_being_deleted_what_is_left_can_be_done(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    """A collection waits there for its index to be deleted, and no mark can be made any more."""
    kept = collection(namespace)
    kept["metadata"]["finalizers"] = ["example.com/stays"]
    api.apply(kept)
    api.delete(f"/api/v1/namespaces/{namespace}")
    with pytest.raises(ApiError, match="because it is being terminated"):
        await cluster.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "x", "namespace": namespace},
            }
        )
    assert await OneRelease(cluster, "one", namespace).reads()
    body = {"metadata": {"finalizers": None}}
    await cluster.patch(kind_named("ImageCollection"), namespace, "catalogue", body)


@pytest.mark.parametrize(
    "times", [MarkTimes(look=50.0), MarkTimes(trust=60.0), MarkTimes(answer=30.0)]
)
def test_times_that_let_two_releases_act_at_once_are_refused(
    tmp_path: Path, times: MarkTimes
) -> None:
    with pytest.raises(ValueError, match="look < trust < answer"):
        Namespaces(None, (), "one", times, wanted=set, gained=print)  # type: ignore[arg-type]
