"""A thousand collections and a thousand retrievers: what the operator costs, and at rest.

A real API server, etcd and controller manager start for each side (e2e/cluster; no kubelet, so
pods are made and never run, on any side). All resources are there before the operator starts.
Printed: time until nothing more is written, CPU, memory, API calls, and the same at rest. Beside
it, in the same run and in the same way:

- the control plane alone: the very objects that the operator has made, by plain creates, until the
  cluster's own controllers have taken them up. No operator can be faster; the ratio is printed.
- KubeRay's operator with as many RayServices.

    python bench/reconcile.py [--resources 1000] [--rest 60] [--without-kuberay]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from e2e.cluster import binaries, definitions  # noqa: E402
from e2e.cluster.api import Api  # noqa: E402
from e2e.cluster.control_plane import ControlPlane, control_plane, free_port  # noqa: E402

from lookalike_operator.cluster import Cluster  # noqa: E402
from lookalike_operator.kinds import CHILDREN, OURS, kind_of  # noqa: E402
from lookalike_operator.plan.names import MANAGED_BY, OPERATOR  # noqa: E402

NAMESPACE = "bench"
WRITES = {"apply", "create", "update", "patch", "delete", "POST", "PUT", "PATCH", "DELETE"}
AT_A_TIME = 8
QUIET_SECONDS = 8.0
"""So long without a write is convergence."""
MOST_SECONDS = 1800.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one moment."""

    at: float
    cpu: float
    """Seconds since its start."""
    rss: float
    """MB"""
    calls: Counter[str]
    """`verb resource`, or `verb` where no more is known -> requests since its start."""
    plane: float
    """CPU seconds of API server, etcd and controller manager since their start."""

    @property
    def writes(self) -> int:
        return sum(count for call, count in self.calls.items() if writes(call))


def writes(call: str) -> bool:
    return call.split()[0] in WRITES


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    converged: float
    """Seconds from the start of the process to its last write."""
    working: Reading
    plane: float
    """CPU seconds of the control plane meanwhile."""
    rest: tuple[Reading, Reading]
    peak: float
    """MB, while it converged and rested."""


# -- processes -------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def read(pid: int, port: int, pattern: re.Pattern[str], plane: ControlPlane) -> Reading:
    status = Path(f"/proc/{pid}/status").read_text()
    rss = re.search(r"VmRSS:\s+(\d+)", status)
    calls: Counter[str] = Counter()
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60, trust_env=False).text
    for each in pattern.finditer(text):
        call = " ".join(each[name] for name in ("verb", "resource") if each.groupdict().get(name))
        calls[call] += round(float(each["count"]))
    return Reading(
        time.monotonic(),
        cpu_seconds(pid),
        int(rss[1]) / 1024 if rss else 0.0,
        calls,
        sum(cpu_seconds(each.pid) for each in plane.processes.recorded()),
    )


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[int]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measured(
    name: str,
    plane: ControlPlane,
    command: list[str],
    port: int,
    pattern: str,
    rest: float,
    environment: dict[str, str] | None = None,
) -> Result:
    """Start it, wait until it writes no more, then watch it doing nothing."""
    counted = re.compile(pattern)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        began = time.monotonic()
        with running(command, environment or {}, log) as pid:
            last = began
            before = sum(cpu_seconds(each.pid) for each in plane.processes.recorded())
            peak = 0.0
            reading: Reading | None = None
            while reading is None or time.monotonic() - last < QUIET_SECONDS:
                time.sleep(0.5)
                try:
                    now = read(pid, port, counted, plane)
                except (httpx.HTTPError, OSError):
                    if not Path(f"/proc/{pid}").exists() or time.monotonic() - began > 120:
                        raise SystemExit(
                            f"{name} did not start:\n{log.read_text()[-3000:]}"
                        ) from None
                    continue
                peak = max(peak, now.rss)
                if (now.writes and reading is None) or (reading and now.writes != reading.writes):
                    last = now.at
                if now.writes:
                    reading = now
                if time.monotonic() - began > MOST_SECONDS:
                    print(f"{name} has not come to rest within {MOST_SECONDS:g} s")
                    break
            first = read(pid, port, counted, plane)
            time.sleep(rest)
            second = read(pid, port, counted, plane)
            working = reading or first
            return Result(
                name,
                last - began,
                working,
                working.plane - before,
                (first, second),
                max(peak, second.rss),
            )


# -- the two sides ---------------------------------------------------------------------------------


async def create(cluster: Cluster, manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many at a time as the operator has workers."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def put(manifest: dict[str, Any]) -> dict[str, Any]:
        async with gate:
            return await cluster.create(manifest)

    return await asyncio.gather(*map(put, manifests))


async def created(plane: ControlPlane, manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        return await create(cluster, manifests)


def ours(count: int) -> list[dict[str, Any]]:
    """Collections on volumes of their own (Edge), each with its Retriever."""
    collections, retrievers = OURS
    made: list[dict[str, Any]] = []
    for i in range(count):
        made += (
            {
                "apiVersion": collections.api_version,
                "kind": collections.kind,
                "metadata": {"name": f"collection-{i}", "namespace": NAMESPACE},
                "spec": {
                    "model": {"provider": "Demo"},
                    "index": {"engine": "Edge", "storage": {"size": "1Gi"}},
                    "sources": [{"name": "s", "volume": {"claimName": "images", "path": "a"}}],
                },
            },
            {
                "apiVersion": retrievers.api_version,
                "kind": retrievers.kind,
                "metadata": {"name": f"retriever-{i}", "namespace": NAMESPACE},
                "spec": {"collections": [{"name": f"collection-{i}"}]},
            },
        )
    return made


def lookalike(plane: ControlPlane, api: Api, count: int, rest: float) -> Made:
    """What the operator costs, and the objects that it has made."""
    definitions.install(api)
    asyncio.run(created(plane, ours(count)))
    port = free_port()
    result = measured(
        "Lookalike",
        plane,
        [
            *(sys.executable, "-m", "lookalike_operator", "--kubeconfig", str(plane.kubeconfig)),
            *("--serving-image", "example/serving:1", "--leader-election-namespace", NAMESPACE),
            *("--metrics-host", "127.0.0.1", "--metrics-port", str(port)),
            *("--log-level", "WARNING", "--no-leader-election"),
        ],
        port,
        r'lookalike_operator_api_calls_total\{code="\d+",resource="(?P<resource>\w+)",'
        r'verb="(?P<verb>\w+)"\} (?P<count>\S+)',
        rest,
    )
    for kind in OURS:
        items = api.get(f"/apis/{kind.api_version}/namespaces/{NAMESPACE}/{kind.plural}")["items"]
        observed = [(item.get("status") or {}).get("observedGeneration") for item in items]
        if len(items) != count or None in observed:
            raise SystemExit(f"{observed.count(None)} of {count} {kind.plural} were not looked at")
    deployments = api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"]
    if len(deployments) != count:
        raise SystemExit(f"{len(deployments)} Deployments for {count} retrievers")
    return Made(result, asyncio.run(children(plane)))


@dataclass(frozen=True, slots=True)
class Made:
    result: Result
    objects: list[dict[str, Any]]


async def children(plane: ControlPlane) -> list[dict[str, Any]]:
    """Every object that the operator has made itself, as it could be created again."""
    found = []
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        for kind in CHILDREN:
            if kind.optional:
                continue
            labels = f"{MANAGED_BY}={OPERATOR}"
            for each in (await cluster.list(kind, NAMESPACE, labels=labels)).items:
                owners = each["metadata"].get("ownerReferences") or ()
                if any(owner["kind"] in {our.kind for our in OURS} for owner in owners):
                    found.append(anew(each))
    return found


def anew(live: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the API server and its controllers have filled in: a create may not say it."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    made = {key: value for key, value in live.items() if key != "status"}
    made["metadata"] = {key: live["metadata"][key] for key in kept if key in live["metadata"]}
    if live["kind"] == "Service":
        made["spec"] = {k: v for k, v in live["spec"].items() if not k.startswith("clusterIP")}
    return made


@dataclass(frozen=True, slots=True)
class Plain:
    """What the control plane alone takes for the same objects."""

    objects: int
    seconds: float
    """From the first create until the controllers have taken up the last object."""
    creating: float
    """From the first create until the last is answered."""
    client: float
    """CPU seconds of the creating process."""
    plane: float
    """CPU seconds of API server, etcd and controller manager."""


def alone(plane: ControlPlane, api: Api, count: int, objects: list[dict[str, Any]]) -> Plain:
    """The resources are there, as they are when the operator starts; nobody acts on them."""
    definitions.install(api)
    uids = {
        (each["kind"], each["metadata"]["name"]): each["metadata"]["uid"]
        for each in asyncio.run(created(plane, ours(count)))
    }
    for each in objects:
        for owner in each["metadata"].get("ownerReferences") or ():
            owner["uid"] = uids[owner["kind"], owner["name"]]
    before = sum(cpu_seconds(each.pid) for each in plane.processes.recorded())
    client, began = time.process_time(), time.monotonic()
    creating = asyncio.run(created_and_taken_up(plane, objects))
    return Plain(
        len(objects),
        time.monotonic() - began,
        creating - began,
        time.process_time() - client,
        sum(cpu_seconds(each.pid) for each in plane.processes.recorded()) - before,
    )


async def created_and_taken_up(plane: ControlPlane, objects: list[dict[str, Any]]) -> float:
    """When the last create was answered; ends when every Deployment has its pods."""
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        watched = asyncio.create_task(taken_up(cluster, objects))
        await create(cluster, objects)
        last = time.monotonic()
        await asyncio.wait_for(watched, MOST_SECONDS)
        return last


async def taken_up(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    kind = kind_of("apps/v1", "Deployment")
    missing = {each["metadata"]["name"] for each in objects if each["kind"] == kind.kind}
    version = (await cluster.list(kind, NAMESPACE)).resource_version
    while missing:
        async for event in cluster.watch(kind, NAMESPACE, version):
            version = event.object["metadata"]["resourceVersion"]
            if (event.object.get("status") or {}).get("replicas"):
                missing.discard(event.object["metadata"]["name"])
            if not missing:
                break


def kuberay(plane: ControlPlane, api: Api, count: int, rest: float) -> Result:
    program = binaries.program("ray-operator")
    module = "github.com/ray-project/kuberay/ray-operator"
    sources = binaries.module_folder(binaries.KUBERAY, module)
    definitions.install(api, sorted((sources / "config" / "crd" / "bases").glob("*.yaml")))
    for i in range(count):
        api.apply(ray_service(f"service-{i}"))
    probes, port = free_port(), free_port()
    return measured(
        "KubeRay 1.5.1",
        plane,
        [
            str(program),
            f"--kubeconfig={plane.kubeconfig}",
            "--use-kubernetes-proxy",
            "--enable-leader-election=false",
            f"--health-probe-bind-address=127.0.0.1:{probes}",
            f"--metrics-addr=127.0.0.1:{port}",
        ],
        port,
        r'rest_client_requests_total\{code="\d+",host="[^"]+",method="(?P<verb>\w+)"\} '
        r"(?P<count>\S+)",
        rest,
        {"POD_NAMESPACE": "default", "KUBECONFIG": str(plane.kubeconfig)},
    )


def ray_service(name: str) -> dict[str, object]:
    """The smallest: a head, no workers."""
    head = {
        "name": "ray-head",
        "image": "example/ray:1",
        "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "serveConfigV2": "applications: []\n",
            "rayClusterConfig": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0"},
                    "template": {"spec": {"containers": [head]}},
                },
            },
        },
    }


def unhampered(plane: ControlPlane) -> None:
    """The controller manager as large clusters run it: by default it asks for 20 things a second,
    and a thousand Deployments would wait for it and not for us. Its controller of volumes stays
    out: no claim is ever bound here, and it would write an event about each every 15 seconds."""
    name = "kube-controller-manager"
    (pid,) = (each.pid for each in plane.processes.recorded() if each.name == name)
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    plane.processes.stop(name)
    more = ["--kube-api-qps=1000", "--kube-api-burst=2000"]
    more += ["--controllers=-persistentvolume-binder-controller"]
    plane.processes.start(name, [*command, *more])


STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}
"""As a cluster has one: without, every claim waits for a person, and an event says so."""


@contextmanager
def fresh() -> Iterator[tuple[ControlPlane, Api]]:
    with control_plane() as plane:
        api = Api(plane.kubeconfig)
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        api.apply(STORAGE_CLASS)
        unhampered(plane)
        yield plane, api


# -- what it says ----------------------------------------------------------------------------------


def told(result: Result, resources: int) -> str:
    first, second = result.rest
    seconds = second.at - first.at
    calls = {v: second.calls[v] - first.calls[v] for v in second.calls}
    reads = sum(n for call, n in calls.items() if not writes(call))
    done = result.working.calls
    verbs: Counter[str] = Counter()
    for call, count in done.items():
        verbs[call.split()[0]] += count
    every = ", ".join(f"{verb} {count}" for verb, count in sorted(verbs.items()))
    return "\n".join(
        (
            f"{result.name}, {resources} resources",
            f"  converged after       {result.converged:8.1f} s",
            f"  CPU for that          {result.working.cpu:8.1f} s, of the control plane"
            f" {result.plane:.1f} s",
            f"  API calls for that    {sum(done.values()):8d}   ({every})",
            f"  memory, at most       {result.peak:8.0f} MB",
            f"  at rest, {seconds:.0f} s:",
            f"    CPU                 {100 * (second.cpu - first.cpu) / seconds:8.2f} % of a core",
            f"    writes              {second.writes - first.writes:8d}",
            f"    reads               {reads:8d}",
            f"    memory              {second.rss:8.0f} MB",
        )
    )


def by_resource(result: Result, resources: int) -> str:
    """Calls for each resource of ours, most first."""
    lines = ["  of them, for each resource:"]
    for call, count in result.working.calls.most_common():
        if count >= resources / 20:
            lines.append(f"    {call:42}{count / resources:8.2f}")
    return "\n".join(lines)


def told_alone(plain: Plain, result: Result) -> str:
    return "\n".join(
        (
            f"The control plane alone: the same {plain.objects} objects by plain creates",
            f"  taken up after        {plain.seconds:8.1f} s, created after {plain.creating:.1f} s",
            f"  CPU for that          {plain.client:8.1f} s, of the control plane"
            f" {plain.plane:.1f} s",
            f"  Lookalike takes       {result.converged / plain.seconds:8.2f} times as long"
            " (goal: 1.2), and"
            f" {(result.working.cpu + result.plane) / (plain.client + plain.plane):.2f} times the"
            " CPU",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--resources", type=int, default=1000, help="of each kind")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds to watch it at rest")
    parser.add_argument("--without-kuberay", action="store_true")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} CPUs, load {load:.1f} before; goals: < 60 s, < 200 MB, no write at rest"
    )
    with fresh() as (plane, api):
        made = lookalike(plane, api, given.resources, given.rest)
    print(told(made.result, 2 * given.resources))
    print(by_resource(made.result, 2 * given.resources), flush=True)
    with fresh() as (plane, api):
        plain = alone(plane, api, given.resources, made.objects)
    print(told_alone(plain, made.result), flush=True)
    if not given.without_kuberay:
        with fresh() as (plane, api):
            result = kuberay(plane, api, given.resources, given.rest)
        print(told(result, given.resources), flush=True)


if __name__ == "__main__":
    main()
