"""Write a catalogue: pictures in a folder, and one line of metadata for each.

The same seed and index give the same bytes. A run that is cut off leaves whole pictures and no
metadata file; a second run over the same folder writes the same files again.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np

from lookalike_crds.moments import utc_text
from lookalike_serving.demo.products import COLOURS, KINDS, PATTERNS
from lookalike_serving.demo.render import render

METADATA_FILE = "catalogue.jsonl"
_MAKERS = ("Aldine", "Brightwater", "Corvo", "Dunmore", "Elska", "Fernhill", "Granat", "Hollis")
_SIZES = ((400, 400), (440, 360), (360, 440), (480, 400), (400, 480), (512, 512))
_FORMATS = ("JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "PNG", "WEBP", "WEBP")
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_ALWAYS_SOLD = (("mug", "red", "striped"), ("bag", "blue", "dotted"), ("sofa", "teal", "plain"))
_PICTURE = re.compile(r"\d{6}-[a-z]+-[a-z]+-[a-z]+\.(jpg|png|webp)")
_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of catalogue.jsonl."""

    file: str
    """Relative to the catalogue's folder."""
    document_id: str
    title: str
    kind: str
    colour: str
    pattern: str
    price: float
    status: str
    added: str
    """RFC 3339, UTC."""
    maker: str


@dataclass(frozen=True, slots=True)
class CatalogueSummary:
    folder: Path
    pictures: int
    bytes: int


def render_catalogue(
    out: Path,
    count: int,
    seed: int,
    *,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
) -> CatalogueSummary:
    """Draw `count` products into `out`/images and describe them in `out`/catalogue.jsonl.

    Pictures of an earlier catalogue in the same folder go; files of other names stay.

    `workers` processes draw; 0 means one a core. `progress` is told (done, count) as it goes.
    Raises ValueError for a count below 1, OSError if `out` cannot be written.
    """
    if count < 1:
        raise ValueError(f"count is {count}: a catalogue has at least one picture")
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / METADATA_FILE).unlink(missing_ok=True)
    entries: list[Entry] = []
    total = 0
    for entry, size in _drawn(out, count, seed, workers or os.cpu_count() or 1):
        entries.append(entry)
        total += size
        if progress is not None:
            progress(len(entries), count)
    lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries)
    drawn = {Path(entry.file).name for entry in entries}
    for earlier in (out / "images").iterdir():
        if _PICTURE.fullmatch(earlier.name) and earlier.name not in drawn:
            earlier.unlink()
    _write(out / METADATA_FILE, lines.encode())
    return CatalogueSummary(out, count, total)


@cache
def assortment(seed: int) -> tuple[tuple[str, str, str], ...]:
    """What a catalogue of this seed sells: an eighth of all combinations, so that every product
    has others like it. Those the documentation's examples ask for are always among them."""
    others = [
        product
        for product in itertools.product(KINDS, COLOURS, PATTERNS)
        if product not in _ALWAYS_SOLD
    ]
    order = np.random.default_rng(seed).permutation(len(others))
    return _ALWAYS_SOLD + tuple(others[i] for i in order[: len(others) // 8])


def entry(index: int, seed: int) -> tuple[Entry, np.random.Generator]:
    """What the `index`-th product of a seed is, and the generator that continues to draw it."""
    rng = np.random.default_rng([seed, index])
    sold = assortment(seed)
    kind, colour, pattern = sold[int(rng.integers(len(sold)))]
    maker = _MAKERS[int(rng.integers(len(_MAKERS)))]
    extension = _EXTENSIONS[_FORMATS[index % len(_FORMATS)]]
    title = (
        f"{maker} {colour} {kind}" if pattern == "plain" else f"{maker} {colour} {pattern} {kind}"
    )
    added = _FIRST_DAY + timedelta(minutes=int(rng.integers(60 * 24 * 700)))
    return (
        Entry(
            file=f"images/{index:06d}-{colour}-{pattern}-{kind}.{extension}",
            document_id=f"product-{index:06d}",
            title=title,
            kind=kind,
            colour=colour,
            pattern=pattern,
            price=round(float(np.exp(rng.uniform(1.6, 5.2))), 2),
            status="active" if rng.random() < 0.85 else "discontinued",
            added=utc_text(added),
            maker=maker,
        ),
        rng,
    )


def _drawn(out: Path, count: int, seed: int, workers: int) -> Iterator[tuple[Entry, int]]:
    jobs = ((out, index, seed) for index in range(count))
    if workers == 1 or count < 32:
        yield from map(_draw, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_draw, jobs, chunksize=8)


def _draw(job: tuple[Path, int, int]) -> tuple[Entry, int]:
    out, index, seed = job
    made, rng = entry(index, seed)
    size = _SIZES[int(rng.integers(len(_SIZES)))]
    picture = render(made.kind, made.colour, made.pattern, rng, size)
    buffer = io.BytesIO()
    kind = _FORMATS[index % len(_FORMATS)]
    if kind == "PNG":
        picture.save(buffer, kind, compress_level=3)
    elif kind == "WEBP":
        picture.save(buffer, kind, quality=85, method=0)
    else:
        picture.save(buffer, kind, quality=88)
    _write(out / made.file, buffer.getvalue())
    return made, buffer.tell()


def _write(file: Path, data: bytes) -> None:
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_bytes(data)
    scratch.replace(file)
