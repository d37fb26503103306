"""Ways of compressing vectors, side by side: recall, latency, memory, disk and time to build.

    python bench/quantization.py [--points 100000] [--only SCALAR TURBO_4] [--json FILE]

For each way, one graph of the bare engine (m 16, ef_construct 128, one segment) over the vectors of
`bench/search.py`, whose neighbourhoods are looser than those of real images. Printed for each: the
cheapest of the measured settings (beam width x oversampling) whose recall@10 against exact search
in float32 reaches .999, else the best one; its p50 for one caller; and the memory of a process that
has answered 1,000 searches, pages of mapped files included. The original vectors are read from disk
to score again (`onDisk: true`), except where there is nothing else. All of it is of random vectors
and says nothing of a model's: recall of a small code depends on how the vectors are distributed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from lookalike_serving.index.edge_settings import search_params, thresholds
from search import DIMENSION, QUERIES, TOP, Matrix, clustered, exact_neighbours, point_id, recall
from size import on_disk, resident

GOAL = 0.999
BEAMS = (64, 128, 200, 320)
OVERSAMPLINGS = (1.0, 2.0, 3.0, 5.0)
_AT_ONCE = 5_000
_KEPT = edge.Memory.Pinned
_TURBO = edge.TurboQuantQuantizationConfig
_BINARY = edge.BinaryQuantizationConfig
_CODES = edge.BinaryQuantizationEncoding
_BITS = edge.TurboQuantBitSize


@dataclass(frozen=True, slots=True)
class Way:
    """How vectors are kept, and what the graph is searched with."""

    told: str
    datatype: str = "Float32"
    """Of the vectors themselves, as `edge.VectorStorageDatatype` calls it."""
    codes: Any = None
    """The compressed vectors, which are kept in memory."""
    cached: bool = False
    """Whether the vectors themselves are in memory."""

    @property
    def oversamplings(self) -> tuple[float, ...]:
        return OVERSAMPLINGS if self.codes is not None else (1.0,)


WAYS = {
    "NONE": Way("float32", cached=True),
    "FLOAT16": Way("float16", "Float16", cached=True),
    "SCALAR": Way(
        "int8, float32 to score again",
        codes=edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=_KEPT),
    ),
    "SCALAR_16": Way(
        "int8, float16 to score again",
        "Float16",
        edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=_KEPT),
    ),
    "TURBO_8": Way("TurboQuant, 8 bits", codes=_TURBO(bits=_BITS.Bits8, memory=_KEPT)),
    "TURBO_4": Way("TurboQuant, 4 bits", codes=_TURBO(bits=_BITS.Bits4, memory=_KEPT)),
    "TURBO_2": Way("TurboQuant, 2 bits", codes=_TURBO(bits=_BITS.Bits2, memory=_KEPT)),
    "TURBO_1": Way("TurboQuant, 1 bit", codes=_TURBO(bits=_BITS.Bits1, memory=_KEPT)),
    "BINARY_2": Way("binary, 2 bits", codes=_BINARY(encoding=_CODES.TwoBits, memory=_KEPT)),
    "BINARY": Way("binary, 1 bit", codes=_BINARY(memory=_KEPT)),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of searching, and what it gave."""

    beam: int
    oversampling: float
    recall: float
    p50_ms: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way of keeping vectors."""

    told: str
    build_s: float
    disk_mb: float
    memory_mb: float
    chosen: Setting


def build(folder: Path, way: Way, points: int) -> float:
    """Write and index the vectors; seconds it took."""
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=DIMENSION,
            distance=edge.Distance.Cosine,
            datatype=getattr(edge.VectorStorageDatatype, way.datatype),
            memory=edge.Memory.Cached if way.cached else edge.Memory.Cold,
        ),
        hnsw_config=edge.HnswIndexConfig(
            m=16, ef_construct=128, full_scan_threshold=thresholds(points, DIMENSION).full_scan
        ),
        quantization_config=way.codes,
        optimizers=edge.EdgeOptimizersConfig(
            default_segment_number=1, max_segment_size=1_000_000_000, indexing_threshold=10_000
        ),
    )
    folder.mkdir()
    started = time.perf_counter()
    shard = edge.EdgeShard.create(str(folder), config)
    row = 0
    for chunk in clustered(points, seed=1):
        for start in range(0, len(chunk), _AT_ONCE):
            part = chunk[start : start + _AT_ONCE]
            shard.update(
                edge.UpdateOperation.upsert_points(
                    [edge.Point(point_id(row + n), v.tolist(), {}) for n, v in enumerate(part)]
                )
            )
            row += len(part)
    shard.optimize()
    shard.close()
    return time.perf_counter() - started


def searched(folder: Path, way: Way, points: int) -> tuple[list[Setting], float]:
    """Each setting, and megabytes by which this process grew with the first one."""
    queries = np.concatenate(list(clustered(QUERIES, seed=2)))
    truth = exact_neighbours(points, queries)
    before = resident()
    shard = edge.EdgeShard.load(str(folder))
    ask(shard, queries, BEAMS[1], way.oversamplings[0])
    grown = (resident() - before) / 1e6
    settings = []
    for beam in BEAMS:
        for times in way.oversamplings:
            answers, seconds = ask(shard, queries, beam, times)
            settings.append(
                Setting(beam, times, recall(answers, truth), float(np.median(seconds)) * 1e3)
            )
    return settings, grown


def ask(
    shard: edge.EdgeShard, queries: Matrix, beam: int, oversampling: float
) -> tuple[list[list[str]], NDArray[np.float64]]:
    params = search_params(beam, False, oversampling)
    answers, seconds = [], []
    for vector in queries:
        request = edge.QueryRequest(TOP, query=edge.Query.Nearest(vector.tolist()), params=params)
        started = time.perf_counter()
        hits = shard.query(request)
        seconds.append(time.perf_counter() - started)
        answers.append([str(hit.id) for hit in hits])
    return answers, np.array(seconds)


def best(settings: list[Setting]) -> Setting:
    """The quickest that reaches the goal, else the one that finds most."""
    good = [each for each in settings if each.recall >= GOAL]
    if good:
        return min(good, key=lambda each: each.p50_ms)
    return max(settings, key=lambda each: (round(each.recall, 4), -each.p50_ms))


def measured(name: str, points: int) -> Row:
    """Build one in a process of its own, and search it in another: memory is counted afresh."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "shard"
        command = [sys.executable, __file__, "--points", str(points), "--child", name, str(folder)]
        took, found = (
            json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            for _ in range(2)
        )
        settings = [Setting(**each) for each in found["settings"]]
        return Row(WAYS[name].told, took, on_disk(folder) / 1e6, found["grown"], best(settings))


def child(name: str, folder: Path, points: int) -> None:
    """The first call builds, the second searches; the answer is JSON."""
    way = WAYS[name]
    if not folder.exists():
        print(json.dumps(build(folder, way, points)))
        return
    settings, grown = searched(folder, way, points)
    print(json.dumps({"settings": [asdict(each) for each in settings], "grown": grown}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], Path(asked.child[1]), asked.points)
        return
    exact_neighbours(asked.points, np.concatenate(list(clustered(QUERIES, seed=2))))
    print(f"{asked.points:,} x {DIMENSION}, top {TOP}, {QUERIES:,} queries by one caller")
    print(f"{'':31} recall   p50 ms  ef  oversampling  memory MB  disk MB  built in s")
    rows = []
    for name in asked.only:
        row = measured(name, asked.points)
        at = row.chosen
        print(
            f"{row.told:31} {at.recall:.4f}  {at.p50_ms:6.2f}  {at.beam:3}  {at.oversampling:12}  "
            f"{row.memory_mb:9,.0f}  {row.disk_mb:7,.0f}  {row.build_s:10.0f}",
            flush=True,
        )
        rows.append(asdict(row))
    if asked.json:
        asked.json.write_text(json.dumps({"points": asked.points, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
