"""A rerun over unchanged keys of a bucket: keys a second, LIST calls and memory, by pods.

    python bench/listing.py [--keys 10000 100000] [--pods 1 2 4] [--engines Edge Qdrant none]

A made-up S3 server lists as many keys as are asked for, and the index has a document of each, as if
an earlier run had ingested them: so what is measured is listing, and finding out that nothing has
changed. Each pod is the process that a Job runs (`--partition I/N`), and `one listing` is what a
pod alone asks for. Reads of the index are those of all pods together. Memory is the resident set of
the largest pod, most of which is what it imports.

Engine Edge is a server on loopback with the index on disk; engine Qdrant is the stand-in of the
tests (qdrant-client's local mode behind both ports), which counts calls and is far slower than a
server: its keys a second say nothing, and it is asked for no more than 10,000 keys. A million keys:
`make bench-listing KEYS="1000000"`. To make an index of a million documents takes long: with engine
`none`, the source's glob chooses no key, so that each pod goes through all of them and compares
none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from tests.qdrant_server.process import running as qdrant_stand_in  # noqa: E402
from tests.support.configs import DEMO, collection, serving_config  # noqa: E402
from tests.support.simulated_bucket import BUCKET  # noqa: E402

from lookalike_crds.config import (  # noqa: E402
    AccessConfig,
    CollectionConfig,
    FetchPolicy,
    HttpConfig,
    IndexConfig,
    IngestionConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import Engine, IngestionSpec  # noqa: E402
from lookalike_crds.progress import Progress, total_of  # noqa: E402
from lookalike_crds.sources import SourceSpec  # noqa: E402
from lookalike_serving.documents.ids import point_id  # noqa: E402
from lookalike_serving.documents.layout import Origin, payload  # noqa: E402
from lookalike_serving.embed.load import load_embedder  # noqa: E402
from lookalike_serving.images import ImageFetcher  # noqa: E402
from lookalike_serving.images.reader import for_sources  # noqa: E402
from lookalike_serving.index.open import open_index  # noqa: E402
from lookalike_serving.index.protocol import Point  # noqa: E402
from lookalike_serving.ingest.sources import Item, open_source  # noqa: E402
from lookalike_serving.ingest.versions import fingerprint  # noqa: E402
from whole_server import free_port  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[1]
MOST_OF_STAND_IN = 10_000
CHUNK = 2_000


@contextlib.contextmanager
def bucket_of(keys: int) -> Iterator[str]:
    """The address of a made-up S3 server."""
    command = [sys.executable, "-m", "tests.support.simulated_bucket", "--keys", str(keys)]
    server = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def calls_of(url: str) -> int:
    with urllib.request.urlopen(f"{url}/__calls") as answer:
        return int(json.load(answer).get("LIST", 0))


def source_of(url: str, glob: str = "**/*") -> SourceSpec:
    s3 = {"bucket": BUCKET, "endpoint": url, "credentialsSecretRef": "keys", "glob": glob}
    return SourceSpec.model_validate({"name": "cloud", "s3": s3})


async def fill(shop: CollectionConfig, spec: SourceSpec, folder: Path) -> None:
    """A document of each key, as an earlier run has left it."""
    info = load_embedder(DEMO, folder / "weights").info
    index = await open_index(shop, dimension=info.dimension, fingerprint=info.fingerprint)
    vectors = np.random.default_rng(0).standard_normal((CHUNK, info.dimension)).astype(np.float32)
    fetcher = ImageFetcher(FetchPolicy())
    points: list[Point] = []

    async def write() -> None:
        await index.upsert(points)
        points.clear()

    source = open_source(spec, (), folder, for_sources(fetcher), folder / "secrets")
    async for item in source.list():
        assert isinstance(item, Item)
        assert item.version is not None
        origin = Origin(
            document_id=item.document_id,
            image=item.uri,
            source=spec.name,
            fingerprint=fingerprint(item, item.version),
            sha256="0" * 64,
            width=1024,
            height=768,
            format="JPEG",
            bytes=50_000,
            created_at="2026-01-01T00:00:00.000Z",
            updated_at="2026-01-01T00:00:00.000Z",
        )
        id_ = point_id(shop.name, item.document_id)
        points.append(Point(id_, vectors[len(points)], payload(item.metadata, origin)))
        if len(points) == CHUNK:
            await write()
    await write()
    await index.optimize()
    await index.close()
    await fetcher.close()


def serve(config: str) -> None:
    """A process that holds the Edge index."""
    from tests.support.servers import api_of, listening

    serving = ServingConfig.model_validate_json(config)

    async def forever() -> None:
        await asyncio.Event().wait()

    with listening(api_of(serving), serving.http.port):
        asyncio.run(forever())


@contextlib.contextmanager
def edge_server(folder: Path, shop: CollectionConfig) -> Iterator[str]:
    port = free_port()
    config = serving_config(
        folder,
        shop,
        data_dir=folder / "served",
        http=HttpConfig(port=port),
        access=AccessConfig(internal_token_file=folder / "token"),
    )
    fresh = multiprocessing.get_context("spawn")
    server = fresh.Process(target=serve, args=(config.model_dump_json(),))
    server.start()
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz") as answer:
                if answer.status == 200:
                    break
            assert server.is_alive()
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.join()


@dataclass
class Measured:
    seconds: float
    """From the first pod's start of listing to the last one's end."""
    megabytes: int
    """Of the largest pod."""
    lists: int
    cpu: float
    """Seconds of all pods together, from their start as processes to their end."""


def largest(pids: list[int], ended: threading.Event) -> int:
    """The most megabytes that one of the processes has had, asked every tenth of a second (Linux).

    What wait4 tells of a process includes what its parent had when it was started.
    """
    peak = 0
    while not ended.wait(0.1):
        for pid in pids:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                if told := re.search(r"VmHWM:\s+(\d+)", status):  # one that has ended has none
                    peak = max(peak, int(told[1]) // 1024)
    return peak


def pods(config: IngestionConfig, count: int, folder: Path, url: str, run: str) -> Measured:
    before = calls_of(url)
    started = []
    for number in range(count):
        own = config.model_copy(
            update={
                "data_dir": folder / f"{run}-{number}",
                "progress_file": folder / f"{run}-{number}.json",
            }
        )
        file = folder / f"{run}-{number}.config.json"
        file.write_text(own.model_dump_json(by_alias=True))
        command = [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(file)]
        command += ["--partition", f"{number}/{count}", "--result", str(folder / "result")]
        env = {**os.environ, "LOOKALIKE_RUN": run}
        with (folder / f"{run}-{number}.log").open("wb") as log:
            started.append((subprocess.Popen(command, env=env, stderr=log), own.progress_file))
    cpu = 0.0
    ends: list[Progress] = []
    watched = threading.Event()
    watch = ThreadPoolExecutor(1).submit(largest, [process.pid for process, _ in started], watched)
    for process, file in started:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(file.with_suffix(".log").read_text()[-2000:])
        cpu += used.ru_utime + used.ru_stime
        ends.append(Progress.model_validate_json(file.read_text()))
    watched.set()
    total = total_of(end.total for end in ends)
    if total.left or total.unchanged != total.listed:
        raise SystemExit(f"a rerun is to find everything unchanged: {total.told()}")
    first, last = min(e.started_at for e in ends), max(e.updated_at for e in ends)
    return Measured((last - first).total_seconds(), watch.result(), calls_of(url) - before, cpu)


def measure(engine: str, keys: int, counts: list[int]) -> None:
    with (
        contextlib.ExitStack() as open_,
        tempfile.TemporaryDirectory(prefix="lookalike-") as scratch,
    ):
        folder = Path(scratch)
        (folder / "token").write_text("token")
        (folder / "secrets" / "keys").mkdir(parents=True)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            (folder / "secrets" / "keys" / name).write_text("bench")
        url = open_.enter_context(bucket_of(keys))
        spec = source_of(url, "*.none") if engine == "none" else source_of(url)
        if engine in ("Edge", "none"):
            shop = collection(folder, "shop")
            if engine == "Edge":
                asyncio.run(fill(shop, spec, folder))
            reached: dict[str, Any] = {
                "gateway_url": open_.enter_context(edge_server(folder, shop)),
                "internal_token_file": folder / "token",
            }
        else:
            stand_in = open_.enter_context(qdrant_stand_in())

            def place(name: str) -> IndexConfig:
                return IndexConfig(
                    engine=Engine.QDRANT, name=name, url=stand_in.url, grpc_port=stand_in.grpc_port
                )

            shop = collection(folder, "shop", index=place("shop"), books=place("books"))
            asyncio.run(fill(shop, spec, folder))
            reached = {}
        bucket = spec.kind.as_bucket(folder / "secrets")
        assert bucket is not None
        config = IngestionConfig(
            collection=shop,
            sources=(spec,),
            buckets=(bucket,),
            ingestion=IngestionSpec(),
            data_dir=folder,
            secrets_dir=folder / "secrets",
            progress_file=folder / "progress.json",
            **reached,
        )
        one = -(-keys // 1000)
        for count in counts:
            asked = 0 if engine != "Qdrant" else stand_in.calls("Points/Get")
            made = pods(config, count, folder, url, f"run-{count}")
            calls = "–" if engine != "Qdrant" else f"{stand_in.calls('Points/Get') - asked:,}"
            print(
                f"| {engine} | {keys:,} | {count} | {keys / made.seconds:,.0f} | {made.lists:,} "
                f"({made.lists / one:.2f}) | {calls} | {made.cpu:.1f} | {made.megabytes} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--pods", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--engines", nargs="+", default=["Edge", "Qdrant"])
    given = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(
        "| engine | keys | pods | keys/s | LIST calls (of one listing) | reads of the index "
        "| CPU s | MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for engine in given.engines:
        for keys in given.keys:
            if engine != "Qdrant" or keys <= MOST_OF_STAND_IN:
                measure(engine, keys, given.pods)


if __name__ == "__main__":
    main()
