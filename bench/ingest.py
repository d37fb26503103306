"""Ingestion beside its ideal rate: 1 / (decode + preprocess + model seconds an image).

    python bench/ingest.py [--images 1200] [--rounds 2]

Each part of the ideal is measured alone, on all cores, in the same run, before and after the
pipeline. The pipeline is the real one: Ray workers that read JPEGs of 1024 x 768 from a folder,
embed them with ViT-B/32 (random weights: its speed is that of the trained one) and write to an
Edge index behind a server on loopback. Its start-up (Ray, models) is reported apart.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image

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
from lookalike_crds.source_kinds import VolumeSource as Volume
from lookalike_crds.sources import SourceSpec
from lookalike_serving.embed import Embedder, load_embedder
from lookalike_serving.gateway.api import create_api
from lookalike_serving.images import decode_image
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.service import Service

MODEL = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32")
BATCH = 32


def pictures(count: int) -> Path:
    """A cached folder of `count` JPEGs of 1024 x 768."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lookalike"
    folder = home / f"jpegs-1024x768-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"{i:05d}.jpg"
        if not path.exists():
            coarse = np.random.default_rng(i).integers(0, 255, (24, 32, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((1024, 768), Image.Resampling.BICUBIC)
            image.save(path, quality=88)
    return folder


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


class Server:
    """The service in a thread, on loopback."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.token = root / "token"
        self.token.write_text("a token for this run alone")
        self.collection = CollectionConfig(
            name="bench",
            model=MODEL,
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
        api = create_api(lambda: Service.start(config))
        self._server = uvicorn.Server(uvicorn.Config(api, port=self.port, log_level="error"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.1)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)


def pipeline(root: Path, folder: Path) -> tuple[float, float]:
    """(images a second once the workers are up, seconds until then) of one whole run."""
    server = Server(root)
    config = IngestionConfig(
        collection=server.collection,
        sources=(SourceSpec(name="disk", volume=Volume(path=str(folder))),),
        ingestion=IngestionSpec(batch_size=BATCH),
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

    with Watched(config.progress_file, "bench") as progress:
        asyncio.run(run(config, progress))
    server.close()
    end = Progress.model_validate_json(config.progress_file.read_text())
    if end.total.failed or not end.total.new:
        raise SystemExit(f"the run did not go well: {end.message} {end.errors[:1]}")
    working = [mark for mark in marks if mark[1] > 0]
    first = working[0]
    last = next(mark for mark in working if mark[1] == working[-1][1])
    return (last[1] - first[1]) / (last[0] - first[0]), first[0] - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

    folder = pictures(options.images)
    sample = sorted(folder.iterdir())[:160]
    with tempfile.TemporaryDirectory() as scratch:
        embedder = load_embedder(MODEL, Path(scratch), random_weights_for_benchmarks=True)
        print(f"{embedder.info.name}, {embedder.info.precision}, {os.cpu_count()} CPUs")
        alone = [seconds_alone(embedder, sample)]
        rates: list[float] = []
        for number in range(options.rounds):
            with tempfile.TemporaryDirectory() as root:
                rate, start_up = pipeline(Path(root), folder)
            rates.append(rate)
            alone.append(seconds_alone(embedder, sample))
            print(f"run {number + 1}: {rate:.1f} images/s, the first after {start_up:.1f} s")
    decode = statistics.median(a[0] for a in alone)
    model = statistics.median(a[1] for a in alone)
    ideal = 1 / (decode + model)
    print(f"alone: decode + preprocess {decode * 1e3:.2f} ms, model {model * 1e3:.2f} ms an image")
    rate = statistics.median(rates)
    print(f"ideal {ideal:.1f} images/s, pipeline {rate:.1f} images/s, ratio {rate / ideal:.2f}")


if __name__ == "__main__":
    main()
