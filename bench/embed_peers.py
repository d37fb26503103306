"""The two servers, and infinity-emb in its own process, that bench/embed.py compares."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from http_overhead import collection, config, fill, request, sentence
from ingest_peers import INFINITY, PROGRAMS
from lookalike_serving.embed import load_embedder
from whole_server import free_port, serving

Target = tuple[str, str, Callable[[int], bytes]]
"""Address, path, and the body of the i-th request."""
_READY_SECONDS = 120
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "no_proxy": "127.0.0.1",
}


def in_infinity(sizes: tuple[int, ...], seconds: float) -> dict[str, tuple[float, ...]] | str:
    """Images and texts a second in batches of these sizes, or why there is no number."""
    try:
        done = subprocess.run(
            [
                INFINITY.python(),
                str(PROGRAMS / "infinity_rates.py"),
                *INFINITY.options(),
                "--seconds",
                str(seconds),
                "--sizes",
                *map(str, sizes),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=900,
            env={**os.environ, **_OFFLINE},
        )
    except subprocess.CalledProcessError as error:
        return "failed: " + (error.stderr.strip().splitlines() or ["?"])[-1][:160]
    except subprocess.TimeoutExpired:
        return "failed: it took longer than 900 s"
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {kind: tuple(rates) for kind, rates in told.items()}


@contextmanager
def serving_texts(root: Path) -> Iterator[Target]:
    """This project's server with a small collection."""
    made = config(root)
    embedder = load_embedder(
        collection(root / "served").model, root / "weights", random_weights_for_benchmarks=True
    )
    asyncio.run(fill(root / "served", embedder, 200))
    del embedder
    with serving(made) as served:
        path = "/v1/retrievers/bench/search"
        yield served.url, path, lambda i: request("text", sentence(i))


@contextmanager
def infinity_server() -> Iterator[Target]:
    port = free_port()
    (model,) = INFINITY.options()[1:]
    command = [str(Path(INFINITY.python()).parent / "infinity_emb"), "v2", "--model-id", model]
    command += ["--engine", "torch", "--device", "cpu", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--no-model-warmup", "--no-bettertransformer", "--served-model-name", "clip"]
    url = f"http://127.0.0.1:{port}"
    with program(command, f"{url}/health", python=str(Path(INFINITY.python()))):
        yield (
            url,
            "/embeddings",
            lambda i: json.dumps({"model": "clip", "input": [sentence(i)]}).encode(),
        )


@contextmanager
def program(
    arguments: list[str], ready: str, *, python: str = sys.executable
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that serves; it ends with the context. `ready`: answers 200 once it does."""
    process = subprocess.Popen(
        [python, *arguments],
        env={**os.environ, **_OFFLINE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(ready, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _await(ready: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(ready, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"{process.args} did not become ready")
