"""What embedding costs: every way to compute a model, stage by stage, and beside infinity-emb.

    python bench/embed.py [--quick] [--parts ways stages texts front start peer http]

`ways`: images and texts a second in batches of 1, 8 and 32, by engine and number format, with
ratios to the way that is taken before anything is measured. `stages`: decoding and preprocessing on
one thread. `texts`: contexts cut to their length beside full ones. `front`: the batched front under
load. `start`: seconds until a model of local weights is loaded, in a new process. `peer`: the same
model in infinity-emb, called in its process; `http`: 16 clients that embed texts, each of the two
servers in turn. All with a ViT-B/32 of random weights: its speed is that of the trained one. Ratios
are what to compare between machines; the rest is for orientation.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import simplejpeg
import torch
from PIL import Image
from safetensors.torch import save_file

from embed_peers import in_infinity, infinity_server, serving_texts
from ingest_peers import cache as cache_folder
from load import closed_loop
from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import BatchedEmbedder, Embedder, load_embedder
from lookalike_serving.embed.execution.remembered import machine
from lookalike_serving.embed.execution.samples import sample_images, sample_texts
from lookalike_serving.embed.execution.source import SourceProvider, both
from lookalike_serving.embed.execution.tune import AGREES
from lookalike_serving.embed.execution.ways import ChosenBy
from lookalike_serving.embed.open_clip.text import full_context, text_encoder
from lookalike_serving.embed.registry import provider_of
from lookalike_serving.images import decode_image

TEXTS = ["a red striped mug", "shoes", "blue canvas bag with leather straps", "an old oak chair"]


PARTS = ("ways", "stages", "texts", "front", "start", "peer", "http")
SIZES = (1, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    seconds = 0.5 if given.quick else 3.0
    logging.disable(logging.WARNING)  # open_clip says each time that the weights are random
    with tempfile.TemporaryDirectory() as cache:
        print(f"ViT-B-32, random weights; {os.cpu_count()} CPUs, torch {torch.__version__}")
        print(machine("cpu"))
        model = load(Path(cache))
        execution = model.info.execution
        print(f"on {model.info.device}; estimated to be fastest: {execution}\n")
        file = photo(1280, 960)
        rates: Rates = {}
        if "ways" in given.parts:
            rates = ways(Path(cache), model, file, seconds)
        if "stages" in given.parts:
            stages(model, file, seconds)
        if "texts" in given.parts:
            texts(seconds)
        if "front" in given.parts:
            asyncio.run(front(model, file, 64 if seconds < 1 else 256))
        if "start" in given.parts:
            start()
        if "peer" in given.parts:
            peer(rates or measured(model, file, seconds), seconds)
        if "http" in given.parts:
            over_http(Path(cache), 160 if seconds < 1 else 640)


def load(cache: Path) -> Embedder:
    spec = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32")
    return load_embedder(spec, cache, random_weights_for_benchmarks=True)


Rates = dict[str, tuple[float, ...]]
"""Images and texts a second in batches of `SIZES`."""


def measured(model: Embedder, file: bytes, seconds: float) -> Rates:
    tensor = model.preprocess(decode_image(file).pixels)
    return {
        "images": tuple(
            n / spent(lambda n=n: model.embed_pixels([tensor] * n), seconds) for n in SIZES
        ),
        "texts": tuple(
            n / spent(lambda n=n: model.embed_texts([*TEXTS * 8][:n]), seconds) for n in SIZES
        ),
    }


def ways(cache: Path, today: Embedder, file: bytes, seconds: float) -> Rates:
    """Measure each way; the rates of the best of each kind."""
    provider = provider_of(ModelSpec(provider=Provider.OPEN_CLIP)).provider()
    assert isinstance(provider, SourceProvider)
    spec = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32")
    source = provider.read(spec, cache, random_weights=True)
    base = measured(today, file, seconds)
    samples = [today.preprocess(each) for each in sample_images()]
    sizes = "".join(f"{f'batch {n}':>14}" for n in SIZES)
    print(f"{'items/s, and x of today':<28}{sizes}")
    print(f"{'today':<28}" + "".join(f"{rate:>14.1f}" for rate in base["images"]) + "   images")
    print(f"{'':<28}" + "".join(f"{rate:>14.1f}" for rate in base["texts"]) + "   texts")
    best = dict(base)
    exact = None
    found = source.ways()
    for way in found.available:
        try:
            made = source.copy().embedder(both(way, source, ChosenBy.SPEC))
            rates = measured(made, file, seconds)
        except Exception as error:
            print(f"{way!s:<28}cannot run here: {type(error).__name__}")
            continue
        vectors = [made.embed_pixels(samples), made.embed_texts(sample_texts())]
        exact = exact or vectors
        for kind, some, others in zip(rates, vectors, exact, strict=True):
            cosine = float((some * others).sum(axis=1).min())
            told = "".join(
                f"{f'{rate:.1f} ({rate / then:.2f})':>14}"
                for rate, then in zip(rates[kind], base[kind], strict=True)
            )
            name = str(way) if kind == "images" else ""
            print(f"{name:<28}{told}   {kind}, cosine {cosine:.5f}")
            if cosine >= AGREES:
                best[kind] = tuple(map(max, zip(best[kind], rates[kind], strict=True)))
    for engine, remedy in found.missing.items():
        print(f"{engine:<28}not installed: {remedy}")
    for kind, goal in (("images", "batch 32: goal 1.2 x of today with AMX or AVX512-BF16"),):
        print(f"best of {kind} in batches of 32: {best[kind][2] / base[kind][2]:.2f} x ({goal})")
    print()
    return best


def start() -> None:
    """Seconds from the start of a process to a loaded model."""
    weights = cache_folder() / "random-vit-b-32" / "open_clip.safetensors"
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_file(open_clip.create_model("ViT-B-32").state_dict(), weights)
    program = (
        "import time, sys, pathlib\n"
        "from lookalike_crds.image_collection import ModelSpec\n"
        "from lookalike_serving.embed.load import load_embedder\n"
        "began = time.perf_counter()\n"
        "spec = ModelSpec(provider='OpenClip', name='ViT-B-32', weights=sys.argv[1])\n"
        "load_embedder(spec, pathlib.Path(sys.argv[2]))\n"
        "print(time.perf_counter() - began)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        print("start from local weights          seconds   of these to load the model")
        for name in ("first, hashing the file", "again"):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", program, str(weights), cache],
                capture_output=True,
                text=True,
                check=True,
            )
            took = time.perf_counter() - began
            print(f"  {name:<32}{took:<10.1f}{float(done.stdout.split()[-1]):.1f} (goal 5)")
    print()


def peer(ours: Rates, seconds: float) -> None:
    print("infinity-emb 0.0.78: items/s, and how many times as fast this is")
    rates = in_infinity(SIZES, seconds)
    if isinstance(rates, str):
        print(f"  {rates}\n")
        return
    for kind, theirs in rates.items():
        told = "".join(
            f"{f'{rate:.1f} ({mine / rate:.2f})':>14}"
            for rate, mine in zip(theirs, ours[kind], strict=True)
        )
        print(f"  {kind:<26}{told}")
    print()


def over_http(cache: Path, requests: int) -> None:
    """Texts of 16 clients: a search over an empty collection here, an embedding there."""
    print("texts over HTTP, 16 clients: requests/s")
    with serving_texts(cache / "http") as ours, infinity_server() as theirs:
        rates: dict[str, list[float]] = {"ours": [], "infinity": []}
        for turn in range(3):
            for name, (url, path, body) in (("ours", ours), ("infinity", theirs)):
                first = 1_000_000 * (turn + 1) + (0 if name == "ours" else 500_000)
                closed_loop(url, path, lambda i, b=body, f=first: b(f - 1 - i), 16, 32)
                load = closed_loop(url, path, lambda i, b=body, f=first: b(f + i), 16, requests)
                rates[name].append(load.per_second)
    mine, other = (statistics.median(rates[name]) for name in ("ours", "infinity"))
    print(f"  {mine:.0f}/s beside {other:.0f}/s of infinity-emb: {mine / other:.2f} x (goal 3)\n")


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
