"""Ingestion that is killed at any moment: each image is in once, and the accounts balance.

Seeded. A few kills are made in every run of the tests; `make kill-ingestion` makes 100. The death
of a worker on Ray is tested in test_killed.py.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.configs import collection, serving_config
from tests.support.pictures import paint
from tests.support.ports import free_port
from tests.support.small_disk import small_disk

from lookalike_crds.config import AccessConfig, HttpConfig, IngestionConfig, ServingConfig
from lookalike_crds.image_collection import IngestionSpec
from lookalike_crds.sources import SourceSpec
from lookalike_serving.index.protocol import IndexFull, Point
from lookalike_serving.index.remote import RemoteIndex

KILLS = int(os.environ.get("LOOKALIKE_KILLS", "2"))
AWAY = float(os.environ.get("LOOKALIKE_AWAY", "2"))
"""Seconds that the index is away for."""
MUTANTS = int(os.environ.get("LOOKALIKE_MUTANTS", "60"))
IMAGES = 24
SECONDS = 240
at_length = pytest.mark.skipif(KILLS < 10, reason="make kill-ingestion runs it")
"""What takes a server and more than ten seconds, and has a quick counterpart below."""

# A process of its own for each run and each server, without importing everything again.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.ingest.killed_processes"])


class Scene:
    """A server and an ingestion beside it, each a process that can be killed."""

    def __init__(self, folder: Path, served: Path | None = None) -> None:
        """`served`: where the server keeps everything, if it is not that folder."""
        self.folder, served = folder, served or folder
        (folder / "images").mkdir()
        (folder / "token").write_text("token")
        shop = collection(served, "shop")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._serving: ServingConfig = serving_config(
            served,
            shop,
            data_dir=served / "served",
            http=HttpConfig(port=port),
            access=AccessConfig(internal_token_file=folder / "token"),
        )
        disk = {"name": "disk", "volume": {"path": str(folder / "images")}}
        self._ingestion = IngestionConfig(
            collection=shop,
            sources=(SourceSpec.model_validate(disk),),
            ingestion=IngestionSpec(batch_size=2),
            data_dir=folder / "data",
            gateway_url=self.url,
            internal_token_file=folder / "token",
            progress_file=folder / "progress.json",
        )
        self.writer = self.serve()

    def serve(self) -> Any:
        from tests.ingest.killed_processes import serve

        started = _PROCESSES.Process(target=serve, args=(self._serving.model_dump_json(),))
        started.start()
        deadline = time.monotonic() + SECONDS
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return started
            assert started.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def ingest(self) -> Any:
        from tests.ingest.killed_processes import ingest

        started = _PROCESSES.Process(target=ingest, args=(self._ingestion.model_dump_json(),))
        started.start()
        return started

    def get(self, what: str) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"{self.url}/v1/collections/shop/{what}", params={"limit": 1000}, timeout=60
        )
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def count(self, wanted: dict[str, str]) -> int:
        """How many of these pictures are in, as they are now."""
        found = {d["document_id"]: d.get("sha256") for d in self.get("documents")}
        return sum(found.get(name) == digest for name, digest in wanted.items())

    def close(self) -> None:
        kill(self.writer)


def kill(process: Any) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("kills"))
    yield made
    made.close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("seed", range(KILLS))
def test_each_image_is_in_once_whoever_is_killed(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)
    images = scene.folder / "images"
    # Each time another picture under each name, and one file that is none.
    for number in range(IMAGES):
        paint(images / f"{number:02d}.png", 1000 * seed + number)
    (images / "broken.png").write_bytes(f"broken {seed}".encode())
    wanted = {path.name: sha256(path) for path in images.glob("[0-9]*.png")}

    # A moment is told by what is in by then, so that it is one on any machine.
    moment = chance.randrange(IMAGES)
    run = scene.ingest()
    while run.is_alive() and scene.count(wanted) < moment:
        time.sleep(0.05)
    time.sleep(chance.uniform(0.0, 0.2))
    victim = ("driver", "writer", "both")[seed % 3]
    if victim != "writer":
        kill(run)
    if victim != "driver":
        kill(scene.writer)
        scene.writer = scene.serve()
    run.join(SECONDS)
    assert not run.is_alive(), "the run waits for ever"
    there = scene.count(wanted)
    print(f"seed {seed}: {victim} killed after {moment} of {IMAGES}; {there} were in at the end")
    again = scene.ingest()
    again.join(SECONDS)
    assert again.exitcode == 0

    documents = scene.get("documents")
    assert len(documents) == len({d["document_id"] for d in documents})
    assert {d["document_id"]: d["sha256"] for d in documents} == wanted
    newest = scene.get("runs")[0]
    balance = newest["balance"]
    assert newest["state"] == "COMPLETED_WITH_ERRORS"
    assert (balance["listed"], balance["failed"], balance["left"]) == (IMAGES + 1, 1, 0)
    assert balance["unchanged"] == there, "what was in is not read again"
    assert balance["new"] + balance["updated"] == IMAGES - there
    [failure] = scene.get("failures")
    assert (failure["key"], failure["code"]) == ("broken.png", "image-not-an-image")


@at_length
def test_an_index_that_is_killed_and_away_is_waited_for(scene: Scene) -> None:
    images = scene.folder / "images"
    for number in range(IMAGES):
        paint(images / f"{number:02d}.png", 777_000 + number)
    wanted = {path.name: sha256(path) for path in images.glob("[0-9]*.png")}
    run = scene.ingest()
    while run.is_alive() and not scene.count(wanted):
        time.sleep(0.02)
    kill(scene.writer)
    time.sleep(AWAY)
    scene.writer = scene.serve()
    run.join(SECONDS)
    assert run.exitcode == 0
    assert scene.count(wanted) == IMAGES
    newest = scene.get("runs")[0]
    assert newest["balance"]["left"] == 0


@at_length
def test_a_disk_that_fills_up_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as disk:
        scene = Scene(tmp_path, disk.folder)
        try:
            images = tmp_path / "images"
            for number in range(IMAGES):
                paint(images / f"{number:02d}.png", number)
            wanted = {path.name: sha256(path) for path in images.glob("*.png")}
            run = scene.ingest()
            while run.is_alive() and not scene.count(wanted):
                time.sleep(0.02)
            disk.leave(0)
            run.join(SECONDS)
            there = scene.count(wanted)
            assert not run.is_alive(), "the run waits for ever"
            assert run.exitcode or there == IMAGES
            disk.empty()
            again = scene.ingest()
            again.join(SECONDS)
            assert again.exitcode == 0
            assert scene.count(wanted) == IMAGES == len(scene.get("documents"))
            balance = scene.get("runs")[0]["balance"]
            assert (balance["unchanged"], balance["new"]) == (there, IMAGES - there)
            assert balance["left"] == 0
        finally:
            scene.close()


def test_a_full_disk_ends_the_run_and_says_so_and_the_next_one_goes_on(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        paint(place.images / f"{number}.png", number)
    whole = RemoteIndex.upsert
    room = [3]

    async def upsert(self: RemoteIndex, points: list[Point]) -> None:
        room[0] -= len(points)
        if room[0] < 0:
            raise IndexFull("no space left on device")
        await whole(self, points)

    with monkeypatch.context() as full:
        full.setattr(RemoteIndex, "upsert", upsert)
        with pytest.raises(IndexFull):
            place.ingest(batchSize=1)
    there = len(place.documents())
    total = place.ingest(batchSize=1).total
    assert (total.unchanged, total.new, total.left) == (there, 8 - there, 0)
    assert len(place.documents()) == 8


def test_an_index_that_is_away_for_a_while_is_waited_for(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        paint(place.images / f"{number}.png", number)
    whole: Callable[..., Any] = httpx.AsyncClient.post
    calls = iter(range(1000))

    async def post(self: httpx.AsyncClient, *args: Any, **kwargs: Any) -> httpx.Response:
        if 3 <= next(calls) < 8:
            raise httpx.ConnectError("away")
        answer: httpx.Response = await whole(self, *args, **kwargs)
        return answer

    monkeypatch.setattr(httpx.AsyncClient, "post", post)
    total = place.ingest(batchSize=1).total
    assert (total.new, total.left) == (8, 0)
    assert len(place.documents()) == 8


def test_no_damaged_file_ends_a_worker(place: Any, tmp_path: Path) -> None:
    chance = random.Random(7)
    formats = (".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff")
    whole = [paint(tmp_path / f"whole{suffix}", 5, (160, 120)) for suffix in formats]
    for number in range(MUTANTS):
        path = chance.choice(whole)
        data = bytearray(path.read_bytes())
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        else:
            for _ in range(chance.randint(1, 40)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (place.images / f"{number:04d}{path.suffix}").write_bytes(data)
    made = place.ingest()
    assert made.total.listed == MUTANTS
    assert made.total.left == 0
    assert 0 < made.total.failed < MUTANTS
    assert not {code for code in made.failed_by if not code.startswith("image-")}, made.failures
    assert len(place.documents()) == made.total.new
