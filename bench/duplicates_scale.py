"""Duplicate scans at scale: the hash join, a scan of many documents, and one after 1 % of changes.

    make bench-duplicates-scale [BENCH_ARGS="--hashes 10000000 --documents 1000000"]

Hashes and vectors are drawn: `--hashes` PDQ codes of random bits, and `--documents` vectors in
clusters. One in fifty has a copy: a code with up to 31 bits changed, and a vector with a cosine of
.97 to it. Beside the hash join, in the same run: each code of a sample compared with
all, which tells the recall of the tables and what comparing each with each would take.

The scan is the product's, over an Edge index in the same process. Images are not compared: of drawn
vectors there are none, so this is the processor time of reading, of finding candidates and of
recording.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
from tests.support.configs import collection, serving_config

from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_crds.moments import utc_text
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.duplicates.hash_join import near, tables_for
from lookalike_serving.duplicates.hashes import Hashes
from lookalike_serving.index.protocol import Index, Point, Query
from lookalike_serving.scans import run as scan_run
from lookalike_serving.scans.pictures import Pictures
from lookalike_serving.scans.record import Order, Pair, Scan, Scanned
from lookalike_serving.scans.runner import scans_of
from lookalike_serving.scans.starting import begin
from lookalike_serving.scans.turns import Turns
from lookalike_serving.service import Service

_DIMENSION = 512
_COPIES = 50
"""One in so many has a copy."""
_RADIUS = 31
_SAMPLE = 200
_WRITTEN = 2000
_TRIES = 3
"""Scans after a change, which take seconds; the fastest counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--documents", type=int, default=50_000)
    asked = parser.parse_args()
    if asked.hashes:
        _join(asked.hashes)
    if asked.documents:
        asyncio.run(_scans(asked.documents))


# -- hashes ----------------------------------------------------------------------------------------


def _codes(count: int, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """(n, 4) codes; the last ones are copies of the first ones, and how many."""
    codes = random.integers(0, 2**64, (count, 4), np.uint64)
    copies = count // _COPIES
    for row in range(copies):
        bits = np.zeros(256, np.uint8)
        bits[random.choice(256, random.integers(0, _RADIUS + 1), replace=False)] = 1
        codes[count - copies + row] = codes[row] ^ np.packbits(bits).view(np.uint64)
    return codes, copies


def _join(count: int) -> None:
    codes, copies = _codes(count, np.random.default_rng(1))
    before = _peak()
    begun = time.perf_counter()
    found = near(codes, None, _RADIUS)
    took = time.perf_counter() - begun
    bits, tables = tables_for(count, _RADIUS)
    right = int((found[:, 1] - found[:, 0] == count - copies).sum())
    begun = time.perf_counter()
    for row in range(_SAMPLE):
        away = np.bitwise_count(codes ^ codes[row]).sum(axis=1)
        assert (away <= _RADIUS).sum() >= 1
    each = (time.perf_counter() - begun) / _SAMPLE
    print(f"hash join of {count:,} within {_RADIUS} bits: {took:.1f} s")
    print(f"  {tables} tables of {bits} bits")
    print(f"  recall {right / copies:.4f} of {copies:,} pairs, {len(found) - right} others")
    print(f"  memory above the codes: {(_peak() - before) / 1e6:,.0f} MB")
    print(f"  each with each: {each * count / 2:,.0f} s; ratio {each * count / 2 / took:,.0f}")


# -- scans -----------------------------------------------------------------------------------------


class _NoPictures(Pictures):
    """Candidates that would be compared by their images are counted, and are no copies."""

    async def compared(self, a: tuple[int, Scanned], b: tuple[int, Scanned]) -> Pair | None:
        return None


async def _scans(count: int) -> None:
    random = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = collection(folder, "photos", duplicates=DuplicatesSpec())
        service = await Service.start(serving_config(folder, config))
        scan_run.Pictures = _NoPictures  # type: ignore[misc]
        try:
            await _measure(service, count, random)
        finally:
            await service.close()


async def _measure(service: Service, count: int, random: np.random.Generator) -> None:
    index = service.collection("photos").index
    dimension = (await index.info()).dimension or _DIMENSION
    vectors = _vectors(count, dimension, random)
    begun = time.perf_counter()
    await _write(index, vectors, 0, random, datetime.now(UTC) - timedelta(days=1))
    await index.optimize()
    wrote = time.perf_counter() - begun
    print(f"{count:,} documents of {dimension} dimensions written in {wrote:.0f} s")
    first, took = await _scan(service)
    copies = count // _COPIES
    hits = await index.query_batch([Query(vector, 4) for vector in vectors[: min(copies, _SAMPLE)]])
    found = sum(
        any(hit.id == _point(count - copies + row) for hit in near) for row, near in enumerate(hits)
    )
    print(f"first scan: {took:.1f} s of processor time, {first.progress.candidates:,} candidates")
    print(f"  recall of the nearest by embedding: {found / len(hits):.3f}")
    print(f"  peak memory of the process: {_peak() / 1e6:,.0f} MB")
    changed = max(1, count // 100)
    await _write(index, _vectors(changed, dimension, random), count, random, datetime.now(UTC))
    await index.optimize()  # else the engine would do so while the scan is measured
    tries = [await _scan(service, forget=True) for _ in range(_TRIES)]
    again, later = min(tries, key=lambda each: each[1])
    print(
        f"scan after 1 % new documents: {later:.2f} s of processor time, "
        f"{again.progress.unchanged:,} unchanged"
    )
    print(f"ratio {later / took:.3f} (reading and candidates alone)")


def _vectors(count: int, dimension: int, random: np.random.Generator) -> np.ndarray:
    centres = random.normal(size=(max(1, count // 200), dimension)).astype(np.float32)
    vectors = centres[random.integers(0, len(centres), count)]
    vectors += 0.8 * random.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    copies = count // _COPIES
    noise = random.normal(size=(copies, dimension)).astype(np.float32)
    noise *= 0.25 / np.linalg.norm(noise, axis=1, keepdims=True)
    if copies:
        vectors[-copies:] = vectors[:copies] + noise
    return vectors


def _point(number: int) -> str:
    return point_id("photos", f"{number}.jpg")


async def _write(
    index: Index, vectors: np.ndarray, first: int, random: np.random.Generator, at_time: datetime
) -> None:
    for start in range(0, len(vectors), _WRITTEN):
        points = []
        for at, vector in enumerate(vectors[start : start + _WRITTEN], first + start):
            hashes = Hashes(
                random.bytes(16), 100, random.bytes(32), random.bytes(8), random.bytes(32), bytes(8)
            )
            origin = Origin(
                document_id=f"{at}.jpg",
                image=f"file:///{at}.jpg",
                sha256=f"{at:064x}",
                width=100,
                height=100,
                copies=hashes.stored(),
                updated_at=utc_text(at_time, "milliseconds"),
            )
            points.append(Point(_point(at), vector, payload({}, origin)))
        await index.upsert(points)


async def _scan(service: Service, *, forget: bool = False) -> tuple[Scan, float]:
    """`forget`: so that the next one builds on the same earlier scan."""
    store = await scans_of(service, "photos")
    config = service.collection("photos").config
    order = Order(uuid4().hex, "photos", datetime.now(UTC))
    begun = time.process_time()
    scan = await begin(store, order, config)
    await scan_run.ScanRun(scan, store, service, "bench", Turns("bench", alone=True)).go()
    took = time.process_time() - begun
    ended = await store.scan(order.id)
    assert ended is not None
    assert ended.progress.report is not None, ended.progress
    if forget:
        await store.drop(order.id)
    return ended, took


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
