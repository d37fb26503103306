"""The nearest of a million PDQ hashes: our index beside those of faiss, if it is installed.

    python bench/hamming.py [--count 1000000]

The hashes are random, as those of unrelated pictures are nearly, and each document has two (the
whole picture and its middle). A question is what one query asks: 18 hashes (eight positions of the
picture, eight without its frame, two of the middle) within 47 bits. Every hundredth question has a
hash that is near, at 0 to 47 bits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.hamming import nearest

RADIUS = 47
ASKED = 18
Codes = NDArray[np.uint64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=20)
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**63, (2 * given.count, 4), np.uint64) << np.uint64(1)
    asked = rng.integers(0, 2**63, (given.questions, ASKED, 4), np.uint64)
    truth: list[int] = []
    for number in range(given.questions):
        place = int(rng.integers(len(codes)))
        bits = np.unpackbits(codes[place].view(np.uint8))
        bits[rng.choice(256, number * RADIUS // max(1, given.questions - 1), replace=False)] ^= 1
        asked[number, 0] = np.packbits(bits).view(np.uint64)
        truth.append(place // 2)
    print("| | build, s | a question, ms | found | MiB |")
    print("|---|---|---|---|---|")
    start = time.perf_counter()
    columns = np.ascontiguousarray(codes.T)
    built = time.perf_counter() - start

    def ours(query: Codes) -> set[int]:
        return {place // 2 for place in nearest(columns, query, RADIUS)}

    _row("Lookalike", built, ours, asked, truth, columns.nbytes)
    try:
        import faiss
    except ImportError:
        print("faiss-cpu is not installed")
        return
    faiss.omp_set_num_threads(1)
    for name, other in (
        ("faiss IndexBinaryFlat", faiss.IndexBinaryFlat(256)),
        ("faiss IndexBinaryMultiHash 16 x 16, 1 flip", faiss.IndexBinaryMultiHash(256, 16, 16)),
    ):
        start = time.perf_counter()
        other.add(codes.view(np.uint8).reshape(-1, 32))
        if hasattr(other, "nflip"):
            other.nflip = 1
        built = time.perf_counter() - start

        def theirs(query: Codes, other: object = other) -> set[int]:
            _, _, found = other.range_search(query.view(np.uint8).reshape(-1, 32), RADIUS + 1)  # type: ignore[attr-defined]
            return {int(each) // 2 for each in found}

        _row(name, built, theirs, asked, truth, None)


def _row(
    name: str,
    built: float,
    search: Callable[[Codes], set[int]],
    asked: Codes,
    truth: list[int],
    memory: int | None,
) -> None:
    start = time.perf_counter()
    found = sum(right in search(query) for query, right in zip(asked, truth, strict=True))
    spent = (time.perf_counter() - start) / len(asked) * 1e3
    size = "" if memory is None else f"{memory / 2**20:.0f}"
    print(f"| {name} | {built:.1f} | {spent:.1f} | {found} of {len(truth)} | {size} |", flush=True)


if __name__ == "__main__":
    main()
