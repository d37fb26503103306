"""Queries over HTTP beside other servers, and a server with more callers than it can answer.

All have a ViT-B/32 with random weights (its speed is that of the trained one) on this machine, take
turns in one run, and answer the same queries: texts and pictures that no cache knows.

- lookalike: the whole server, with HAProxy, Ray Serve and an Edge index.
- plain uvicorn: the same API without HAProxy and Ray Serve.
- a user's server: FastAPI, open_clip and qdrant-client with an index in its memory.
- infinity-emb: computes embeddings only; it has no index to search.

Then lookalike alone: callers who arrive at 70 % of the rate of 16 clients, and at five times it.

    python bench/http_peers.py [--documents 10000] [--rounds 3] [--requests 24] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embed_peers import infinity_server, program
from http_overhead import config, fill, picture, request, sentence, unknown
from ingest_peers import PEERS, PROGRAMS
from load import Load, closed_loop
from lookalike_serving.embed import load_embedder
from open_loop import arrivals
from whole_server import free_port, serving

CLIENTS = (1, 16)
OURS = "lookalike"
SEARCH = "/v1/retrievers/bench/search"
PICTURES = [picture(seed) for seed in range(64)]
_fresh = iter(range(10**9))


@dataclass
class Target:
    """A server, and how it is asked."""

    name: str
    url: str
    path: str
    bodies: dict[str, Callable[[int], bytes]]
    loads: dict[tuple[str, int], list[Load]] = field(default_factory=dict)

    def run(self, kind: str, clients: int, requests: int) -> None:
        first = next(_fresh) * 100_000
        body = self.bodies[kind]
        load = closed_loop(
            self.url, self.path, lambda i: body(first + i), clients=clients, requests=requests
        )
        self.loads.setdefault((kind, clients), []).append(load)

    def rate(self, kind: str, clients: int) -> float:
        """Requests a second: the median of the rounds."""
        return statistics.median(load.per_second for load in self.loads[kind, clients])

    def p50(self, kind: str, clients: int) -> float:
        """Seconds."""
        return statistics.median(load.p50 for load in self.loads[kind, clients])


def image(number: int) -> str:
    return unknown(PICTURES[number % len(PICTURES)], number)


OUR_BODIES: dict[str, Callable[[int], bytes]] = {
    "text": lambda i: request("text", sentence(i)),
    "image": lambda i: request("image", image(i)),
}


@contextmanager
def plain_uvicorn(root: Path) -> Iterator[Target]:
    made = config(root)
    file = root / "plain.json"
    file.write_text(made.model_dump_json())
    here = Path(__file__).resolve().parent / "plain_server.py"
    url = f"http://127.0.0.1:{made.http.port}"
    with program([str(here), str(file)], f"{url}/readyz"):
        yield Target("plain uvicorn", url, SEARCH, OUR_BODIES)


@contextmanager
def users_server(documents: int) -> Iterator[Target]:
    port = free_port()
    weights = PEERS["clip-retrieval"].options()
    command = [str(PROGRAMS / "search_server.py"), "--port", str(port), *weights]
    url = f"http://127.0.0.1:{port}"
    bodies: dict[str, Callable[[int], bytes]] = {
        "text": lambda i: json.dumps({"text": sentence(i)}).encode(),
        "image": lambda i: json.dumps({"image": image(i)}).encode(),
    }
    with program([*command, "--documents", str(documents)], f"{url}/health"):
        yield Target("a user's server", url, "/search", bodies)


@contextmanager
def infinity() -> Iterator[Target]:
    def asked(modality: str, value: str) -> bytes:
        return json.dumps({"model": "clip", "modality": modality, "input": [value]}).encode()

    bodies: dict[str, Callable[[int], bytes]] = {
        "text": lambda i: asked("text", sentence(i)),
        "image": lambda i: asked("image", f"data:image/jpeg;base64,{image(i)}"),
    }
    with infinity_server() as (url, path, _):
        yield Target("infinity-emb", url, path, bodies)


def await_measured(url: str) -> None:
    """A new server measures in which way it computes its model, which takes up to two minutes."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as answer:
            if b'"Measurement"' in answer.read():
                return
        time.sleep(2)
    raise SystemExit("the model was not measured")


def compare(targets: list[Target], rounds: int, requests: int) -> list[dict[str, Any]]:
    for target in targets:  # what is made at the first request is not counted
        for kind in target.bodies:
            target.run(kind, 16, 32)
        target.loads.clear()
    for _ in range(rounds):
        for kind in ("text", "image"):
            for clients in CLIENTS:
                for target in targets:
                    target.run(kind, clients, requests * (4 if clients > 1 else 1))
    rows = []
    ours = next(t for t in targets if t.name == OURS)
    print(
        f"{'query':6} {'clients':>7}  {'server':16} {'requests/s':>10} {'p50':>10} {'ours/it':>8}"
    )
    for kind in ("text", "image"):
        for clients in CLIENTS:
            for target in targets:
                rate, p50 = target.rate(kind, clients), target.p50(kind, clients)
                ratio = ours.rate(kind, clients) / rate
                print(
                    f"{kind:6} {clients:7}  {target.name:16} {rate:10.1f} {p50 * 1e3:8.1f}ms "
                    f"{ratio:8.2f}"
                )
                rows.append(
                    {
                        "query": kind,
                        "clients": clients,
                        "server": target.name,
                        "requests_per_second": rate,
                        "p50_ms": p50 * 1e3,
                        "ours_to_it": ratio,
                    }
                )
    return rows


async def overload(target: Target, kind: str, seconds: float) -> list[dict[str, Any]]:
    """At 70 % of what 16 clients get, and at five times it."""
    rows = []
    peak = max(load.per_second for load in target.loads[kind, 16])
    for share, goal in ((0.7, "p99 <= 3 x p50"), (5.0, "served >= .9 of the peak")):
        first = next(_fresh) * 100_000
        body = target.bodies[kind]
        got = await arrivals(
            target.url,
            target.path,
            lambda i, body=body, first=first: body(first + i),
            per_second=peak * share,
            seconds=seconds,
        )
        row = {
            "query": kind,
            "arriving_to_peak": share,
            "arriving_per_second": peak * share,
            "served_to_peak": got.served_per_second / peak,
            "p50_ms": got.percentile(50) * 1e3,
            "p99_ms": got.percentile(99) * 1e3,
            "p99_to_p50": got.percentile(99) / got.percentile(50),
            "statuses": {str(status): count for status, count in sorted(got.statuses.items())},
            "refused_without_retry_after": got.without_retry_after,
        }
        rows.append(row)
        print(
            f"{kind:6} arriving at {share:g} x the peak of {peak:.0f}/s: served "
            f"{row['served_to_peak']:.2f} of the peak, p50 {row['p50_ms']:.0f} ms, p99 "
            f"{row['p99_ms']:.0f} ms ({row['p99_to_p50']:.1f} x), {row['statuses']}, "
            f"{got.without_retry_after} refused without Retry-After (goal: {goal})"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=24, help="a turn; of 16 clients four times")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each overload")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as scratch, ExitStack() as stack:
        root = Path(scratch)
        made = config(root)
        embedder = load_embedder(
            made.collections[0].model, root / "weights", random_weights_for_benchmarks=True
        )
        print(f"ViT-B/32, random weights; {given.documents} documents; {os.cpu_count()} CPUs")
        asyncio.run(fill(root / "served", embedder, given.documents))
        del embedder
        shutil.copytree(root / "served", root / "plain" / "served")
        served = stack.enter_context(serving(made))
        await_measured(served.url)
        tuned = made.data_dir / "weights" / "tuned"
        shutil.copytree(tuned, root / "plain" / "data" / "weights" / "tuned")
        ours = Target(OURS, served.url, SEARCH, OUR_BODIES)
        targets = [
            ours,
            stack.enter_context(plain_uvicorn(root / "plain")),
            stack.enter_context(users_server(given.documents)),
            stack.enter_context(infinity()),
        ]
        rows = compare(targets, given.rounds, given.requests)
        loads = [
            row
            for kind in ("text", "image")
            for row in asyncio.run(overload(ours, kind, given.seconds))
        ]
    if given.json:
        told = {"cpus": os.cpu_count(), "servers": rows, "arrivals": loads}
        given.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
