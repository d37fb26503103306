"""What HTTP costs: a query through the running service beside the same work called in a loop.

Both sides use one model (ViT-B/32 with random weights: its speed is that of the trained one), the
same pictures and equal copies of one index. They take turns in short blocks, so that a machine
that speeds up or slows down does so for both. Printed: p50 of each side and their ratio, and the
throughput of 16 clients beside one. Needs nothing but loopback.

    python bench/http_overhead.py [--documents 10000] [--rounds 6] [--requests 20]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from PIL import Image

from load import Load, closed_loop
from lookalike_crds.config import (
    CollectionConfig,
    HttpConfig,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import Engine, ModelSpec, Precision, Provider, VectorSpec
from lookalike_crds.retriever import CollectionRef
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.embed import Embedder, load_embedder
from lookalike_serving.images import decode_image
from lookalike_serving.index import Index, Point, Query, open_index
from whole_server import free_port, serving

TOP_K = 10
MODEL = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", precision=Precision.AUTO)
WORDS = (
    "red blue green striped dotted plain mug shirt shoe bag chair lamp on a table in sun".split()
)


def picture(seed: int) -> bytes:
    """A smooth 640 x 480 JPEG with some structure, about 40 kB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def sentence(seed: int) -> str:
    """A text no other seed gives: no cache can answer it."""
    rng = np.random.default_rng(seed)
    return " ".join([*rng.choice(WORDS, 4), str(seed)])


def collection(folder: Path) -> CollectionConfig:
    return CollectionConfig(
        name="bench",
        model=MODEL,
        vector=VectorSpec(),
        index=IndexConfig(engine=Engine.EDGE, name="bench", path=folder),
    )


async def fill(folder: Path, embedder: Embedder, documents: int) -> None:
    info = embedder.info
    index = await open_index(
        collection(folder), dimension=info.dimension, fingerprint=info.fingerprint
    )
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((200, info.dimension), dtype=np.float32)
    for start in range(0, documents, 1000):
        ids = range(start, min(documents, start + 1000))
        noise = rng.standard_normal((len(ids), info.dimension), dtype=np.float32)
        vectors = centres[rng.integers(0, len(centres), len(ids))] + 0.8 * noise
        await index.upsert(
            [
                Point(
                    point_id("bench", f"doc-{i}"),
                    vector,
                    payload(
                        {"title": f"Document {i}", "price": i % 100},
                        Origin(f"doc-{i}", f"https://example.com/{i}.jpg"),
                    ),
                )
                for i, vector in zip(ids, vectors, strict=True)
            ]
        )
    await index.optimize()
    await index.close()


def config(root: Path) -> ServingConfig:
    return ServingConfig(
        collections=(collection(root / "served"),),
        retrievers=(RetrieverConfig(name="bench", collections=(CollectionRef(name="bench"),)),),
        data_dir=root / "data",
        http=HttpConfig(port=free_port()),
        batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=root / "batches"),
        random_weights_for_benchmarks=True,
    )


class Bare:
    """Decode + preprocess + model + index, called one after the other."""

    def __init__(self, embedder: Embedder, index: Index) -> None:
        self.embedder, self.index = embedder, index

    async def image(self, data: bytes) -> None:
        decoded = decode_image(data, min_side=self.embedder.info.min_side)
        tensor = self.embedder.preprocess(decoded.pixels)
        await self.vector(self.embedder.embed_pixels([tensor])[0])

    async def text(self, value: str) -> None:
        await self.vector(self.embedder.embed_texts([value])[0])

    async def vector(self, value: np.ndarray) -> None:
        hits = await self.index.query(Query(vector=value, limit=TOP_K))
        if len(hits) != TOP_K:
            raise RuntimeError(f"{len(hits)} hits, not {TOP_K}")


def request(kind: str, value: object) -> bytes:
    return json.dumps({"queries": [{"type": kind, "value": value}], "top_k": TOP_K}).encode()


def unknown(image: bytes, number: int) -> str:
    """The picture as a file that the server does not remember: bytes after its end are ignored."""
    return base64.b64encode(image + number.to_bytes(8, "big")).decode()


async def bare_block(call: Callable[[int], Awaitable[None]], seeds: range) -> list[float]:
    seconds = []
    for seed in seeds:
        started = time.perf_counter()
        await call(seed)
        seconds.append(time.perf_counter() - started)
    return seconds


async def compare(bare: Bare, base: str, rounds: int, requests: int) -> None:
    path = "/v1/retrievers/bench/search"
    pictures = [picture(seed) for seed in range(64)]
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((256, bare.embedder.info.dimension), dtype=np.float32)
    as_lists = [v.tolist() for v in vectors]
    kinds: dict[str, tuple[Callable[[int], Awaitable[None]], Callable[[int], bytes]]] = {
        "image": (
            lambda i: bare.image(pictures[i % 64]),
            lambda i: request("image", unknown(pictures[i % 64], i)),
        ),
        "text": (lambda i: bare.text(sentence(i)), lambda i: request("text", sentence(i))),
        "vector": (
            lambda i: bare.vector(vectors[i % 256]),
            lambda i: request("vector", as_lists[i % 256]),
        ),
    }
    print(f"{'query':8} {'bare p50':>10} {'HTTP p50':>10} {'HTTP p99':>10} {'HTTP/bare':>10}")
    for kind, (call, body) in kinds.items():
        bare_seconds: list[float] = []
        http_seconds: list[float] = []
        await bare_block(call, range(5))
        closed_loop(base, path, body, clients=1, requests=5)
        for turn in range(rounds):
            first = 1000 + turn * requests
            bare_seconds += await bare_block(call, range(first, first + requests))
            load = await asyncio.to_thread(
                closed_loop,
                base,
                path,
                lambda i, body=body, first=first + 100_000: body(first + i),
                clients=1,
                requests=requests,
            )
            http_seconds += load.seconds
        b, h = statistics.median(bare_seconds), statistics.median(http_seconds)
        p99 = float(np.percentile(http_seconds, 99))
        print(f"{kind:8} {b * 1e3:8.2f}ms {h * 1e3:8.2f}ms {p99 * 1e3:8.2f}ms {h / b:10.2f}")

    one: list[Load] = []
    many: list[Load] = []
    for turn in range(max(2, rounds // 2)):
        for clients, into in ((1, one), (16, many)):
            offset = 1_000_000 * (turn + 1) + clients * 10_000
            into.append(
                await asyncio.to_thread(
                    closed_loop,
                    base,
                    path,
                    lambda i, offset=offset: request("text", sentence(offset + i)),
                    clients=clients,
                    requests=requests * (8 if clients > 1 else 2),
                )
            )
    r1 = statistics.median(load.per_second for load in one)
    r16 = statistics.median(load.per_second for load in many)
    print(
        f"text throughput: 1 client {r1:.0f}/s, 16 clients {r16:.0f}/s (p50 "
        f"{statistics.median(load.p50 for load in many) * 1e3:.1f} ms), ratio {r16 / r1:.2f}"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=20, help="a block, each side")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as scratch:
        root = Path(scratch)
        embedder = load_embedder(MODEL, root / "weights", random_weights_for_benchmarks=True)
        info = embedder.info
        print(
            f"{info.name}, random weights, {info.precision} on {info.device}; "
            f"{options.documents} x {info.dimension} in Edge; {os.cpu_count()} CPUs"
        )
        await fill(root / "bare", embedder, options.documents)
        shutil.copytree(root / "bare", root / "served")
        index = await open_index(
            collection(root / "bare"), dimension=info.dimension, fingerprint=info.fingerprint
        )
        with serving(config(root)) as served:
            await compare(Bare(embedder, index), served.url, options.rounds, options.requests)
        await index.close()


if __name__ == "__main__":
    asyncio.run(main())
