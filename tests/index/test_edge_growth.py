"""How much of an Edge index is optimised when, and that the large graph stays meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from lookalike_crds.image_collection import (
    FieldSpec,
    FieldType,
    HnswSpec,
    Quantization,
    VectorSpec,
)
from lookalike_serving.index import edge_growth, edge_settings, edge_store
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.edge_growth import ASKED, BUSY, IDLE, Extent, Growth, Occasion, Share
from lookalike_serving.index.protocol import IndexFailure, Point, Query

MILLION = 1_000_000


def growth(**changed: int) -> Growth:
    """A million vectors of 512 numbers, all of them in one graph."""
    known = {"points": MILLION, "waiting": 0, "beside": 0, "deleted": 0, "built": MILLION}
    return Growth(**{**known, **changed}, vector_bytes=2048)


@pytest.mark.parametrize("occasion", [ASKED, IDLE, BUSY])
@pytest.mark.parametrize(
    ("since", "asked", "idle", "busy"),
    [
        ({}, None, None, None),
        ({"waiting": 4_000}, None, None, None),
        ({"waiting": 6_000}, Extent.BESIDE, None, None),
        ({"waiting": 25_000}, Extent.BESIDE, Extent.BESIDE, Extent.BESIDE),
        ({"waiting": 25_000, "beside": 80_000}, Extent.WHOLE, Extent.WHOLE, Extent.BESIDE),
        ({"beside": 90_000}, None, None, None),
        ({"beside": 110_000}, Extent.WHOLE, Extent.WHOLE, None),
        ({"waiting": 1, "beside": MILLION // 2}, Extent.WHOLE, Extent.WHOLE, Extent.WHOLE),
        ({"deleted": MILLION // 4}, Extent.WHOLE, Extent.WHOLE, Extent.WHOLE),
        # Without a graph, and with one whose limits are not known.
        ({"waiting": MILLION, "built": 0}, Extent.WHOLE, Extent.WHOLE, Extent.WHOLE),
        ({"waiting": 25_000, "built": 0}, Extent.WHOLE, Extent.WHOLE, Extent.WHOLE),
    ],
)
def test_what_is_new_gets_a_graph_of_its_own_until_it_is_worth_building_one_of_all(
    since: dict[str, int],
    asked: Extent | None,
    idle: Extent | None,
    busy: Extent | None,
    occasion: Occasion,
) -> None:
    expected = {id(ASKED): asked, id(IDLE): idle, id(BUSY): busy}[id(occasion)]
    assert growth(**since).due(occasion) is expected


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Share(50 * 1024, 0.0)
    monkeypatch.setattr(edge_settings, "INDEXING_THRESHOLD_KB", 50)
    monkeypatch.setattr(edge_settings, "_FULL_SCAN_KB", (10, 1_000))
    monkeypatch.setattr(edge_growth, "ASKED", Occasion(few, Share(50 * 1024, 0.1)))


def graphs(folder: Path) -> dict[str, int]:
    """The segments of the shard that have a graph, and from where on it scans for filters."""
    [shard] = folder.glob("shard-*")
    return {
        file.relative_to(shard / "segments").parts[0]: json.loads(file.read_text())[
            "full_scan_threshold"
        ]
        for file in shard.rglob("hnsw_config.json")
        if "vector_index" in file.parts
    }


async def test_the_large_graph_stays_as_it_is_while_an_index_grows(
    tmp_path: Path, small: None
) -> None:
    vectors = np.random.default_rng(0).standard_normal((5_400, 32)).astype(np.float32)
    points = [Point(str(uuid.UUID(int=n)), vector, {}) for n, vector in enumerate(vectors)]
    folder = tmp_path / "i"
    scalar = VectorSpec(quantization=Quantization.SCALAR)
    index = await EdgeIndex.open(folder, vector=scalar, dimension=32, fingerprint="f")
    await index.upsert(points[:4_600])
    await index.optimize()
    [(large, limit)] = graphs(folder).items()
    tuning = (await index.info()).tuning
    assert tuning is not None

    await index.upsert(points[4_600:5_020])
    assert (await index.info()).status == "grey"
    await index.optimize()
    info = await index.info()
    assert (info.points, info.indexed_vectors, info.status) == (5_020, 5_020, "green")
    assert info.tuning == tuning
    found = graphs(folder)
    assert len(found) == 2
    assert found[large] == limit
    assert (await index.query(Query(vectors[4_800], 1)))[0].id == points[4_800].id

    # Also where another process has it open next.
    await index.close()
    index = await EdgeIndex.open(folder, vector=scalar, dimension=32, fingerprint="f")
    await index.upsert(points[5_020:])
    await index.optimize()
    info = await index.info()
    assert (info.points, info.indexed_vectors, info.status) == (5_400, 5_400, "green")
    assert len(graphs(folder)) == 1
    assert large not in graphs(folder)
    assert info.tuning != tuning
    await index.close()


def files(shard: Path) -> dict[str, Path]:
    names = ("matrix.dat", "quantized.data", "links_compressed.bin")
    return {name: next(shard.rglob(name)) for name in names}


def contents(kept: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in kept.items()}


def inodes(kept: dict[str, Path]) -> dict[str, int]:
    return {name: file.stat().st_ino for name, file in kept.items()}


async def test_the_files_of_a_graph_are_linked_and_never_written_to(
    tmp_path: Path, small: None
) -> None:
    vectors = np.random.default_rng(0).standard_normal((2_000, 32)).astype(np.float32)
    points = [Point(str(uuid.UUID(int=n)), v, {"n": n}) for n, v in enumerate(vectors)]
    folder = tmp_path / "i"
    scalar = VectorSpec(quantization=Quantization.SCALAR)
    fields = (FieldSpec(name="n", type=FieldType.INTEGER),)
    index = await EdgeIndex.open(
        folder, vector=scalar, dimension=32, fingerprint="f", fields=fields
    )
    await index.upsert(points)
    await index.optimize()
    kept = tmp_path / "kept"
    kept.mkdir()
    linked = {}
    for name, file in files(folder / "shard-2").items():
        linked[name] = kept / name
        os.link(file, kept / name)
    before = contents(linked)

    async def change(start: int) -> None:
        """Everything that can be done to points of the graph."""
        await index.upsert([Point(each.id, -each.vector, {}) for each in points[start:][:50]])
        await index.delete([each.id for each in points[start + 50 :][:50]])
        await index.merge_payload(points[start + 100].id, {"n": -1})
        await index.query(Query(vectors[start], 10))

    await change(0)
    await index._store._optimize_copy(Extent.BESIDE)
    assert inodes(files(folder / "shard-3")) == inodes(linked)
    await change(500)
    await index.close()
    index = await EdgeIndex.open(
        folder, vector=scalar, dimension=32, fingerprint="f", fields=fields
    )
    await change(1_000)
    await index._store._optimize_copy(Extent.BESIDE)
    assert await index.count() == 1_850
    await index.close()
    assert contents(linked) == before


async def test_points_that_are_written_again_count_as_new(tmp_path: Path, small: None) -> None:
    vectors = np.random.default_rng(0).standard_normal((1_500, 32)).astype(np.float32)
    points = [Point(str(uuid.UUID(int=n)), vector, {}) for n, vector in enumerate(vectors)]
    folder = tmp_path / "i"
    index = await EdgeIndex.open(folder, vector=VectorSpec(), dimension=32, fingerprint="f")
    await index.upsert(points)
    await index.optimize()
    [large] = graphs(folder)
    await index.upsert([Point(each.id, -each.vector, {}) for each in points[:500]])
    await index.optimize()
    assert len(graphs(folder)) == 1
    assert large not in graphs(folder)
    await index.close()


async def test_less_free_disk_is_needed_for_what_is_new(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await EdgeIndex.open(tmp_path / "i", vector=VectorSpec(), dimension=4, fingerprint="f")
    needed = []
    monkeypatch.setattr(edge_store, "size_on_disk", lambda _: 4_000_000_000)
    monkeypatch.setattr(edge_store, "free_bytes", lambda _: 0)
    for extent in Extent:
        with pytest.raises(IndexFailure, match="of free disk space for its copy") as failed:
            await index._store._optimize_copy(extent)
        needed.append(str(failed.value).partition(" needs ")[2][:7])
    assert needed == ["12.1 GB", "8.1 GB "]
    await index.close()


async def test_an_index_whose_settings_have_changed_is_optimised_as_a_whole(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Share(50 * 1024, 0.0)
    monkeypatch.setattr(edge_growth, "IDLE", Occasion(few, Share(50 * 1024, 0.1)))
    monkeypatch.setattr(edge_store, "IDLE_SECONDS", 0.05)
    vectors = np.random.default_rng(0).standard_normal((5_020, 32)).astype(np.float32)
    points = [Point(str(uuid.UUID(int=n)), vector, {}) for n, vector in enumerate(vectors)]
    folder = tmp_path / "i"
    index = await EdgeIndex.open(folder, vector=VectorSpec(), dimension=32, fingerprint="f")
    await index.upsert(points[:4_600])
    await index.optimize()
    await index.close()
    changed = VectorSpec(hnsw=HnswSpec(m=8))
    index = await EdgeIndex.open(folder, vector=changed, dimension=32, fingerprint="f")
    await index.upsert(points[4_600:])
    async with asyncio.timeout(60):
        while [each.name for each in folder.glob("shard-*")] != ["shard-3"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await index.close()
    assert index._store.manifest.built == 5_020
    assert len(graphs(folder)) == 1
