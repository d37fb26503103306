"""A whole server for benchmarks: Ray, Serve, HAProxy and a replica, as a pod starts them."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.config import (
    CollectionConfig,
    HttpConfig,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import Engine, ModelSpec, Provider, VectorSpec
from lookalike_crds.retriever import CollectionRef
from lookalike_serving.demo.catalogue import render_catalogue
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.embed import load_embedder
from lookalike_serving.images import decode_image
from lookalike_serving.index import Point, open_index

_READY_SECONDS = 600.0
_SEED = 7


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers."""

    config: ServingConfig
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.config.http.port}"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(config: ServingConfig) -> Iterator[Served]:
    """The server of `config`, ended with the context. Raises SystemExit with the end of its log."""
    file = config.data_dir / "run" / "serving.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(config.model_dump_json())
    path = config.data_dir / "server.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lookalike_serving.local", "--config", str(file)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    served = Served(config, process, path)
    try:
        _wait_until_ready(served)
        yield served
    finally:
        _stop(process)


def _wait_until_ready(served: Served) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and served.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{served.url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    tail = served.log.read_text(errors="replace")[-3000:]
    raise SystemExit(f"the server did not become ready:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def demo_server(documents: int) -> Iterator[tuple[Served, list[Path]]]:
    """A server of so many pictures of the demo catalogue in an Edge index, and the pictures."""
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as scratch:
        root = Path(scratch)
        render_catalogue(root / "catalogue", documents, _SEED)
        pictures = sorted((root / "catalogue" / "images").iterdir())
        collection = CollectionConfig(
            name="catalogue",
            model=ModelSpec(provider=Provider.DEMO),
            vector=VectorSpec(),
            index=IndexConfig(engine=Engine.EDGE, name="catalogue", path=root / "index"),
        )
        asyncio.run(_fill(collection, pictures, root))
        config = ServingConfig(
            collections=(collection,),
            retrievers=(
                RetrieverConfig(name="shop", collections=(CollectionRef(name="catalogue"),)),
            ),
            data_dir=root / "data",
            image_roots=(root / "catalogue",),
            http=HttpConfig(port=free_port()),
            batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=root / "batches"),
        )
        with serving(config) as served:
            yield served, pictures


async def _fill(collection: CollectionConfig, pictures: list[Path], root: Path) -> None:
    embedder = load_embedder(collection.model, root / "weights")
    info = embedder.info
    index = await open_index(collection, dimension=info.dimension, fingerprint=info.fingerprint)
    for start in range(0, len(pictures), 64):
        part = pictures[start : start + 64]
        tensors = [
            embedder.preprocess(decode_image(each.read_bytes(), min_side=info.min_side).pixels)
            for each in part
        ]
        points = [
            Point(
                point_id(collection.name, each.stem),
                vector,
                payload({"title": each.stem}, Origin(each.stem, each.as_uri())),
            )
            for each, vector in zip(part, embedder.embed_pixels(tensors), strict=True)
        ]
        await index.upsert(points)
    await index.optimize()
    await index.close()
