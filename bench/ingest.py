"""Ingestion beside its ideal rate and beside other software, from three places.

    python bench/ingest.py [--images 1200] [--rounds 2] [--places folder s3 tar]
        [--peers script script-bf16 clip-retrieval infinity] [--ray]

The ideal is 1 / (decode + preprocess + model seconds an image), each measured alone on all cores in
the same run, before and after the others. It can be exceeded: the parts overlap.

Ours is the process of an ingestion Job (with --ray, the Ray workers of one machine): it reads JPEGs
of 1024 x 768 – from a folder, from an S3 server on loopback whose every answer takes 20 ms, or from
tar shards there –, embeds them with ViT-B/32 (random weights: its speed is that of the trained one)
and writes to an Edge index behind a server in another process. Its records, its accounts and its
durable writes are on, as always. The peers are described in bench/ingest_peers.py; they keep their
vectors in the memory of qdrant-client. Starting, which includes loading the model, is counted for
nobody. A small setting: --images 200 --rounds 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from ingest_peers import PEERS, cache
from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    HttpConfig,
    IndexConfig,
    IngestionConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import Engine, IngestionSpec, ModelSpec, Provider, VectorSpec
from lookalike_crds.progress import Progress
from lookalike_crds.sources import SourceSpec
from lookalike_serving.embed import Embedder, load_embedder
from lookalike_serving.gateway.api import create_api
from lookalike_serving.images import decode_image
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.ingest.worker import Worker
from lookalike_serving.service import Service

MODEL = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32")
BATCH = 32


def pictures(count: int) -> Path:
    """A cached folder of `count` JPEGs of 1024 x 768."""
    folder = cache() / f"jpegs-1024x768-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"{i:05d}.jpg"
        if not path.exists():
            coarse = np.random.default_rng(i).integers(0, 255, (24, 32, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((1024, 768), Image.Resampling.BICUBIC)
            image.save(path, quality=88)
    return folder


def shards(folder: Path) -> Path:
    """A cached folder of tar archives of the pictures, 200 in each."""
    made = folder.with_name(f"{folder.name}-shards")
    made.mkdir(exist_ok=True)
    files = sorted(folder.iterdir())
    for number, at in enumerate(range(0, len(files), 200)):
        path = made / f"{number:05d}.tar"
        if not path.exists():
            with tarfile.open(path, "w") as archive:
                for file in files[at : at + 200]:
                    archive.add(file, file.name)
    return made


@contextlib.contextmanager
def bucket_of(folder: Path, latency: float) -> Iterator[str]:
    """The address of an S3 server that has the files of a folder."""
    command = [sys.executable, "-m", "tests.support.simulated_bucket", "--folder", str(folder)]
    command += ["--latency", str(latency)]
    server = subprocess.Popen(
        command, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def seconds_alone(embedder: Embedder, files: list[Path]) -> tuple[float, float]:
    """(decode + preprocess, model): seconds an image, each with all cores to itself."""
    data = [path.read_bytes() for path in files]

    def prepare(one: bytes) -> object:
        image = decode_image(one, min_side=embedder.info.min_side)
        return embedder.preprocess(image.pixels, image.box)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tensors = list(pool.map(prepare, data))
        started = time.perf_counter()
        tensors = list(pool.map(prepare, data))
        decode = (time.perf_counter() - started) / len(data)
    embedder.embed_pixels(tensors[:BATCH])
    started = time.perf_counter()
    for at in range(0, len(tensors), BATCH):
        embedder.embed_pixels(tensors[at : at + BATCH])
    return decode, (time.perf_counter() - started) / len(tensors)


def serve(config: str) -> None:
    """A process that holds the Edge index."""
    serving = ServingConfig.model_validate_json(config)
    api = create_api(lambda: Service.start(serving))
    uvicorn.run(api, port=serving.http.port, log_level="error")


class Server:
    """The service in a process of its own, on loopback."""

    def __init__(self, root: Path, model: ModelSpec) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.token = root / "token"
        self.token.write_text("a token for this run alone")
        self.collection = CollectionConfig(
            name="bench",
            model=model,
            vector=VectorSpec(),
            index=IndexConfig(engine=Engine.EDGE, name="bench", path=root / "index"),
        )
        config = ServingConfig(
            collections=(self.collection,),
            retrievers=(),
            data_dir=root / "served",
            http=HttpConfig(port=self.port),
            access=AccessConfig(internal_token_file=self.token),
            batches_index=IndexConfig(engine=Engine.EDGE, name="b", path=root / "batches"),
            random_weights_for_benchmarks=True,
        )
        fresh = multiprocessing.get_context("spawn")
        self._process = fresh.Process(target=serve, args=(config.model_dump_json(),))
        self._process.start()
        while True:
            ready = f"http://127.0.0.1:{self.port}/readyz"
            with contextlib.suppress(OSError), urllib.request.urlopen(ready) as answer:
                if answer.status == 200:
                    return
            assert self._process.is_alive()
            time.sleep(0.1)

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def source_of(place: str, where: str) -> SourceSpec:
    if place == "folder":
        return SourceSpec.model_validate({"name": place, "volume": {"path": where}})
    named = {"bucket": "bench", "endpoint": where, "credentialsSecretRef": "keys"}
    s3 = {**named, "archives": place == "tar"}
    return SourceSpec.model_validate({"name": place, "s3": s3})


def pipeline(
    root: Path,
    spec: SourceSpec,
    partition: Partition | None,
    *,
    model: ModelSpec = MODEL,
    ingestion: IngestionSpec = IngestionSpec(batch_size=BATCH),
    at_once: int = 1,
) -> tuple[float, float, dict[str, float]]:
    """(images a second once it works, seconds until then, seconds by stage) of one whole run.

    `at_once`: images that are worked on when the first of them are told. Those count as start-up:
    the others are as far as the first by then, and would make the rate look higher than it is.
    """
    server = Server(root, model)
    secrets = root / "secrets"
    (secrets / "keys").mkdir(parents=True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (secrets / "keys" / name).write_text("bench")
    bucket = spec.kind.as_bucket(secrets)
    config = IngestionConfig(
        collection=server.collection,
        sources=(spec,),
        buckets=() if bucket is None else (bucket,),
        secrets_dir=secrets,
        ingestion=ingestion,
        data_dir=root / "data",
        gateway_url=f"http://127.0.0.1:{server.port}",
        internal_token_file=server.token,
        progress_file=root / "progress.json",
        random_weights_for_benchmarks=True,
    )
    marks: list[tuple[float, int]] = []
    started = time.perf_counter()

    class Watched(ProgressWriter):
        def write(self, *, now: bool = False) -> None:
            marks.append((time.perf_counter(), self.progress.total.new))
            super().write(now=now)

    whole = Worker._written

    async def written(self: Worker, ready: Any, failures: Any) -> Any:
        done = await whole(self, ready, failures)
        batches.append((time.perf_counter(), len(done)))
        return done

    # A batch is seen when it is written; of Ray's workers, a chunk when it is told.
    batches: list[tuple[float, int]] = []
    Worker._written = written  # type: ignore[method-assign]
    try:
        with Watched(config.progress_file, "bench") as progress:
            asyncio.run(run(config, progress, partition))
    finally:
        Worker._written = whole  # type: ignore[method-assign]
    server.close()
    end = Progress.model_validate_json(config.progress_file.read_text())
    if end.total.failed or not end.total.new or end.total.left:
        raise SystemExit(f"the run did not go well: {end.message} {end.errors[:1]}")
    if batches:
        marks = [(at, sum(n for _, n in batches[: i + 1])) for i, (at, _) in enumerate(batches)]
    working = [mark for mark in marks if mark[1] > 0]
    first = next(mark for mark in working if mark[1] >= at_once)
    last = next(mark for mark in working if mark[1] == working[-1][1])
    rate = (last[1] - first[1]) / (last[0] - first[0])
    return rate, first[0] - started, end.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--places", nargs="*", default=["folder", "s3", "tar"])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--latency", type=float, default=0.02, help="seconds of an S3 answer")
    parser.add_argument("--ray", action="store_true", help="with Ray's workers, as on one machine")
    given = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    partition = None if given.ray else Partition(0, 1)

    folder = pictures(given.images)
    sample = sorted(folder.iterdir())[:160]
    rates: dict[str, dict[str, list[float | str]]] = {}
    with contextlib.ExitStack() as open_:
        scratch = open_.enter_context(tempfile.TemporaryDirectory())
        wheres = {"folder": str(folder)}
        for place, files in (("s3", folder), ("tar", shards(folder))):
            if place in given.places:
                wheres[place] = open_.enter_context(bucket_of(files, given.latency))
        embedder = load_embedder(MODEL, Path(scratch), random_weights_for_benchmarks=True)
        info, load = embedder.info, os.getloadavg()[0]
        print(f"{info.name}, {info.precision}, {os.cpu_count()} CPUs, load {load:.1f}", flush=True)
        alone = [seconds_alone(embedder, sample)]
        for _ in range(given.rounds):
            for place in given.places:
                found = rates.setdefault(place, {})
                with tempfile.TemporaryDirectory() as root:
                    spec = source_of(place, wheres[place])
                    rate, start_up, stages = pipeline(Path(root), spec, partition)
                found.setdefault("Lookalike", []).append(rate)
                told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())
                print(
                    f"{place}: {rate:.1f} images/s, the first after {start_up:.1f} s; seconds by "
                    f"stage: {told}",
                    flush=True,
                )
                for name in given.peers:
                    peer = PEERS[name]
                    answer = peer.rate(place, wheres[place], BATCH)
                    found.setdefault(peer.name, []).append(answer)
                    print(f"{place}: {peer.name}: {answer}", flush=True)
            alone.append(seconds_alone(embedder, sample))
    decode = statistics.median(a[0] for a in alone)
    model = statistics.median(a[1] for a in alone)
    ideal = 1 / (decode + model)
    print(
        f"\nalone: decode + preprocess {decode * 1e3:.2f} ms, model {model * 1e3:.2f} ms an image"
    )
    names = list(next(iter(rates.values())))
    print(f"\n| images/s | ideal | {' | '.join(names)} | ours / ideal | ours / best peer |")
    print("|---|" + "---|" * (len(names) + 3))
    for place, found in rates.items():
        medians = {n: _median(each) for n, each in found.items()}
        ours = medians.pop("Lookalike")
        assert ours is not None
        best = max((m for m in medians.values() if m is not None), default=None)
        columns = [f"{ours:.1f}", *("–" if m is None else f"{m:.1f}" for m in medians.values())]
        beside = "–" if best is None else f"{ours / best:.2f}"
        shown = " | ".join(columns)
        print(f"| {place} | {ideal:.1f} | {shown} | {ours / ideal:.2f} | {beside} |")


def _median(rates: list[float | str]) -> float | None:
    numbers = [each for each in rates if isinstance(each, float)]
    return statistics.median(numbers) if numbers else None


if __name__ == "__main__":
    main()
