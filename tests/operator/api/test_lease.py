"""Of several operators one acts, whatever clocks and connections do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from e2e.cluster.api import Api
from e2e.cluster.certificates import Credentials
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.waiting import until
from fault_proxy import Fault, FaultProxy
from operators import InThread, collection, kind_named, retriever

from lookalike_operator.cluster import Cluster
from lookalike_operator.engine.lease import Lease, LeaseLost
from lookalike_operator.release import release_lease
from lookalike_operator.settings import LeaseTimes

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

TIMES = LeaseTimes(duration=9.0, renew=7.0, retry=0.4)
SHORT = LeaseTimes(duration=3.0, renew=2.0, retry=0.2)
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/lookalike-operator"


class Clock:
    """Stands still until the test says how much time has passed."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(
    cluster: Cluster,
    namespace: str,
    identity: str,
    times: LeaseTimes = TIMES,
    clock: Callable[[], float] = time.monotonic,
) -> Lease:
    return Lease(cluster, namespace, "lookalike-operator", identity, times, clock=clock)


def holder(api: Api, namespace: str) -> str:
    found = api.find(LEASES.format(namespace))
    return "" if found is None else str(found["spec"].get("holderIdentity", ""))


@contextlib.asynccontextmanager
async def held(one: Lease) -> Any:
    """The lease, renewed as long as the block runs."""
    await asyncio.wait_for(one.acquire(), 60)
    renewing = asyncio.create_task(one.hold())
    try:
        yield renewing
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def test_a_second_one_waits_as_long_as_the_first_renews_and_follows_when_it_lets_go(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    clock = Clock()
    first, second = (lease(cluster, namespace, name, clock=clock) for name in ("first", "second"))
    assert await first._try()
    for _ in range(5):  # together more than twice the duration
        clock.now += TIMES.duration / 2
        assert not await second._try()
        assert await first._try()
    assert holder(api, namespace) == "first"
    await first.release()
    await asyncio.wait_for(second.acquire(), 60)
    assert holder(api, namespace) == "second"
    spec = api.get(LEASES.format(namespace))["spec"]
    assert spec["leaseTransitions"] == 1


async def test_the_lease_of_one_that_died_runs_out(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    clock = Clock()
    await asyncio.wait_for(lease(cluster, namespace, "dead").acquire(), 60)
    heir = lease(cluster, namespace, "heir", clock=clock)
    assert not await heir._try()
    clock.now += TIMES.duration * 0.99
    assert not await heir._try()
    clock.now += TIMES.duration * 0.02
    assert await heir._try()
    assert holder(api, namespace) == "heir"


@pytest.mark.parametrize("year", [1970, 2100])
async def test_times_written_by_a_clock_that_is_wrong_mean_nothing(
    cluster: Cluster, api: Api, namespace: str, year: int
) -> None:
    """A lease renewed "in 1970" is no reason to take it; one "in 2100" no reason to wait."""
    wrong = f"{year}-01-01T00:00:00.000000Z"

    async def renewed(times: int) -> None:
        """Another operator, whose wall clock is wrong, renews."""
        live = await cluster.get(kind_named("Lease"), namespace, "lookalike-operator")
        assert live is not None
        spec = {**live["spec"], "renewTime": wrong, "leaseTransitions": times}
        await cluster.replace({**live, "spec": spec})

    clock = Clock()
    me = lease(cluster, namespace, "me", clock=clock)
    await asyncio.wait_for(lease(cluster, namespace, "other").acquire(), 60)
    for times in range(5):
        await renewed(times)
        assert not await me._try()
        clock.now += TIMES.duration * 0.9
    assert not await me._try()
    clock.now += TIMES.duration * 0.2
    assert await me._try()
    assert holder(api, namespace) == "me"


async def test_who_cannot_renew_stops_before_another_may_begin(
    proxy: FaultProxy, cluster: Cluster, namespace: str
) -> None:
    async with proxy.cluster() as cut_off:
        first = lease(cut_off, namespace, "first", SHORT)
        await asyncio.wait_for(first.acquire(), 60)
        loop = asyncio.get_running_loop()
        heir = asyncio.create_task(lease(cluster, namespace, "heir", SHORT).acquire())
        renewing = asyncio.create_task(first.hold())
        await asyncio.sleep(0)
        proxy.rule = lambda _: Fault(0)
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(renewing, 60)
        lost_at = loop.time()
        assert not heir.done()
        await asyncio.wait_for(heir, 60)
        assert loop.time() > lost_at


async def test_who_sees_another_holder_stops_at_once(cluster: Cluster, namespace: str) -> None:
    first = lease(cluster, namespace, "first")
    async with held(first) as renewing:
        live = await cluster.get(kind_named("Lease"), namespace, "lookalike-operator")
        assert live is not None
        usurped = {"spec": {"holderIdentity": "usurper"}}
        await cluster.patch(kind_named("Lease"), namespace, "lookalike-operator", usurped)
        with pytest.raises(LeaseLost, match="usurper"):
            await asyncio.wait_for(asyncio.shield(renewing), 60)


async def test_of_two_that_start_together_one_leads(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    both = [lease(cluster, namespace, name) for name in ("a", "b")]
    racing = [asyncio.create_task(each.acquire()) for each in both]
    done, _ = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    assert len(done) == 1
    for task in racing:
        task.cancel()
    await asyncio.gather(*racing, return_exceptions=True)
    assert holder(api, namespace) in ("a", "b")


async def test_a_lease_is_given_back_though_what_is_known_of_it_is_old(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    first = lease(cluster, namespace, "first")
    await first.acquire()
    # A renewal whose answer was lost.
    renewed = {"spec": {"renewTime": "2026-03-01T00:00:00.000000Z"}}
    await cluster.patch(kind_named("Lease"), namespace, "lookalike-operator", renewed)
    await first.release()
    assert holder(api, namespace) == ""


async def test_an_uninstalled_operators_lease_is_given_back_for_it(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    await release_lease(cluster, namespace)
    await lease(cluster, namespace, "gone").acquire()
    await release_lease(cluster, namespace)
    assert holder(api, namespace) == ""
    await asyncio.wait_for(lease(cluster, namespace, "heir").acquire(), TIMES.duration / 2)


def test_times_that_let_two_act_at_once_are_refused(plane: ControlPlane) -> None:
    with pytest.raises(ValueError, match="retry < renew < duration"):
        Lease(None, "n", "l", "me", LeaseTimes(duration=5, renew=10, retry=1))  # type: ignore[arg-type]


# -- whole operators -------------------------------------------------------------------------------


def second_proxy(plane: ControlPlane) -> FaultProxy:
    credentials: Credentials = plane.credentials
    return FaultProxy(plane.server, credentials)


def writes(proxy: FaultProxy) -> int:
    """Writes but for those of the lease itself."""
    return sum("/leases" not in call.path for call in proxy.writes)


@pytest.mark.parametrize("politely", [True, False], ids=["stopped", "killed"])
async def test_when_the_one_that_leads_ends_the_other_takes_over(
    plane: ControlPlane,
    proxy: FaultProxy,
    cluster: Cluster,
    api: Api,
    namespace: str,
    politely: bool,
) -> None:
    api.apply(collection(namespace))
    api.apply(retriever(namespace))
    with (
        second_proxy(plane) as other_proxy,
        InThread(proxy, namespace, lease=TIMES, identity="one") as one,
    ):
        until(lambda: one.working, "the first operator to work", 60)
        with InThread(other_proxy, namespace, lease=TIMES, identity="two") as two:
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/search"
            until(lambda: api.find(path) is not None, "the Deployment", 60)
            assert not two.working
            assert writes(other_proxy) == 0
            if not politely:
                # Nothing that it says on the way down is heard.
                proxy.rule = lambda _: Fault(0)
            one.stop() if politely else one.kill()
            made = writes(proxy)
            until(lambda: two.working, "the second operator to work", 60)
            path = f"/api/v1/namespaces/{namespace}/services/search"
            until(lambda: api.find(path) is not None, "all that the first did not come to", 60)
            uid = api.get(path)["metadata"]["uid"]
            await cluster.delete(kind_named("Service"), namespace, "search", uid=uid)
            until(lambda: api.find(path) is not None, "the Service to come back", 60)
            assert writes(proxy) == made


def test_an_operator_that_loses_its_lease_ends_with_the_reason(
    proxy: FaultProxy, namespace: str
) -> None:
    with InThread(proxy, namespace, lease=TIMES) as operator:
        until(lambda: operator.working, "the operator to work", 60)
        proxy.rule = lambda _: Fault(0)
        until(lambda: operator.ended, "the operator to end", 60)
        assert isinstance(operator.error, LeaseLost)
