"""Services that keep their batch records in one index: each has those of its own collections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from desk import Desk, Shelf

from lookalike_crds.config import IndexConfig
from lookalike_crds.image_collection import Engine
from lookalike_serving.batches.operations import Batches
from lookalike_serving.batches.runner import Runner
from lookalike_serving.batches.store import BatchStore
from lookalike_serving.batches.work import Work
from lookalike_serving.index.open import open_payload_index
from lookalike_serving.index.protocol import Index
from lookalike_serving.problems import Problem


class Service(Desk):
    """One of several services on one index of records; it serves one collection."""

    def __init__(self, folder: Path, index: Index, collection: str) -> None:
        super().__init__(folder, index, Shelf())
        self.store = BatchStore(lambda: index, {collection}.__contains__)
        slots = asyncio.Semaphore(4)
        work = Work(self.shelf.load, self.shelf.store, self.staging, slots, (0.001, 0.001))
        runner = Runner(self.store, self.staging, work, alone=False)
        self.batches = Batches(self.store, self.staging, runner, self.shelf.load)
        self.collection = self.collection.model_copy(update={"name": collection})


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    config = IndexConfig(engine=Engine.EDGE, name="batches", path=tmp_path / "batches")
    made = await open_payload_index(config)
    yield made
    await made.close()


@pytest.fixture
async def shop(tmp_path: Path, index: Index) -> AsyncIterator[Service]:
    service = Service(tmp_path / "shop", index, "shop")
    yield service
    await service.batches.close()


@pytest.fixture
async def archive(tmp_path: Path, index: Index) -> AsyncIterator[Service]:
    service = Service(tmp_path / "archive", index, "archive")
    yield service
    await service.batches.close()


async def test_a_batch_is_run_by_who_serves_its_collection_alone(
    shop: Service, archive: Service
) -> None:
    theirs = await archive.submit(b"one", b"two")
    shop.batches.start()
    ours = await shop.submit(b"three")
    assert (await shop.end(ours)).counts.succeeded == 1
    assert shop.shelf.stored == {"d0": 1}
    assert (await archive.batches.batch(theirs.order.id)).progress.owner is None
    archive.batches.start()
    assert (await archive.end(theirs)).counts.succeeded == 2


async def test_it_is_listed_shown_and_cancelled_by_them_alone(
    shop: Service, archive: Service
) -> None:
    theirs = await archive.submit(b"one")
    ours = await shop.submit(b"two")
    for service, batch in ((shop, ours), (archive, theirs)):
        found, _ = await service.batches.page(None, None, None, 10)
        assert [each.order.id for each in found] == [batch.order.id]
    for ask in (shop.batches.batch, shop.batches.cancel, shop.batches.retry):
        with pytest.raises(Problem, match="There is no batch"):
            await ask(theirs.order.id)
    assert (await archive.batches.batch(theirs.order.id)).state.active


async def test_what_another_service_is_still_reading_is_not_swept_away(
    shop: Service, archive: Service
) -> None:
    theirs = await archive.submit(b"one")
    await archive.store.reserve(theirs.order)  # as while its request is read
    assert [id async for id in shop.store.unpublished()] == []
    assert [id async for id in archive.store.unpublished()] == [theirs.order.id]


async def test_two_services_of_one_collection_have_the_same_batches(
    tmp_path: Path, shop: Service, index: Index
) -> None:
    batch = await shop.submit(b"one")
    second = Service(tmp_path / "second", index, "shop")
    assert (await second.batches.batch(batch.order.id)).order == batch.order
    assert (await second.batches.cancel(batch.order.id)).state.value == "CANCELLING"
    await second.batches.close()


async def test_a_batch_is_run_by_who_has_its_bytes(
    tmp_path: Path, shop: Service, index: Index
) -> None:
    other = Service(tmp_path / "other", index, "shop")
    batch = await shop.submit(b"one")
    by_url = await shop.submit("https://example.com/two.png")
    other.shelf.urls["https://example.com/two.png"] = b"two"
    other.batches.start()
    assert (await other.end(by_url)).counts.succeeded == 1
    assert (await other.batches.batch(batch.order.id)).progress.owner is None
    shop.batches.start()
    assert (await shop.end(batch)).counts.succeeded == 1
    await other.batches.close()


async def test_bytes_that_are_gone_for_good_fail_and_say_so(
    tmp_path: Path, shop: Service, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await shop.submit(b"one")
    monkeypatch.setattr("lookalike_serving.batches.runner.ELSEWHERE", timedelta(0))
    other = Service(tmp_path / "other", index, "shop")
    other.batches.start()
    assert (await other.end(batch)).counts.failed == 1
    [item] = await other.store.items(batch.order.id, 0, 1)
    assert item.error is not None
    assert item.error.code == "image-lost"
    await other.batches.close()


async def test_who_shares_a_folder_shares_its_batches(
    tmp_path: Path, shop: Service, index: Index
) -> None:
    beside = Service(tmp_path / "shop", index, "shop")
    batch = await shop.submit(b"one")
    beside.batches.start()
    assert (await beside.end(batch)).counts.succeeded == 1
    await beside.batches.close()
