"""What an index takes on disk and in memory, beside what `lookalike size` says.

    python bench/size.py [--points 60000] [--dimension 256] [--copies 512]

For each way of storing vectors an index is built as the service builds it, with payloads as
documents have them and two indexed fields, and opened in a process of its own that answers 20
searches. Printed: bytes a document on disk, and those by which its processes have grown, both
divided by what was said. Pages of the write-ahead log do not count as memory: nothing reads them.
With `--copies`, each point also has a vector of a copy model with so many numbers, and the time of
a search by either is printed. The process that a large index is held by takes some 70 MB itself,
which counts here: with few documents, compare the rows with one another.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median

import numpy as np

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import (
    Engine,
    FieldSpec,
    FieldType,
    HnswSpec,
    ModelSpec,
    Quantization,
    VectorSpec,
)
from lookalike_crds.sizing import index_size
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index import Index, Point, Query, open_index
from lookalike_serving.index.spaces import CopySpace

FIELDS = (
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="kind", type=FieldType.KEYWORD),
)
KINDS = (
    VectorSpec(),
    VectorSpec(on_disk=True),
    VectorSpec(quantization=Quantization.SCALAR, on_disk=True),
    VectorSpec(quantization=Quantization.SCALAR),
    VectorSpec(quantization=Quantization.BINARY, on_disk=True),
)
SEARCHES = 20
_CHUNK = 5_000
WORDS = "red blue small large mug shoe lamp chair wooden steel matte glossy vintage modern".split()


def collection(folder: Path, vector: VectorSpec) -> CollectionConfig:
    return CollectionConfig(
        name="bench",
        model=ModelSpec(),
        vector=vector,
        fields=FIELDS,
        index=IndexConfig(engine=Engine.EDGE, name="bench", path=folder),
    )


def metadata(rng: np.random.Generator) -> dict[str, object]:
    """About 300 bytes as compact JSON."""
    words = [WORDS[each] for each in rng.integers(0, len(WORDS), 36)]
    return {
        "price": float(rng.integers(100, 100_000)) / 100,
        "kind": words[0],
        "title": " ".join(words[:8]),
        "description": " ".join(words[8:]),
    }


async def opened(folder: Path, vector: VectorSpec, dimension: int, copies: int | None) -> Index:
    return await open_index(
        collection(folder, vector),
        dimension=dimension,
        fingerprint="synthetic",
        copies=None if copies is None else CopySpace(copies, "synthetic"),
    )


async def build(
    folder: Path, vector: VectorSpec, points: int, dimension: int, copies: int | None
) -> int:
    """Build an index; the mean bytes of the metadata."""
    rng = np.random.default_rng(1)
    index = await opened(folder, vector, dimension, copies)
    told = 0
    for start in range(0, points, _CHUNK):
        vectors = rng.standard_normal((min(_CHUNK, points - start), dimension), dtype=np.float32)
        written = []
        for row, each in enumerate(vectors, start):
            digest = hashlib.sha256(str(row).encode()).hexdigest()
            name = f"products/{row % 977:03d}/{digest[:12]}.jpg"
            origin = Origin(
                document_id=name,
                image=f"s3://pictures/{name}",
                source="shop",
                fingerprint=f'"{digest[:32]}"|{digest[32:48]}',
                sha256=digest,
                width=1024,
                height=768,
                format="JPEG",
                bytes=200_000 + row,
                copies=(digest * 3)[:132],
                created_at="2026-01-01T00:00:00.000000Z",
                updated_at="2026-01-01T00:00:00.000000Z",
            )
            facts = metadata(rng)
            told += len(json.dumps(facts, separators=(",", ":")))
            second = None if copies is None else rng.standard_normal(copies, dtype=np.float32)
            id = str(uuid.UUID(int=row))
            written.append(Point(id, each, payload(facts, origin), second))
        await index.upsert(written)
    await index.optimize()
    await index.close()
    return told // points


def on_disk(folder: Path) -> int:
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


def resident() -> int:
    """Bytes that this process and its children, one of which may hold the index, have in memory:
    their own and those of mapped files but logs."""
    total = 0
    for process in _family(os.getpid()):
        counts = True
        for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
            if line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024 * counts
            elif "-" in line.split()[0]:
                counts = "/wal/" not in line
    return total


def _family(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(each for child in children for each in _family(int(child)))]


async def searched(folder: Path, vector: VectorSpec, dimension: int, copies: int | None) -> None:
    """Print by how many bytes this process grows, and ms of a search by each vector, as JSON."""
    # An empty one first: what the engine itself takes is no matter of the documents.
    with tempfile.TemporaryDirectory() as other:
        empty = await opened(Path(other), vector, dimension, copies)
        before = resident()
        rng = np.random.default_rng(2)
        index = await opened(folder, vector, dimension, copies)
        times: dict[str, list[float]] = {}
        for _ in range(SEARCHES):
            for name, numbers in (("model", dimension), ("copy model", copies)):
                if numbers is not None:
                    asked = rng.standard_normal(numbers, dtype=np.float32)
                    began = time.perf_counter()
                    await index.query(Query(asked, 10, of_copies=name == "copy model"))
                    times.setdefault(name, []).append(1000 * (time.perf_counter() - began))
        medians = {name: round(median(each), 2) for name, each in times.items()}
        print(json.dumps({"grown": resident() - before, "ms": medians}))
        await index.close()
        await empty.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=60_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--copies", type=int)
    parser.add_argument("--opened", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.opened:
        folder, settings = asked.opened
        vector = VectorSpec.model_validate_json(settings)
        asyncio.run(searched(Path(folder), vector, asked.dimension, asked.copies))
        return
    for vector in KINDS:
        # A cheap graph has as many links as a good one.
        vector = vector.model_copy(update={"hnsw": HnswSpec(ef_construct=32)})
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "index"
            metadata_bytes = asyncio.run(
                build(folder, vector, asked.points, asked.dimension, asked.copies)
            )
            command = [sys.executable, __file__, "--dimension", str(asked.dimension)]
            if asked.copies is not None:
                command += ["--copies", str(asked.copies)]
            command.append("--opened")
            grown = subprocess.run(
                [*command, str(folder), vector.model_dump_json()],
                capture_output=True,
                check=True,
                text=True,
            )
            told = json.loads(grown.stdout.splitlines()[-1])
            disk, memory = on_disk(folder), told["grown"]
        said = index_size(
            asked.points,
            asked.dimension,
            vector,
            copies=asked.copies,
            fields=len(FIELDS),
            metadata_bytes=metadata_bytes,
        )
        print(
            f"{vector.quantization.value:7} {'on disk' if vector.on_disk else 'in memory':9}  "
            f"disk {disk / asked.points:6.0f} B a document, {disk / said.disk:.2f} of said; "
            f"memory {memory / asked.points:6.0f} B, {memory / said.memory:.2f} of said; "
            "ms a search: " + ", ".join(f"{name} {ms}" for name, ms in told["ms"].items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
