"""What embedding costs, stage by stage: ViT-B/32 with random weights, on this machine.

    python bench/embed.py [--quick]

Images a second by precision and batch, decoding and preprocessing a thread, texts with the
context cut to their length against the full one, and the batched front under load against the
bare model. Ratios are what to compare between machines; the rest is for orientation.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import simplejpeg
import torch
from PIL import Image

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import BatchedEmbedder, Embedder, load_embedder
from lookalike_serving.embed.open_clip.text import full_context, text_encoder
from lookalike_serving.images import decode_image

TEXTS = ["a red striped mug", "shoes", "blue canvas bag with leather straps", "an old oak chair"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    seconds = 0.5 if parser.parse_args().quick else 3.0
    logging.disable(logging.WARNING)  # open_clip says each time that the weights are random
    with tempfile.TemporaryDirectory() as cache:
        print(f"ViT-B-32, random weights; {os.cpu_count()} CPUs, torch {torch.__version__}")
        models = {p: load(p, Path(cache)) for p in (Precision.FP32, Precision.BF16)}
        auto = load(Precision.AUTO, Path(cache))
        print(f"on {auto.info.device}; Auto measured, and chose {auto.info.precision}\n")
        file = photo(1280, 960)
        pictures(models, file, seconds)
        stages(auto, file, seconds)
        texts(seconds)
        asyncio.run(front(auto, file, 64 if seconds < 1 else 256))


def load(precision: Precision, cache: Path) -> Embedder:
    spec = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", precision=precision)
    return load_embedder(spec, cache, random_weights_for_benchmarks=True)


def pictures(models: dict[Precision, Embedder], file: bytes, seconds: float) -> None:
    print("images/s        " + "".join(f"batch {n:<6}" for n in (1, 8, 32)))
    rates: dict[Precision, list[float]] = {}
    for precision, model in models.items():
        tensor = model.preprocess(decode_image(file).pixels)
        rates[precision] = [
            n / spent(lambda n=n, t=tensor, m=model: m.embed_pixels([t] * n), seconds)
            for n in (1, 8, 32)
        ]
        print(f"  {precision:<14}" + "".join(f"{rate:<12.1f}" for rate in rates[precision]))
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print("  BF16 / FP32   " + "".join(f"{ratio:<12.2f}" for ratio in ratios) + "\n")


def stages(model: Embedder, file: bytes, seconds: float) -> None:
    print(f"one thread, JPEG of 1280 x 960, {len(file) // 1024} KiB    ms        images/s")
    side = model.info.image_size
    scaled = decode_image(file, min_side=side).pixels
    full = decode_image(file).pixels
    transform = open_clip.image_transform(side, is_train=False)
    rows: dict[str, Callable[[], object]] = {
        "decode, scaled": lambda: decode_image(file, min_side=side),
        "decode, full": lambda: decode_image(file),
        "simplejpeg alone, scaled": lambda: simplejpeg.decode_jpeg(
            file, min_height=side, min_width=side
        ),
        "preprocess, scaled": lambda: model.preprocess(scaled),
        "preprocess, full": lambda: model.preprocess(full),
        "both, scaled": lambda: model.preprocess(decode_image(file, min_side=side).pixels),
        "open_clip's own, with Pillow": lambda: transform(Image.open(io.BytesIO(file))),
    }
    times = {name: spent(call, seconds / 2) for name, call in rows.items()}
    for name, took in times.items():
        print(f"  {name:<40}{took * 1e3:<10.2f}{1 / took:.0f}")
    gain = times["open_clip's own, with Pillow"] / times["both, scaled"]
    print(f"  ratio to open_clip's own: {gain:.2f} x as fast\n")


def texts(seconds: float) -> None:
    print("texts: ms a batch                 cut       full      ratio")
    fp32 = open_clip.create_model("ViT-B-32").eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    for precision, dtype in ((Precision.FP32, torch.float32), (Precision.BF16, torch.bfloat16)):
        model = fp32.to(dtype)
        for n in (1, 16):
            tokens = tokenizer([TEXTS[i % len(TEXTS)] for i in range(n)])
            with torch.inference_mode():
                cut = spent(lambda m=model, t=tokens: text_encoder(m)(t), seconds)
                full = spent(lambda m=model, t=tokens: full_context(m)(t), seconds)
            print(
                f"  {precision}, batch {n:<20}{cut * 1e3:<10.1f}{full * 1e3:<10.1f}{full / cut:.1f}"
            )
    print()


async def front(model: Embedder, file: bytes, count: int) -> None:
    """The batched front against the same work done by hand, one after the other."""
    side = model.info.image_size

    def by_hand() -> object:
        return model.embed_pixels([model.preprocess(decode_image(file, min_side=side).pixels)])

    alone = spent(by_hand, 1.0)
    async with BatchedEmbedder(model) as embedder:
        await embedder.embed_image(file)
        single = []
        for _ in range(20):
            start = time.perf_counter()
            await embedder.embed_image(file)
            single.append(time.perf_counter() - start)
        latency = statistics.median(single)
        start = time.perf_counter()
        await asyncio.gather(*(embedder.embed_image(file) for _ in range(count)))
        image_rate = count / (time.perf_counter() - start)
        by_one, by_many = [await text_rate(embedder, clients, count) for clients in (1, 16)]
    print(f"batched front, {model.info.precision}")
    print(f"  one image, p50: {latency * 1e3:.1f} ms; by hand {alone * 1e3:.1f} ms: ", end="")
    print(f"{latency / alone:.2f} x")
    print(f"  {count} images at once: {image_rate:.1f}/s; by hand {1 / alone:.1f}/s: ", end="")
    print(f"{image_rate * alone:.2f} x")
    print(f"  texts of 16 clients: {by_many:.0f}/s; of one {by_one:.0f}/s: ", end="")
    print(f"{by_many / by_one:.2f} x")


async def text_rate(embedder: BatchedEmbedder, clients: int, count: int) -> float:
    async def client(number: int) -> None:
        for i in range(count // clients):
            await embedder.embed_text(f"{TEXTS[i % len(TEXTS)]} {number} {i}")

    start = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return count // clients * clients / (time.perf_counter() - start)


def photo(width: int, height: int) -> bytes:
    """A JPEG with about the detail of a photograph."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / a + y / b) for a, b in ((90, 140), (40, -70), (9, 13))]
    picture = np.stack(waves, -1) * 80 + 128 + rng.normal(0, 8, (height, width, 3))
    return bytes(simplejpeg.encode_jpeg(picture.clip(0, 255).astype(np.uint8), quality=88))


def spent(call: Callable[[], object], seconds: float) -> float:
    """Median seconds of one call, of as many as fit, five at least."""
    call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
