"""The memory of a serving pod: every process of it, the demo model, an Edge index.

    python bench/memory.py [--documents 2000] [--searches 500]

A server is started as a pod starts it (`python -m lookalike_serving.local`), its processes are
found as the server itself finds them, and their proportional set size (PSS) is read from
/proc/<pid>/smaps_rollup twice: at rest, and after searches by text and by image. PSS counts a
page that several processes share once in all. Run it while no other Ray of the same installation
runs: a library's pages are shared with that, too.
Linux only.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from load import closed_loop
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import RunDirectory
from whole_server import Served, demo_server

GOAL_MB = 1000
_SETTLE_SECONDS = 20.0
_FIELDS = {"Pss": "pss", "Pss_Anon": "anon", "Pss_File": "file", "Pss_Shmem": "shmem"}


@dataclass(slots=True)
class Share:
    """Of one kind of process, MB."""

    count: int = 0
    pss: float = 0.0
    anon: float = 0.0
    file: float = 0.0
    shmem: float = 0.0


def kind_of(command: str) -> str:
    """What a process is for, by its command line."""
    head = command.partition(" --")[0]  # the raylet's arguments are the commands of others
    for part, kind in (
        ("gcs_server", "Ray: GCS"),
        ("raylet/raylet", "Ray: raylet"),
        ("dashboard/agent.py", "Ray: dashboard agent"),
        ("DashboardAgent", "Ray: dashboard agent"),
        ("idle_agent.py", "Ray: agent (ours)"),
        ("runtime_env/agent", "Ray: runtime environment agent"),
        ("RuntimeEnvAgent", "Ray: runtime environment agent"),
        ("log_monitor", "Ray: log monitor"),
        ("dashboard/dashboard.py", "Ray: dashboard"),
        ("monitor.py", "Ray: autoscaler's monitor"),
        ("ray::IDLE", "Ray: idle workers"),
        ("ServeController", "Serve: controller"),
        ("HAProxyManager", "Serve: HAProxy's manager"),
        ("ProxyActor", "Serve: fallback proxy"),
        ("ServeReplica", "replica: gateway, model, index"),
        ("edge_process", "index process"),
        ("lookalike_serving.images", "image decoder"),
        ("lookalike_serving.local", "server"),
        ("haproxy", "HAProxy"),
    ):
        if part in head:
            return kind
    return head[-60:]


def shares(served: Served) -> dict[str, Share]:
    run = RunDirectory.of(served.config.data_dir, served.config.run_dir)
    found: defaultdict[str, Share] = defaultdict(Share)
    everything = {process.pid: process.command for process in processes.of_run(run)}
    everything[served.process.pid] = "lookalike_serving.local"
    for pid, command in everything.items():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:  # it has just ended
            continue
        share = found[kind_of(command)]
        share.count += 1
        for line in lines:
            name, value = line.split(":")
            if attribute := _FIELDS.get(name):
                megabytes = int(value.split()[0]) * 1024 / 1e6
                setattr(share, attribute, getattr(share, attribute) + megabytes)
    return dict(found)


def report(title: str, found: dict[str, Share]) -> float:
    """Print a table, the largest first; the sum in MB."""
    print(f"{title}, MB")
    print(f"  {'processes':<34}{'PSS':>8}{'anonymous':>11}{'files':>8}{'shared':>8}")
    for kind, share in sorted(found.items(), key=lambda item: -item[1].pss):
        name = kind if share.count == 1 else f"{kind} ({share.count})"
        print(f"  {name:<34}{share.pss:8.0f}{share.anon:11.0f}{share.file:8.0f}{share.shmem:8.0f}")
    total = sum(share.pss for share in found.values())
    print(f"  {'all':<34}{total:8.0f}")
    return total


def search(served: Served, pictures: list[Path], searches: int) -> None:
    encoded = [base64.b64encode(path.read_bytes()).decode() for path in pictures[:64]]
    path = "/v1/retrievers/shop/search"

    def image(i: int) -> bytes:
        query = {"type": "image", "value": encoded[i % len(encoded)]}
        return json.dumps({"queries": [query]}).encode()

    def text(i: int) -> bytes:
        words = ("red", "blue", "striped", "dotted", "mug", "bag", "lamp", "chair")
        value = f"{words[i % 4]} {words[4 + i // 4 % 4]}"
        return json.dumps({"queries": [{"type": "text", "value": value}]}).encode()

    closed_loop(served.url, path, text, clients=4, requests=searches)
    closed_loop(served.url, path, image, clients=4, requests=searches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--searches", type=int, default=500)
    options = parser.parse_args()
    with demo_server(options.documents) as (served, pictures):
        time.sleep(_SETTLE_SECONDS)
        report("at rest", shares(served))
        search(served, pictures, options.searches)
        total = report(f"after {2 * options.searches} searches", shares(served))
    verdict = "reached" if total <= GOAL_MB else "MISSED"
    print(f"goal: {GOAL_MB} MB, {verdict}")


if __name__ == "__main__":
    main()
