"""A small disk that fills up: the service goes on reading, says so, and recovers."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.support.configs import collection, retriever, serving_config
from tests.support.ports import free_port
from tests.support.small_disk import Disk, small_disk

from lookalike_crds.config import (
    AccessConfig,
    HttpConfig,
    IndexConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import Engine, VectorSpec
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.open import open_payload_index
from lookalike_serving.index.protocol import IndexFull, Point
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.machine.disk import LAST_RESERVE, RESERVE, free_bytes

DOCUMENTS = "/v1/collections/shop/documents"
PROGRAM = """
import sys, uvicorn
from pathlib import Path
from lookalike_crds.config import ServingConfig
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service
config = ServingConfig.model_validate_json(Path(sys.argv[1]).read_bytes())
uvicorn.run(create_api(lambda: Service.start(config)), port=config.http.port, log_level="error")
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with small_disk(tmp_path_factory.mktemp("disk")) as made:
        yield made


def points(count: int) -> list[Point]:
    rng = np.random.default_rng()
    return [
        Point(str(uuid.uuid4()), rng.standard_normal(512).astype("f4"), {"n": n})
        for n in range(count)
    ]


async def test_an_index_that_fills_the_disk_refuses_and_goes_on_reading(disk: Disk) -> None:
    async def opened() -> EdgeIndex:
        return await EdgeIndex.open(
            disk.folder / "edge", vector=VectorSpec(), dimension=512, fingerprint="m"
        )

    index = await opened()
    disk.leave(RESERVE + (8 << 20))
    with pytest.raises(IndexFull, match="the disk of the data folder is full"):
        await index.upsert(points(256 * 64))  # slice by slice: the first ones are written
    there = await index.count()
    assert there > 0
    assert free_bytes(disk.folder) > LAST_RESERVE
    ids = [record.id for record in (await index.scroll(limit=10)).records]
    await index.delete(ids)  # makes room, so it is possible still
    disk.leave(0)
    for write in (index.upsert(points(1)), index.delete(ids), index.merge_payload(ids[0], {})):
        with pytest.raises(IndexFull):
            await write
    assert await index.count() == there - 10
    await index.close()
    with pytest.raises(IndexFull, match="cannot be opened"):
        await opened()
    disk.empty()
    index = await opened()
    await index.upsert(points(1))
    assert await index.count() == there - 9
    await index.drop()


async def test_batch_records_are_noted_below_the_reserve_and_refused_at_the_end(
    disk: Disk,
) -> None:
    config = IndexConfig(engine=Engine.EDGE, name="batches", path=disk.folder / "records")
    index = await open_payload_index(config)
    disk.leave(RESERVE - (16 << 20))
    await index.upsert([Point(str(uuid.uuid4()), None, {"state": "RUNNING"})])
    disk.leave(0)
    with pytest.raises(IndexFull):
        await index.upsert([Point(str(uuid.uuid4()), None, {"state": "FAILED"})])
    disk.empty()
    await index.upsert([Point(str(uuid.uuid4()), None, {"state": "FAILED"})])
    assert await index.count() == 2
    await index.drop()


@dataclass(frozen=True)
class Served:
    process: subprocess.Popen[bytes]
    client: httpx.Client
    config: ServingConfig

    def upload(self, name: str, image: bytes) -> httpx.Response:
        return self.client.post(
            DOCUMENTS, data={"document_id": name}, files={"image": ("a", image)}
        )


@pytest.fixture(scope="module")
def served(disk: Disk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own process: a bus error would end this one."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "token").write_text("secret")
    port = free_port()
    data = disk.folder / "data"
    config = serving_config(
        data,
        collection(data, "shop"),
        retrievers=(retriever("shop", "shop"),),
        http=HttpConfig(port=port),
        access=AccessConfig(internal_token_file=folder / "token"),
    )
    (folder / "config.json").write_text(config.model_dump_json(by_alias=True))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder / "config.json")])
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield Served(process, client, config)
    process.terminate()
    process.wait(60)


def picture(seed: int, side: int = 64) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_service_whose_disk_fills_only_reads_says_so_and_recovers(
    disk: Disk, served: Served
) -> None:
    client = served.client
    assert served.upload("kept", picture(0)).status_code == 201
    assert "read_only" not in client.get("/readyz").json()

    disk.leave(RESERVE + (4 << 20))
    answers = [served.upload(f"large-{n}", picture(n, 900)) for n in range(6)]
    assert answers[0].status_code == 201
    assert answers[-1].status_code == 507
    problem = answers[-1].json()
    assert problem["code"] == "storage-full"
    assert "bytes are free" in problem["detail"]
    assert free_bytes(disk.folder) > LAST_RESERVE

    disk.leave(0)
    assert served.upload("late", picture(1)).status_code == 507
    body: dict[str, Any] = {"items": [{"image": "https://shop.example/a.jpg"}]}
    assert client.post("/v1/collections/shop/batches", json=body).status_code == 507
    assert client.delete(f"{DOCUMENTS}/kept").status_code == 507
    patch = client.patch(f"{DOCUMENTS}/kept", json={"metadata": {"a": 1}})
    assert patch.status_code == 507
    with pytest.raises(IndexFull, match="the disk of the data folder is full"):
        asyncio.run(_ingest(served))
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["read_only"]) == (200, True)
    assert "lookalike_read_only 1.0" in client.get("/metrics").text
    query = {"queries": [{"type": "document", "value": "kept"}]}
    assert client.post("/v1/retrievers/shop/search", json=query).status_code == 200
    assert client.get(f"{DOCUMENTS}/kept/thumbnail").status_code == 200
    assert client.get(f"{DOCUMENTS}/kept/image").content == picture(0)

    disk.leave(RESERVE - (16 << 20))
    assert client.delete(f"{DOCUMENTS}/large-0").status_code == 204
    assert served.upload("late", picture(1)).status_code == 507

    disk.empty()
    assert served.upload("late", picture(1)).status_code == 201
    assert "read_only" not in client.get("/readyz").json()
    assert served.process.poll() is None


async def _ingest(served: Served) -> None:
    url = str(served.client.base_url)
    index = RemoteIndex(url, "shop", "secret", retry_seconds=0)
    try:
        info = await index.info()
        vector = np.zeros(info.dimension or 0, dtype=np.float32)
        vector[0] = 1
        await index.upsert([Point(str(uuid.uuid4()), vector, {"a": 1})])
    finally:
        await index.close()
