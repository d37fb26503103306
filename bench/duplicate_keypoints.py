"""Which keypoints find copies, and what a question about a picture costs with them.

    make bench-duplicate-keypoints [BENCH_ARGS="--photographs FOLDER … --each N --methods NAME …"]

The proof set of `bench/duplicates.py`, with the same candidates for each method. Documents keep
what they would keep with each method; the query's keypoints are made anew. Costs are processor time
of one thread, so that they hold on a busy machine: hashes, keypoints and comparisons, without the
model, and with the keypoints of documents at hand. With `ORB, then SIFT`, a picture of which ORB
finds no copy is asked about again with SIFT.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.duplicates import (
    BY_EMBEDDING,
    BY_HASH,
    BY_PART,
    MODEL,
    Pixels,
    Query,
    backgrounds,
    build,
    embed,
)

from lookalike_serving.duplicates.compare import Picture, StoredPicture, compare
from lookalike_serving.duplicates.hashes import scaled, unpacked
from lookalike_serving.duplicates.keypoints import Keypoints, keypoints, spread
from lookalike_serving.duplicates.parts import parts
from lookalike_serving.duplicates.thresholds import THRESHOLDS
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.embed import Embedder, load_embedder

Maker = Callable[[Pixels], Keypoints]


@dataclass(frozen=True)
class Orb(Keypoints):
    """ORB (Rublee, 2011): 256 bits, compared by Hamming distance."""

    mirrored: NDArray[np.uint8]
    """(n, 32): descriptors of the same places in the mirrored picture."""

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        return _bits(self.descriptors)

    @cached_property
    def both_ways(self) -> NDArray[np.float32]:
        return np.concatenate([self.unit, _bits(self.mirrored)])


def _bits(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 256), of length 1: their products are Hamming distances on another scale."""
    signs = np.unpackbits(descriptors, axis=1).astype(np.float32) * 2 - 1
    return np.asarray(signs / 16, np.float32)


def orb(pixels: Pixels, side: int, most: int) -> Orb:
    view = scaled(pixels, side)
    height, width = view.shape[:2]
    grey = cv2.createCLAHE(2.0, (8, 8)).apply(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY))
    made = cv2.ORB.create(4 * most, fastThreshold=5)
    chosen = spread(made.detect(grey, None), width, height, most)
    turned = []
    for number, point in enumerate(chosen):
        point.class_id = number
        turned.append(
            cv2.KeyPoint(
                width - 1 - point.pt[0],
                point.pt[1],
                point.size,
                (180 - point.angle) % 360,
                point.response,
                point.octave,
                number,
            )
        )
    found, plain = made.compute(grey, chosen)
    there, mirrored = made.compute(np.ascontiguousarray(grey[:, ::-1]), turned)
    if plain is None or mirrored is None:
        nothing = np.zeros((0, 32), np.uint8)
        return Orb(np.zeros((0, 2), np.float32), nothing, width, height, nothing)
    kept = {point.class_id: row for row, point in enumerate(there)}
    rows = [row for row, point in enumerate(found) if point.class_id in kept]
    places = np.array([found[row].pt for row in rows], np.float32).reshape(-1, 2)
    return Orb(
        places + np.float32(0.5),
        plain[rows],
        width,
        height,
        mirrored[[kept[found[row].class_id] for row in rows]],
    )


def sift(side: int, most: int) -> Maker:
    return lambda view: keypoints(view, most, side)


METHODS: dict[str, list[tuple[Maker, Maker]]] = {
    "SIFT 512 px, 800": [(sift(512, 800), sift(512, 400))],
    "SIFT 512 px, 400": [(sift(512, 400), sift(512, 400))],
    "SIFT 384 px, 600": [(sift(384, 600), sift(512, 400))],
    "SIFT 384 px, 400": [(sift(384, 400), sift(512, 400))],
    "SIFT 320 px, 400": [(sift(320, 400), sift(512, 400))],
    "ORB 512 px, 800": [(lambda view: orb(view, 512, 800), lambda view: orb(view, 512, 400))],
    "ORB 640 px, 1000": [(lambda view: orb(view, 640, 1000), lambda view: orb(view, 640, 500))],
    "ORB 512, then SIFT 512 px": [
        (lambda view: orb(view, 512, 800), lambda view: orb(view, 512, 400)),
        (sift(512, 800), sift(512, 400)),
    ],
}
"""Name -> one after the other: (keypoints of a query, keypoints of a document)."""


class _Asked(StoredPicture):
    def __init__(self, picture: Picture, view: Pixels, maker: Maker) -> None:
        super().__init__(view, picture.hashes, picture.width, picture.height)
        self._of, self._maker, self._view = picture, maker, view

    @cached_property
    def variants(self):  # type: ignore[no-untyped-def]
        return self._of.variants

    @property
    def asked(self) -> Keypoints:
        return self.keypoints

    @cached_property
    def keypoints(self) -> Keypoints:
        return self._maker(self._view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, nargs="*", default=backgrounds())
    parser.add_argument("--films", type=Path)
    parser.add_argument("--each", type=int, default=24, help="copies of each kind")
    parser.add_argument("--sensitivity", default="balanced", choices=list(Sensitivity))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--misses", action="store_true", help="list what was missed")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    documents, queries = build(given.photographs, given.films, given.each, np.random.default_rng(3))
    print(f"{len(documents)} documents, {len(queries)} queries", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        embedder = load_embedder(MODEL, Path(folder))
        vectors = embed(embedder, documents)
        asked = embed(embedder, [query.pixels for query in queries])
        stored = [Picture(each) for each in documents]
        turns = [
            _Candidates(Picture(query.pixels), stored, vectors, vector, embedder)
            for query, vector in zip(queries, asked, strict=True)
        ]
        results = {}
        for name in given.methods:
            results[name] = measured(
                METHODS[name], stored, queries, turns, Sensitivity(given.sensitivity)
            )
            if given.misses:
                print(f"\n{name}")
                for query, best in zip(queries, results[name].best, strict=True):
                    if best != query.original:
                        print(f"  {query.kind}: {best} instead of {query.original}")
            report(queries, {name: results[name]})
    report(queries, results)


class _Candidates:
    """As `find_copies` takes them: by hash, by embedding; then, if none of them is a copy, by the
    embeddings of parts."""

    def __init__(
        self,
        picture: Picture,
        stored: list[Picture],
        vectors: NDArray[np.float32],
        vector: NDArray[np.float32],
        embedder: Embedder,
    ) -> None:
        self.first = _candidates(picture, stored, vectors @ vector)
        self._view, self._vectors, self._embedder = picture.view, vectors, embedder

    @cached_property
    def more(self) -> list[int]:
        views = parts(self._view)
        if not views:
            return []
        near = [
            np.argsort(-(self._vectors @ part))[:BY_PART].tolist()
            for part in embed(self._embedder, views)
        ]
        found = dict.fromkeys(number for some in near for number in some)
        return [number for number in found if number not in self.first]


def _candidates(picture: Picture, stored: list[Picture], cosines: NDArray[np.float32]) -> list[int]:
    """As `find_copies` takes them: by hash first."""
    found: dict[int, None] = {}
    for name in ("pdq", "phash"):
        sides = [
            unpacked([getattr(each.hashes, field) for each in stored])
            for field in (name, f"middle_{name}")
        ]
        codes = [getattr(variant, name) for variant in picture.variants]
        if codes:
            away = np.min(
                [
                    np.bitwise_count(side ^ code).sum(axis=1, dtype=np.int64)
                    for code in codes
                    for side in sides
                ],
                axis=0,
            )
            found |= dict.fromkeys(np.argsort(away, kind="stable")[:BY_HASH].tolist())
    return list(found | dict.fromkeys(np.argsort(-cosines)[:BY_EMBEDDING].tolist()))


@dataclass(frozen=True)
class Found:
    best: list[int | None]
    """Of each query: the document it is told to be a copy of."""
    spent: list[float]
    """Processor time of each, ms."""


def measured(
    method: list[tuple[Maker, Maker]],
    stored: list[Picture],
    queries: list[Query],
    turns: list[_Candidates],
    sensitivity: Sensitivity,
) -> Found:
    thresholds = THRESHOLDS[sensitivity]
    kept = [[_Asked(each, each.view, of_document) for each in stored] for _, of_document in method]
    for documents in kept:
        for document in documents:
            _ = document.keypoints.unit
    best: list[int | None] = []
    spent: list[float] = []
    for query, candidates in zip(queries, turns, strict=True):
        start = time.process_time()
        picture = Picture(query.pixels)
        copies: list[tuple[float, int]] = []
        made = [_Asked(picture, picture.view, of_query) for of_query, _ in method]
        apart = 0.0
        for turn in ("first", "more"):
            for asked, documents in zip(made, kept, strict=True):
                if copies:
                    continue
                paused = time.process_time()
                some: list[int] = getattr(candidates, turn)  # embeds the parts
                apart += time.process_time() - paused
                for number in some:
                    told = compare(asked, documents[number], thresholds)
                    if told.verdict in (Verdict.EXACT, Verdict.COPY):
                        copies.append((told.confidence, number))
        spent.append((time.process_time() - start - apart) * 1e3)
        best.append(max(copies)[1] if copies else None)
    return Found(best, spent)


def report(queries: list[Query], methods: dict[str, Found]) -> None:
    print("\n| | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods))
    rows: dict[str, list[str]] = defaultdict(list)
    for found in methods.values():
        hits: dict[str, list[bool]] = defaultdict(list)
        wrong, total = Counter[str](), Counter[str]()
        for query, best in zip(queries, found.best, strict=True):
            if query.negative is None:
                hits[query.kind].append(best == query.original)
            else:
                total[query.negative] += 1
                wrong[query.negative] += best is not None
        for kind, some in hits.items():
            rows[kind].append(f"{statistics.mean(some):.2f}")
        mean = statistics.mean(statistics.mean(some) for some in hits.values())
        rows["**mean recall**"].append(f"{mean:.3f}")
        for kind in total:
            rows[f"false copies, {kind}"].append(f"{wrong[kind]} of {total[kind]}")
        some = sorted(found.spent)
        rows["ms a question: mean"].append(f"{statistics.mean(some):.0f}")
        rows["median"].append(f"{statistics.median(some):.0f}")
        rows["95th percentile"].append(f"{some[int(len(some) * 0.95)]:.0f}")
        unrelated = [
            each
            for each, query in zip(found.spent, queries, strict=True)
            if query.negative == "unrelated"
        ]
        rows["unrelated pictures, median"].append(f"{statistics.median(unrelated):.0f}")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(values) + " |", flush=True)


if __name__ == "__main__":
    main()
