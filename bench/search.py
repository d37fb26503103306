"""The index beside the bare engine and beside exact search, on synthetic clustered vectors.

    python bench/search.py [--points 100000] [--million] [--sweep] [--filters] [--callers]
                           [--ingest 10000 [--rate 1000]]

What is measured, through `open_index` as the service uses it: recall@10 against exact search in
float32; latency and searches a second of `Index.query` beside `EdgeShard.query` with the same
settings on the same shard, each from a NumPy vector to read-out ids, scores and payloads, taking
turns. The search settings are those that the index has found for itself. `--filters`: recall under
filters that 1 %, .1 % and .01 % of the points meet, and under one that only neighbours, or only
strangers, of the query meet; everything is then measured with an index that has fields, whose
graph takes several times as long to build. `--callers`: searches a second of 1, 4 and 16 callers,
beside the same callers if each search is a call of its own; and the CPU time of a search by thread.
Goals: recall >= .999, throughput >= .95 of the bare engine's.

Vectors are 5,000 random centres plus noise of .8 a component, normalised – harder than
embeddings of real images, whose neighbourhoods are tighter. Data and indexes are kept in the
user's cache folder; memory stays below that of the index plus a few hundred MB.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import resource
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import (
    Engine,
    FieldSpec,
    FieldType,
    ModelSpec,
    Quantization,
    VectorSpec,
)
from lookalike_serving.index import Point, Query, open_index
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.edge_process import ShardProcess
from lookalike_serving.index.edge_settings import search_params
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.tuning import EF, oversampling

DIMENSION = 512
CENTRES, NOISE = 5_000, 0.8
TOP = 10
QUERIES = 1_000
FILTERED = 100
ROUNDS = 3
BATCH = 32
WRITTEN_AT_ONCE = 250
_CHUNK = 20_000
_ODD = 0x9E3779B97F4A7C15F39CC0605CEDC835
RECALL_GOAL, THROUGHPUT_GOAL = 0.999, 0.95

VECTOR = VectorSpec(quantization=Quantization.SCALAR)
# A graph with links for fields takes several times as long to build.
FIELDS = tuple(FieldSpec(name=name, type=FieldType.INTEGER) for name in ("share", "centre"))
Matrix = NDArray[np.float32]


def cache(points: int) -> Path:
    """The folder for what is made of `points` vectors; another one if the vectors change."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "lookalike" / "bench" / f"search-{points}x{DIMENSION}-{CENTRES}-{NOISE}-spread"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clustered(count: int, seed: int) -> Iterator[Matrix]:
    """`count` vectors in chunks of (n, 512) float32, L2-normalised."""
    return (chunk for chunk, _ in with_centres(count, seed))


def with_centres(count: int, seed: int) -> Iterator[tuple[Matrix, NDArray[np.int64]]]:
    """The same with (n,) the number of the centre that each lies at."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIMENSION), dtype=np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, count, _CHUNK):
        n = min(_CHUNK, count - start)
        chunk = rng.standard_normal((n, DIMENSION), dtype=np.float32)
        chunk *= NOISE
        at = rng.integers(0, CENTRES, n)
        chunk += centres[at]
        chunk /= np.linalg.norm(chunk, axis=1, keepdims=True)
        yield chunk, at


def exact_neighbours(points: int, queries: Matrix) -> NDArray[np.int64]:
    """(q, 10): the rows that exact search finds, best first."""
    stored = cache(points) / f"exact-{QUERIES}.npy"
    if stored.exists():
        kept: NDArray[np.int64] = np.load(stored)
        return kept
    best = np.full((len(queries), TOP), -np.inf, dtype=np.float32)
    rows = np.zeros((len(queries), TOP), dtype=np.int64)
    start = 0
    for chunk in clustered(points, seed=1):
        scores = np.concatenate([best, queries @ chunk.T], axis=1)
        numbers = np.concatenate(
            [rows, np.tile(np.arange(start, start + len(chunk)), (len(queries), 1))], axis=1
        )
        top = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        best = np.take_along_axis(scores, top, axis=1)
        rows = np.take_along_axis(numbers, top, axis=1)
        start += len(chunk)
    order = np.argsort(-best, axis=1)
    rows = np.take_along_axis(rows, order, axis=1)
    np.save(stored, rows)
    return rows


def point_id(row: int) -> str:
    """Spread over all ids, as hashes are: a sample of ids is then one of rows."""
    return str(uuid.UUID(int=(row + 1) * _ODD % 2**128))


def payload(row: int, centre: int) -> dict[str, object]:
    """`share` is spread evenly over 10,000 values, and independent of the vector."""
    share = row * 2_654_435_761 % 2**32 * 10_000 >> 32
    return {"kind": f"kind-{row % 20}", "price": row % 500, "share": share, "centre": centre}


def index_folder(points: int, filters: bool) -> Path:
    return cache(points) / ("index-with-fields" if filters else "index")


async def built(points: int, fresh: bool, filters: bool) -> EdgeIndex:
    """The index of `points` vectors, from the cache where it is complete. `filters`: with fields
    to filter by."""
    folder = index_folder(points, filters)
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    collection = CollectionConfig(
        name="bench",
        model=ModelSpec(),
        vector=VECTOR,
        fields=FIELDS if filters else (),
        index=IndexConfig(engine=Engine.EDGE, name="bench", path=folder),
    )
    index = await open_index(collection, dimension=DIMENSION, fingerprint="synthetic")
    assert isinstance(index, EdgeIndex)
    info = await index.info()
    if info.points == info.indexed_vectors == points:
        return index
    started = time.perf_counter()
    row = 0
    for chunk, centres in with_centres(points, seed=1):
        await index.upsert(
            [
                Point(point_id(row + n), vector, payload(row + n, int(centre)))
                for n, (vector, centre) in enumerate(zip(chunk, centres, strict=True))
            ]
        )
        row += len(chunk)
    written = time.perf_counter()
    pauses: list[float] = []
    watching = asyncio.create_task(watch(pauses))
    await index.optimize()
    watching.cancel()
    optimised = time.perf_counter()
    print(
        f"  built: upsert {written - started:.0f} s, {points / (written - started):,.0f} points/s; "
        f"optimise {optimised - written:.0f} s, during which the event loop paused for "
        f"{max(pauses) * 1e3:.0f} ms at most"
    )
    return index


async def watch(pauses: list[float]) -> None:
    """Notes how late the event loop comes back, seconds, until cancelled."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        pauses.append(time.perf_counter() - started - 0.001)


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds a query."""

    seconds: NDArray[np.float64]

    @property
    def p50_ms(self) -> float:
        return float(np.percentile(self.seconds, 50)) * 1e3

    @property
    def p99_ms(self) -> float:
        return float(np.percentile(self.seconds, 99)) * 1e3

    @property
    def per_second(self) -> float:
        """Of one thread, leaving the slowest twentieth out: there other programs ran."""
        quick = np.sort(self.seconds)[: max(1, int(len(self.seconds) * 0.95))]
        return float(len(quick) / quick.sum())


async def ours(index: EdgeIndex, vectors: Matrix) -> list[list[str]]:
    if len(vectors) == 1:
        answers = [await index.query(Query(vectors[0], TOP))]
    else:
        answers = await index.query_batch([Query(vector, TOP) for vector in vectors])
    return [[hit.id for hit in hits] for hits in answers]


def same_shard(index: EdgeIndex, points: int, folder: Path) -> edge.EdgeShard:
    """The index's own files, opened a second time, in this process: a copy by hard links."""
    copy = cache(points) / "bare"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(shard_folder(index, folder), copy, copy_function=os.link)
    return edge.EdgeShard.load(str(copy))


def bare(shard: edge.EdgeShard, params: edge.SearchParams, vectors: Matrix) -> None:
    requests = [
        edge.QueryRequest(
            TOP, query=edge.Query.Nearest(vector.tolist()), with_payload=True, params=params
        )
        for vector in vectors
    ]
    if len(requests) == 1:
        answers = [shard.query(requests[0])]
    else:
        answers = shard.query_batch(edge.QueryBatchRequest(requests))
    for hits in answers:
        [(str(hit.id), hit.score, hit.payload) for hit in hits]


async def settings(index: EdgeIndex) -> tuple[int, bool, float]:
    """What the index searches with, as `search_params` takes it."""
    tuning = (await index.info()).tuning
    if tuning is None:
        return EF, False, oversampling(VECTOR)
    return tuning.beam(TOP), False, tuning.oversampling


async def side_by_side(
    index: EdgeIndex, shard: edge.EdgeShard, queries: Matrix, batch: int
) -> tuple[Figures, Figures, list[list[str]]]:
    """(ours, the bare engine's, ours' answers): calls of `batch` queries, taking turns.

    Turn by turn, so that both see the same machine; who goes first alternates, and the two never
    ask the same thing in one turn: the second would find its nodes in the CPU's caches.
    """
    params = search_params(*await settings(index))
    starts = range(0, len(queries) - batch + 1, batch)
    mine, its = [], []
    answers: list[list[str]] = []
    for round_ in range(ROUNDS):
        for turn, start in enumerate(starts):
            other = starts[(turn + len(starts) // 2) % len(starts)]
            for is_ours in (True, False) if (turn + round_) % 2 else (False, True):
                part = queries[start : start + batch] if is_ours else queries[other : other + batch]
                started = time.perf_counter()
                if is_ours:
                    found = await ours(index, part)
                    mine.append(time.perf_counter() - started)
                    if round_ == 0:
                        answers += found
                else:
                    bare(shard, params, part)
                    its.append(time.perf_counter() - started)
    return Figures(np.array(mine) / batch), Figures(np.array(its) / batch), answers


def recall(answers: list[list[str]], truth: NDArray[np.int64]) -> float:
    """Mean share of the exact top ten that was found."""
    found = [
        len(set(ids) & {point_id(int(row)) for row in rows})
        for ids, rows in zip(answers, truth, strict=True)
    ]
    return float(np.mean(found)) / TOP


def segments(index: EdgeIndex, folder: Path) -> int:
    return len(list((shard_folder(index, folder) / "segments").iterdir()))


def shard_folder(index: EdgeIndex, folder: Path) -> Path:
    return folder / f"shard-{index._store.manifest.generation}"


async def measure(
    points: int,
    fresh: bool,
    sweep: bool,
    filters: bool,
    callers: bool,
    ingest: int,
    rate: float,
) -> bool:
    """Print the figures for one size; whether they reach the goals."""
    print(f"{points:,} x {DIMENSION}, scalar quantisation, top {TOP}")
    queries = np.concatenate(list(clustered(QUERIES, seed=2)))
    truth = exact_neighbours(points, queries)
    index, folder = await built(points, fresh, filters), index_folder(points, filters)
    shard = same_shard(index, points, folder)
    if (tuning := (await index.info()).tuning) is not None:
        print(f"  found: {tuning}; segments: {segments(index, folder)}")
    if filters:
        await print_filters(index)
    if sweep:
        await print_sweep(shard, queries, truth)
    await side_by_side(index, shard, queries[:200], 1)  # warms the page cache
    mine, its, answers = await side_by_side(index, shard, queries, 1)
    found, ratio = recall(answers, truth), report("one by one", mine, its)
    mine, its, _ = await side_by_side(index, shard, queries, BATCH)
    report(f"batches of {BATCH}", mine, its)
    good = found >= RECALL_GOAL and ratio >= THROUGHPUT_GOAL
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  recall@{TOP} against exact search: {found:.4f} (goal {RECALL_GOAL})")
    print(f"  most memory of the process: {memory:.1f} GB; goals {'reached' if good else 'MISSED'}")
    if callers:
        await print_callers(index, queries)
    if ingest:
        await print_ingestion(index, points, queries, ingest, rate)
    await index.close()
    return good


def _below(share: int) -> dict[str, object]:
    return {"key": "share", "operator": "lt", "value": share}


def _at(centres: list[int]) -> dict[str, object]:
    return {"key": "centre", "operator": "in", "value": centres}


async def print_filters(index: EdgeIndex) -> None:
    """Recall and latency under filters, beside exact search under the same."""
    vectors, centres = next(with_centres(FILTERED, seed=2))
    near = [[(int(c) + n) % CENTRES for n in range(CENTRES // 100)] for c in centres]
    far = [[(int(c) + CENTRES // 2 + n) % CENTRES for n in range(CENTRES // 100)] for c in centres]
    chosen: dict[str, list[dict[str, object]]] = {
        "1 %": [_below(100)] * FILTERED,
        ".1 %": [_below(10)] * FILTERED,
        ".01 %": [_below(1)] * FILTERED,
        "1 %, neighbours": [_at(each) for each in near],
        "1 %, strangers": [_at(each) for each in far],
        "50 %": [_below(5_000)] * FILTERED,
    }
    print(f"  {'filter':<18} recall@{TOP}    ms   (mean of {FILTERED} queries)")
    for name, conditions in chosen.items():
        shares, seconds = [], 0.0
        for vector, condition in zip(vectors, conditions, strict=True):
            parsed = parse_filters(condition, FIELDS)
            exact = await index.query(Query(vector, TOP, parsed, exact=True))
            started = time.perf_counter()
            found = await index.query(Query(vector, TOP, parsed))
            seconds += time.perf_counter() - started
            wanted = {hit.id for hit in exact}
            shares.append(len(wanted & {hit.id for hit in found}) / max(1, len(wanted)))
        print(f"    {name:<18} {np.mean(shares):.4f}  {seconds / FILTERED * 1e3:8.2f}")


async def print_callers(index: EdgeIndex, queries: Matrix) -> None:
    """Searches a second by how many ask at once, with shared calls of the engine and without."""
    print("  callers   shared calls/s   own calls/s   ratio")
    for callers in (1, 4, 16):
        rates: dict[bool, list[float]] = {True: [], False: []}
        for round_ in range(2 * ROUNDS):
            shares = round_ % 2 == 0
            ask = index.query if shares else index._query
            rest = iter(queries)

            async def call(ask: Any = ask, rest: Any = rest) -> None:
                for vector in rest:
                    await ask(Query(vector, TOP))

            started = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(callers)))
            rates[shares].append(len(queries) / (time.perf_counter() - started))
        shared, own = max(rates[True]), max(rates[False])
        print(f"    {callers:5}   {shared:14,.0f}   {own:11,.0f}   {shared / own:.2f}")
    await print_threads(index, queries)


async def print_threads(index: EdgeIndex, queries: Matrix) -> None:
    """CPU time of a search in the index's process, and what that process can reach by it.

    One thread holds Python's lock, and the engine's threads share out the searches of one call.
    Unlike searches a second, this does not depend on what else the machine does.
    """
    shard = index._store.shard
    if not isinstance(shard, ShardProcess) or sys.platform != "linux":
        return
    process, rest = shard._process.pid, iter(queries)
    before = thread_seconds(process)

    async def call() -> None:
        for vector in rest:
            await index.query(Query(vector, TOP))

    await asyncio.gather(*(call() for _ in range(16)))
    spent = {
        thread: (seconds - before.get(thread, 0.0)) / len(queries)
        for thread, seconds in thread_seconds(process).items()
    }
    locked = spent.pop(str(process))
    engine = sum(spent.values())
    print(
        f"  16 callers, CPU of a search: {locked * 1e3:.3f} ms with Python's lock, "
        f"{engine * 1e3:.3f} ms in the engine's threads; at most, by that:"
    )
    for cores in (2, 4, 8):
        one, each = 1 / (locked + engine / cores), cores / (locked + engine)
        print(
            f"    {cores} cores: {one:,.0f} searches/s; a process for each core {each:,.0f}, "
            f"{each / one:.2f} times as many"
        )


def thread_seconds(process: int) -> dict[str, float]:
    """CPU seconds of each thread of a process, by its id."""
    return {
        task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{process}/task").iterdir()
    }


async def print_ingestion(
    index: EdgeIndex, points: int, queries: Matrix, count: int, rate: float
) -> None:
    """Searches alone, then while `count` points are written, then alone again."""
    fresh = list(clustered(count, seed=3))  # made before: that would stop the loop, too
    numbers = itertools.count()
    waits: list[float] = []
    pauses: list[float] = []

    async def search(seconds: list[float]) -> None:
        started = time.perf_counter()
        await index.query(Query(queries[next(numbers) % len(queries)], TOP))
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(0.001)

    async def search_alone() -> list[float]:
        seconds: list[float] = []
        for _ in range(2 * len(queries)):
            await search(seconds)
        return seconds

    async def write() -> None:
        row, began = points, time.perf_counter()
        for chunk in fresh:
            for part in np.array_split(chunk, max(1, len(chunk) // WRITTEN_AT_ONCE)):
                added = [Point(point_id(row + n), vector, {}) for n, vector in enumerate(part)]
                started = time.perf_counter()
                await index.upsert(added)
                waits.append(time.perf_counter() - started)
                row += len(part)
                await asyncio.sleep(max(0.0, began + (row - points) / rate - time.perf_counter()))

    alone = await search_alone()
    busy: list[float] = []
    load, started = os.getloadavg()[0], time.perf_counter()
    watching = asyncio.create_task(watch(pauses))
    writing = asyncio.create_task(write())
    while not writing.done():
        await search(busy)
    await writing
    spent = time.perf_counter() - started
    watching.cancel()
    waiting = (await index.info()).points - (await index.info()).indexed_vectors
    merging = await merged(index, queries)
    alone += await search_alone()
    quiet, beside = Figures(np.array(alone)), Figures(np.array(busy))
    print(
        f"  beside {count:,} points written, {count / spent:,.0f}/s (load {load:.1f} before): "
        f"p50 {beside.p50_ms:.2f} ms, p99 {beside.p99_ms:.2f}; alone {quiet.p50_ms:.2f}, "
        f"{quiet.p99_ms:.2f}; ratio of p99 {beside.p99_ms / quiet.p99_ms:.1f} (goal 3)"
    )
    print(
        f"    {waiting:,} points not yet in a graph at the end; a write of {WRITTEN_AT_ONCE} took "
        f"{max(waits) * 1e3:.0f} ms at most; the event loop paused for {max(pauses) * 1e3:.0f} ms "
        "at most"
    )
    print(f"    {merging}")
    await index.delete([point_id(points + n) for n in range(count)])
    await index.optimize()


async def merged(index: EdgeIndex, queries: Matrix) -> str:
    """Optimise the index beside one caller's searches, and tell what that took and cost."""
    started, pauses, seconds = time.perf_counter(), list[float](), list[float]()
    watching = asyncio.create_task(watch(pauses))
    optimising = asyncio.create_task(index.optimize())
    while not optimising.done():
        asked = time.perf_counter()
        await index.query(Query(queries[len(seconds) % len(queries)], TOP))
        seconds.append(time.perf_counter() - asked)
        await asyncio.sleep(0.001)
    await optimising
    watching.cancel()
    beside = Figures(np.array(seconds))
    return (
        f"then optimised in {time.perf_counter() - started:.0f} s, during which searches took "
        f"p50 {beside.p50_ms:.2f} ms, p99 {beside.p99_ms:.2f}, {max(seconds) * 1e3:.0f} at most, "
        f"and the event loop paused for {max(pauses) * 1e3:.0f} ms at most"
    )


def report(what: str, mine: Figures, its: Figures) -> float:
    """Prints ours beside the bare engine's; returns the ratio of throughputs."""
    ratio = mine.per_second / its.per_second
    print(f"  {what:<15} p50 ms   p99 ms   searches/s")
    for name, figures in (("Index", mine), ("bare Edge", its)):
        print(
            f"    {name:<13} {figures.p50_ms:6.3f}   {figures.p99_ms:6.3f}   "
            f"{figures.per_second:8,.0f}"
        )
    print(f"    ratio         {ratio:.3f} (goal {THROUGHPUT_GOAL})")
    return ratio


async def print_sweep(shard: edge.EdgeShard, queries: Matrix, truth: NDArray[np.int64]) -> None:
    """Recall and latency over beam widths and oversampling."""
    for ef in (64, 96, 128, 192, 256):
        for times_over in (1.0, 1.5, 2.0, 3.0):
            params = search_params(ef, False, times_over)
            answers, started = [], time.perf_counter()
            for vector in queries:
                request = edge.QueryRequest(
                    TOP, query=edge.Query.Nearest(vector.tolist()), params=params
                )
                answers.append([str(hit.id) for hit in shard.query(request)])
            each = (time.perf_counter() - started) / len(queries) * 1e3
            print(
                f"    ef {ef:3}  oversampling {times_over:.1f}  "
                f"recall {recall(answers, truth):.4f}  {each:.3f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--million", action="store_true", help="1,000,000 points as well")
    parser.add_argument("--fresh", action="store_true", help="build the indexes anew")
    parser.add_argument("--filters", action="store_true", help="print recall under filters")
    parser.add_argument("--callers", action="store_true", help="print rates of several callers")
    parser.add_argument("--sweep", action="store_true", help="print recall over ef, oversampling")
    parser.add_argument(
        "--ingest", type=int, default=0, metavar="N", help="search while N points are written"
    )
    parser.add_argument(
        "--rate", type=float, default=1000, metavar="N", help="points written a second, at most"
    )
    arguments = parser.parse_args()
    sizes = [arguments.points] + ([1_000_000] if arguments.million else [])
    reached = [
        asyncio.run(
            measure(
                n,
                arguments.fresh,
                arguments.sweep,
                arguments.filters,
                arguments.callers,
                arguments.ingest,
                arguments.rate,
            )
        )
        for n in sizes
    ]
    if not all(reached):
        raise SystemExit("a goal was missed: see above")


if __name__ == "__main__":
    main()
