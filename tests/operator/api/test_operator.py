"""The whole operator – kopf, informers, queue, workers – on a real API server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from e2e.cluster.api import Api
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.waiting import until
from fault_proxy import Call, Fault, FaultProxy
from operators import InThread, children_of, collection, kind_named, retriever
from tests.support.ports import free_port

from lookalike_operator.cluster import Cluster, Timeouts
from lookalike_operator.engine.lease import Lease
from lookalike_operator.settings import LeaseTimes

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

EXPECTED = {
    "ConfigMap/catalogue-ingestion",
    "ConfigMap/search-config",
    "Deployment/search",
    "PersistentVolumeClaim/catalogue-index",
    "PersistentVolumeClaim/search-data",
    "PodDisruptionBudget/search",
    "Secret/search-api-keys",
    "Secret/search-internal",
    "Service/search",
}


def install(api: Api, namespace: str) -> None:
    api.apply(collection(namespace))
    api.apply(retriever(namespace))


async def settled(cluster: Cluster, namespace: str, seconds: float = 120) -> None:
    """Every child exists, and both resources and the Deployment have been observed.

    The cluster's own controllers need some seconds to start. Without the Deployment's status, a
    test would begin before them, and see the operator report what they do.
    """
    async with asyncio.timeout(seconds):
        while True:
            there = set(await children_of(cluster, namespace)) >= EXPECTED
            if there and await _observed(cluster, namespace):
                return
            await asyncio.sleep(0.1)


async def _observed(cluster: Cluster, namespace: str) -> bool:
    observed = (("ImageCollection", "catalogue"), ("Retriever", "search"), ("Deployment", "search"))
    for kind, name in observed:
        live = await cluster.get(kind_named(kind), namespace, name)
        if live is None:
            return False
        generation = live["metadata"]["generation"]
        if (live.get("status") or {}).get("observedGeneration") != generation:
            return False
    return True


async def quiet(proxy: FaultProxy, seconds: float = 3.0, most: float = 90.0) -> None:
    """No write for a while: controllers have stopped changing what we watch."""
    async with asyncio.timeout(most):
        count, since = len(proxy.writes), asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - since < seconds:
            await asyncio.sleep(0.1)
            if len(proxy.writes) != count:
                count, since = len(proxy.writes), asyncio.get_running_loop().time()


async def test_at_rest_nothing_is_written_and_nothing_read(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    with InThread(proxy, namespace):
        install(api, namespace)
        await settled(cluster, namespace)
        await quiet(proxy)
        before = len(proxy.calls)
        # Others touch what is theirs: looked at, and nothing to do.
        for name in ("catalogue-ingestion", "search-config"):
            theirs = {"metadata": {"annotations": {"somebody": "was here"}}}
            await cluster.patch(kind_named("ConfigMap"), namespace, name, theirs, manager="x")
        await asyncio.sleep(3)
        calls = [call for call in proxy.calls[before:] if not call.watches]
        assert [call for call in calls if call.writes] == []
        # Kinds that the cluster lacks are looked for now and then, and the mark on the namespace.
        seldom = ("ray.io", "/leases/lookalike-release")
        assert [call for call in calls if not any(each in call.path for each in seldom)][:3] == []


async def test_resources_made_changed_and_deleted_while_it_runs_are_followed(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    with InThread(proxy, namespace):
        install(api, namespace)
        await settled(cluster, namespace)
        api.apply(retriever(namespace, serving={"replicas": 1, "image": "other:2"}))
        await settled(cluster, namespace)

        def image() -> str:
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/search"
            containers = api.get(path)["spec"]["template"]["spec"]["containers"]
            return str(containers[0]["image"])

        until(lambda: image() == "other:2", "the new image in the Deployment", 60)
        live = await cluster.get(kind_named("Retriever"), namespace, "search")
        assert live is not None
        await cluster.delete(
            kind_named("Retriever"), namespace, "search", uid=live["metadata"]["uid"]
        )
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/search"
        until(lambda: api.find(path) is None, "the Deployment to go with its Retriever", 120)


@pytest.mark.parametrize("name", sorted(name for name in EXPECTED if "Secret" not in name))
async def test_each_child_that_is_deleted_comes_back_at_once(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str, name: str
) -> None:
    install(api, namespace)
    with InThread(proxy, namespace):
        await settled(cluster, namespace)
        child = (await children_of(cluster, namespace))[name]
        kind, meta = kind_named(child["kind"]), child["metadata"]
        # A claim in use waits for its pods: nobody runs them here.
        await cluster.patch(kind, namespace, meta["name"], {"metadata": {"finalizers": None}})
        await cluster.delete(kind, namespace, meta["name"], uid=meta["uid"])
        async with asyncio.timeout(60):
            while True:
                live = await cluster.get(kind, namespace, meta["name"])
                if live is not None and live["metadata"]["uid"] != meta["uid"]:
                    return
                await asyncio.sleep(0.1)


async def test_a_deleted_secret_comes_back_at_the_next_resync(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    """Secrets are not watched: watching them takes the right to read every one."""
    install(api, namespace)
    with InThread(proxy, namespace, resync=2.0):
        await settled(cluster, namespace)
        secret = (await children_of(cluster, namespace))["Secret/search-api-keys"]
        uid = secret["metadata"]["uid"]
        await cluster.delete(kind_named("Secret"), namespace, "search-api-keys", uid=uid)
        await settled(cluster, namespace)


async def test_after_dropped_watches_what_happened_meanwhile_is_mended(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    with InThread(proxy, namespace):
        install(api, namespace)
        await settled(cluster, namespace)
        proxy.rule = lambda call: Fault(503, "ServiceUnavailable") if call.watches else None
        assert proxy.cut_watches() > 5
        child = (await children_of(cluster, namespace))["Service/search"]
        uid = child["metadata"]["uid"]
        await cluster.delete(kind_named("Service"), namespace, "search", uid=uid)
        api.apply(retriever(namespace, serving={"image": "meanwhile:3"}))
        proxy.rule = None
        await settled(cluster, namespace)

        def image() -> str:
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/search"
            return str(api.get(path)["spec"]["template"]["spec"]["containers"][0]["image"])

        until(lambda: image() == "meanwhile:3", "the image set while nobody watched", 90)


async def test_a_version_that_has_expired_leads_to_a_new_list(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    expired: list[Call] = []

    def rule(call: Call) -> Fault | None:
        if call.watches and "/lookalike.dev/" not in call.path and len(expired) < 12:
            expired.append(call)
            return Fault(410, "Expired")
        return None

    install(api, namespace)
    proxy.rule = rule
    with InThread(proxy, namespace):
        await settled(cluster, namespace)
        child = (await children_of(cluster, namespace))["Service/search"]
        uid = child["metadata"]["uid"]
        await cluster.delete(kind_named("Service"), namespace, "search", uid=uid)
        await settled(cluster, namespace)
        until(lambda: len(expired) >= 10, "watches to be answered 410", 60)
    lists = [call for call in proxy.calls if call.path.endswith("/services") and not call.watches]
    assert len(lists) >= 2


@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(429, "TooManyRequests", retry_after=1), Fault(409, "Conflict"), Fault(0)],
)
async def test_with_every_second_write_failing_it_converges_all_the_same(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str, fault: Fault
) -> None:
    writes = 0

    def rule(call: Call) -> Fault | None:
        nonlocal writes
        if not call.writes:
            return None
        writes += 1
        return fault if writes % 2 else None

    install(api, namespace)
    proxy.rule = rule
    with InThread(proxy, namespace) as operator:
        await settled(cluster, namespace, 180)
        text = operator.metrics.text().decode()
    assert "lookalike_operator_errors_total{" in text


async def test_what_was_deleted_while_it_was_down_is_not_made_again(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    install(api, namespace)
    with InThread(proxy, namespace):
        await settled(cluster, namespace)
    for kind, name in (("Retriever", "search"), ("ImageCollection", "catalogue")):
        live = await cluster.get(kind_named(kind), namespace, name)
        assert live is not None
        await cluster.delete(kind_named(kind), namespace, name, uid=live["metadata"]["uid"])
    before = len(proxy.writes)
    with InThread(proxy, namespace) as operator:
        until(lambda: operator.working, "the operator to work", 60)
        await quiet(proxy)
    # It takes its mark off the namespace.
    assert [call for call in proxy.writes[before:] if "/leases/" not in call.path] == []


async def test_an_api_server_that_is_away_for_a_while_is_waited_for(
    proxy: FaultProxy, cluster: Cluster, api: Api, namespace: str
) -> None:
    away = True
    proxy.rule = lambda _: Fault(0) if away else None
    install(api, namespace)
    with InThread(proxy, namespace, timeouts=Timeouts(request=5)) as operator:
        until(lambda: len(proxy.calls) >= 3, "the operator to ask", 60)
        assert not operator.ended
        away = False
        await settled(cluster, namespace)


# -- as a process ----------------------------------------------------------------------------------


Command = tuple[list[str], dict[str, str]]
"""And what its environment has besides."""


def by_flags(plane: ControlPlane, namespace: str, port: int) -> Command:
    """As the image starts it."""
    return [
        *(sys.executable, "-m", "lookalike_operator", "--kubeconfig", str(plane.kubeconfig)),
        *("--namespace", namespace, "--serving-image", "x:1", "--metrics-host", "127.0.0.1"),
        *("--leader-election-namespace", namespace, "--metrics-port", str(port)),
    ], {}


def by_kopf(plane: ControlPlane, namespace: str, port: int) -> Command:
    """As somebody who knows kopf starts it."""
    command = [sys.executable, "-m", "kopf", "run", "-m", "lookalike_operator.handlers"]
    return [*command, "--namespace", namespace], {
        "LOOKALIKE_KUBECONFIG": str(plane.kubeconfig),
        "LOOKALIKE_NAMESPACES": namespace,
        "LOOKALIKE_SERVING_IMAGE": "x:1",
        "LOOKALIKE_LEADER_ELECTION_NAMESPACE": namespace,
        "LOOKALIKE_METRICS_HOST": "127.0.0.1",
        "LOOKALIKE_METRICS_PORT": str(port),
    }


@contextlib.contextmanager
def running(command: Command, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments, environment = command
    with log.open("wb") as out:
        process = subprocess.Popen(
            arguments, stderr=out, stdout=out, env={**os.environ, **environment}
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)


def get(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10, trust_env=False)


@pytest.mark.parametrize("by", [by_flags, by_kopf])
async def test_as_a_process_it_serves_probes_and_metrics_and_ends_on_sigterm(
    plane: ControlPlane,
    cluster: Cluster,
    api: Api,
    namespace: str,
    tmp_path: Path,
    by: Callable[[ControlPlane, str, int], Command],
) -> None:
    install(api, namespace)
    port, log = free_port(), tmp_path / "log"
    with running(by(plane, namespace, port), log) as process:
        await settled(cluster, namespace)
        until(lambda: get(port, "/readyz").status_code == 200, "/readyz", 60)
        assert get(port, "/healthz").status_code == 200
        text = get(port, "/metrics").text
        for name in ("queue_depth", "reconcile_seconds_count", "api_calls_total", "leader 1.0"):
            assert f"lookalike_operator_{name}" in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    lease = api.get(
        f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/lookalike-operator"
    )
    assert lease["spec"].get("holderIdentity", "") == ""
    assert "Traceback" not in log.read_text()
    for kind, name in (("ImageCollection", "catalogue"), ("Retriever", "search")):
        live = await cluster.get(kind_named(kind), namespace, name)
        assert live is not None
        # kopf's own handlers of changes would have left both.
        assert not {"annotations", "finalizers"} & live["metadata"].keys()


async def test_as_a_standby_it_answers_probes_and_ends_on_sigterm(
    plane: ControlPlane, cluster: Cluster, api: Api, namespace: str, tmp_path: Path
) -> None:
    other = Lease(cluster, namespace, "lookalike-operator", "other", LeaseTimes(duration=600))
    await other.acquire()
    install(api, namespace)
    port, log = free_port(), tmp_path / "log"
    with running(by_flags(plane, namespace, port), log) as process:
        until(lambda: answers(port), "/readyz", 60)
        assert get(port, "/healthz").status_code == 200
        assert "lookalike_operator_leader 0.0" in get(port, "/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    assert await children_of(cluster, namespace) == {}
    assert "Traceback" not in log.read_text()


def answers(port: int) -> bool:
    try:
        return get(port, "/readyz").status_code == 200
    except httpx.TransportError:
        return False


async def test_kopf_serves_the_liveness_probe_that_it_is_asked_for(
    plane: ControlPlane, cluster: Cluster, api: Api, namespace: str, tmp_path: Path
) -> None:
    install(api, namespace)
    port, log = free_port(), tmp_path / "log"
    command, environment = by_kopf(plane, namespace, free_port())
    command += ["--liveness", f"http://127.0.0.1:{port}/healthz"]
    with running((command, environment), log):
        await settled(cluster, namespace)
        answer = get(port, "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"operator": "ok"})


def test_kopf_and_the_operator_must_watch_the_same_namespaces() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kopf", "run", "-m", "lookalike_operator.handlers", "-n", "shop"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LOOKALIKE_SERVING_IMAGE": "x:1", "LOOKALIKE_LEADER_ELECTION": "false"},
    )
    assert done.returncode == 1
    assert "kopf and the operator must watch the same namespaces" in done.stderr


def test_what_is_wrong_with_the_flags_is_said_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lookalike_operator", "--kubeconfig", "/nowhere"],
        capture_output=True,
        text=True,
        timeout=60,
        env={k: v for k, v in os.environ.items() if not k.startswith("LOOKALIKE_")},
    )
    assert done.returncode == 2
    assert "--serving-image (or LOOKALIKE_SERVING_IMAGE) is required" in done.stderr


def test_a_kubeconfig_that_is_not_there_is_said_in_a_line() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lookalike_operator", "--kubeconfig", "/nowhere"),
            *("--serving-image", "x", "--no-leader-election", "--metrics-port", "0"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "kubeconfig /nowhere cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
