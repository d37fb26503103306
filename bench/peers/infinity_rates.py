"""infinity-emb's images and texts a second, by the size of a batch.

    python infinity_rates.py --model FOLDER --seconds 3 --sizes 1 8 32

Prints {"images": [...], "texts": [...]}.
"""

import argparse
import asyncio
import json
import statistics
import time

import numpy as np
from infinity_emb import AsyncEmbeddingEngine, EngineArgs
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--seconds", type=float, required=True)
parser.add_argument("--sizes", type=int, nargs="+", required=True)
given = parser.parse_args()
TEXTS = ["a red striped mug", "shoes", "blue canvas bag with leather straps", "an old oak chair"]
picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8))


async def main() -> None:
    args = EngineArgs(
        model_name_or_path=given.model,
        engine="torch",
        device="cpu",
        batch_size=32,
        compile=False,
        bettertransformer=False,
        model_warmup=False,
        lengths_via_tokenize=False,
    )
    engine = AsyncEmbeddingEngine.from_args(args)
    rates: dict[str, list[float]] = {"images": [], "texts": []}
    async with engine:
        number = 0
        for size in given.sizes:
            for kind in rates:
                times: list[float] = []
                while sum(times) < given.seconds or len(times) < 6:
                    number += 1
                    # No text twice, since a server may remember it.
                    texts = [f"{TEXTS[i % 4]} {number} {i}" for i in range(size)]
                    start = time.perf_counter()
                    if kind == "images":
                        await engine.image_embed(images=[picture] * size)
                    else:
                        await engine.embed(sentences=texts)
                    times.append(time.perf_counter() - start)
                rates[kind].append(size / statistics.median(times[1:]))
    print(json.dumps(rates))


asyncio.run(main())
