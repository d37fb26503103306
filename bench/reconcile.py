"""A thousand collections and a thousand retrievers: what the operator costs, and at rest.

A real API server, etcd and controller manager start for each side (e2e/cluster; no kubelet, so
pods are made and never run, on either side). All resources are there before the operator starts.
Printed: time until nothing more is written, CPU, memory, API calls, and the same at rest. Beside
it, in the same run and in the same way: KubeRay's operator with as many RayServices.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from e2e.cluster import binaries, definitions  # noqa: E402
from e2e.cluster.api import Api  # noqa: E402
from e2e.cluster.control_plane import ControlPlane, control_plane, free_port  # noqa: E402

from lookalike_operator.cluster import Cluster  # noqa: E402
from lookalike_operator.kinds import OURS, Kind  # noqa: E402

NAMESPACE = "bench"
WRITES = {"apply", "create", "update", "patch", "delete", "POST", "PUT", "PATCH", "DELETE"}
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
    """Verb -> requests to the API server since its start."""
    plane: float
    """CPU seconds of API server, etcd and controller manager since their start."""

    @property
    def writes(self) -> int:
        return sum(count for verb, count in self.calls.items() if verb in WRITES)


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
    for verb, count in pattern.findall(text):
        calls[verb] += round(float(count))
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


async def create(plane: ControlPlane, manifests: list[tuple[Kind, dict[str, object]]]) -> None:
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        gate = asyncio.Semaphore(16)

        async def put(manifest: dict[str, object]) -> None:
            async with gate:
                await cluster.create(manifest)

        await asyncio.gather(*(put(manifest) for _, manifest in manifests))


def ours(count: int) -> list[tuple[Kind, dict[str, object]]]:
    """Collections on volumes of their own (Edge), each with its Retriever."""
    collections, retrievers = OURS
    made: list[tuple[Kind, dict[str, object]]] = []
    for i in range(count):
        made.append(
            (
                collections,
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
            )
        )
        made.append(
            (
                retrievers,
                {
                    "apiVersion": retrievers.api_version,
                    "kind": retrievers.kind,
                    "metadata": {"name": f"retriever-{i}", "namespace": NAMESPACE},
                    "spec": {"collections": [{"name": f"collection-{i}"}]},
                },
            )
        )
    return made


def lookalike(plane: ControlPlane, api: Api, count: int, rest: float) -> Result:
    definitions.install(api)
    asyncio.run(create(plane, ours(count)))
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
        r'lookalike_operator_api_calls_total\{code="\d+",resource="\w+",verb="(\w+)"\} (\S+)',
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
    return result


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
        r'rest_client_requests_total\{code="\d+",host="[^"]+",method="(\w+)"\} (\S+)',
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


Side = Callable[[ControlPlane, Api, int, float], Result]


def run(side: Side, count: int, rest: float) -> Result:
    with control_plane() as plane:
        api = Api(plane.kubeconfig)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        api.apply(namespace)
        unhampered(plane)
        return side(plane, api, count, rest)


# -- what it says ----------------------------------------------------------------------------------


def told(result: Result, resources: int) -> str:
    first, second = result.rest
    seconds = second.at - first.at
    calls = {v: second.calls[v] - first.calls[v] for v in second.calls}
    reads = sum(n for v, n in calls.items() if v not in WRITES)
    done = result.working.calls
    every = ", ".join(f"{verb} {count}" for verb, count in sorted(done.items()))
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
    print(told(run(lookalike, given.resources, given.rest), 2 * given.resources), flush=True)
    if not given.without_kuberay:
        print(told(run(kuberay, given.resources, given.rest), given.resources), flush=True)


if __name__ == "__main__":
    main()
