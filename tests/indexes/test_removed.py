"""What is recorded of a collection goes with its last index, and not before."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support import configs
from tests.support.configs import edge, serving_config

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.books.record import Deletion, FailedEntry, Kind, Scope
from lookalike_serving.books.store import Books, delete_all, records_of
from lookalike_serving.copies.dismissals import Dismissal, Dismissals
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.protocol import IndexFailure, Point
from lookalike_serving.indexes.left_behind import drop, left_behind
from lookalike_serving.indexes.removed import Removed, note, noted
from lookalike_serving.scans.record import Order
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.service import Service

DATA = "folder-1"
SHOES = IndexOwner(cluster=DATA, name="shoes")
RETRIEVER = Scope("retriever\x00search")


def config(data: Path, *names: str) -> ServingConfig:
    def collection(name: str):  # type: ignore[no-untyped-def]
        owner = IndexOwner(cluster=DATA, name=name)
        return configs.collection(data, name, index=edge(data, f"{name}-11111111", owner=owner))

    return serving_config(data, *(collection(name) for name in names or ("shop",)))


async def make(folder: Path, owner: IndexOwner | None) -> None:
    index = await EdgeIndex.open(
        folder, vector=VectorSpec(), dimension=4, fingerprint="f", owner=owner
    )
    await index.close()


async def drop_one(serving: ServingConfig, name: str) -> None:
    [found] = [each for each in await left_behind(serving) if each.name == name]
    await drop(found, lambda: serving, with_documents=True)


async def record(index: EdgeIndex, name: str) -> Scope:
    """One record of each kind that a person or a run makes."""
    scope = Scope(name)
    books = Books(lambda: index, scope)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    text = now.isoformat()
    await books.note_failures([FailedEntry("s", "k", "c", "why", 1, text, text)])
    await books.note_deletions({"p": Deletion("d", text)})
    await Dismissals(lambda: index, scope).note(Dismissal(("a", "b"), ("1", "2"), text))
    await ScanStore(lambda: index, scope).create(Order("a" * 32, name, now))
    kinds = (Kind.REJECTION, Kind.FEATURES, Kind.RUN, Kind.LISTING, Kind.SCAN_PART, Kind.CHANCE)
    await index.upsert([Point(scope.id(kind, "x"), None, {"x": 1}) for kind in kinds])
    return scope


async def count(index: EdgeIndex, scope: Scope) -> int:
    return sum([1 for kind in Kind async for _ in records_of(index, scope, kind, keys=False)])


async def records(data: Path) -> EdgeIndex:
    return await EdgeIndex.open(
        data / "indexes" / "batches", vector=None, dimension=None, fingerprint=None
    )


async def test_all_kinds_of_records_of_one_collection_are_deleted(tmp_path: Path) -> None:
    index = await records(tmp_path)
    try:
        shoes, shop = await record(index, "shoes"), await record(index, "shop")
        calibration = Point(RETRIEVER.id(Kind.CALIBRATION), None, {"x": 1})
        await index.upsert([calibration])
        total = await count(index, shoes)
        assert total == 10
        assert await delete_all(index, shoes) == total
        assert await count(index, shoes) == 0
        assert await delete_all(index, shoes) == 0  # it may be repeated
        assert await count(index, shop) == total
        assert len(await index.retrieve([calibration.id])) == 1
    finally:
        await index.close()


async def test_a_collection_is_noted_when_its_last_index_is_dropped(tmp_path: Path) -> None:
    serving = config(tmp_path)
    for name in ("shoes-00000000", "shoes-11111111"):
        await make(tmp_path / "indexes" / name, SHOES)
    await drop_one(serving, "shoes-00000000")
    assert noted(tmp_path) == []  # the other one is kept, and its records with it
    await drop_one(serving, "shoes-11111111")
    [removed] = noted(tmp_path)
    assert removed.owner == SHOES
    assert removed.is_gone


async def test_the_records_of_a_collection_that_is_served_stay(tmp_path: Path) -> None:
    owner = IndexOwner(cluster=DATA, name="shop")
    await make(tmp_path / "indexes" / "shop-00000000", owner)
    await drop_one(config(tmp_path), "shop-00000000")
    assert noted(tmp_path) == []


@pytest.mark.parametrize("owner", [None, IndexOwner(cluster="another", name="shoes")])
async def test_an_index_that_may_be_the_collections_keeps_its_records(
    tmp_path: Path, owner: IndexOwner | None
) -> None:
    """One of an early release, without an owner, is told by its name; another's is not counted."""
    serving = config(tmp_path)
    await make(tmp_path / "indexes" / "shoes-00000000", owner)
    await make(tmp_path / "indexes" / "shoes-11111111", SHOES)
    await drop_one(serving, "shoes-11111111")
    assert len(noted(tmp_path)) == (0 if owner is None else 1)


async def test_the_server_deletes_the_records_of_what_is_gone_alone(tmp_path: Path) -> None:
    index = await records(tmp_path)
    names = ("shoes", "hats", "shop")
    scopes = {name: await record(index, name) for name in names}
    await index.close()
    kept = tmp_path / "indexes" / "hats-00000000"
    await make(kept, IndexOwner(cluster=DATA, name="hats"))
    gone = tmp_path / "indexes" / "shoes-00000000"
    note(tmp_path, Removed(owner=SHOES, folder=gone))
    # Dropping this one was interrupted, and this one is served again.
    note(tmp_path, Removed(owner=IndexOwner(cluster=DATA, name="hats"), folder=kept))
    note(tmp_path, Removed(owner=IndexOwner(cluster=DATA, name="shop")))
    (tmp_path / "removed" / "damaged.json").write_text("{")
    service = await Service.start(config(tmp_path))
    await service.close()
    assert [each.owner.name for each in noted(tmp_path)] == ["hats"]
    index = await records(tmp_path)
    try:
        left = {name: await count(index, scope) for name, scope in scopes.items()}
    finally:
        await index.close()
    assert left == {"shoes": 0, "hats": 10, "shop": 10}


async def test_what_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = await records(tmp_path)
    scope = await record(index, "shoes")
    await index.close()
    note(tmp_path, Removed(owner=SHOES))

    async def fails(*_: object) -> int:
        raise IndexFailure("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("lookalike_serving.service.delete_all", fails)
        service = await Service.start(config(tmp_path))
    try:
        assert len(noted(tmp_path)) == 1
        await service._delete_records_of_removed()
        assert noted(tmp_path) == []
        assert await count(service.batches_index, scope) == 0  # type: ignore[arg-type]
    finally:
        await service.close()
