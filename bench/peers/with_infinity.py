"""infinity-emb embeds images, qdrant-client stores them.

    python with_infinity.py folder DIR | s3 URL  --model FOLDER [--batch 32]

Objects of a bucket are fetched by 32 threads, since infinity refuses addresses on loopback. Prints
{"images", "seconds"} of everything after one image that is embedded first: starting is not counted.
"""

import argparse
import asyncio
import io
import json
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infinity_emb import AsyncEmbeddingEngine, EngineArgs
from PIL import Image
from qdrant_client import QdrantClient, models

parser = argparse.ArgumentParser()
parser.add_argument("place", choices=["folder", "s3"])
parser.add_argument("where")
parser.add_argument("--model", required=True)
parser.add_argument("--batch", type=int, default=32)
given = parser.parse_args()


def addresses() -> list[str]:
    found: list[str] = []
    while True:
        after = found[-1].rpartition("/bench/")[2] if found else ""
        page = urllib.request.urlopen(f"{given.where}/bench?list-type=2&start-after={after}").read()
        keys = [each.text for each in ElementTree.fromstring(page).findall(".//{*}Key")]
        if not keys:
            return found
        found += [f"{given.where}/bench/{key}" for key in keys]


async def main(things: list) -> None:
    client = QdrantClient(":memory:")
    args = EngineArgs(
        model_name_or_path=given.model,
        engine="torch",
        device="cpu",
        batch_size=given.batch,
        compile=False,
        bettertransformer=False,
        model_warmup=False,
    )
    done = 0
    # Two batches under way, so that one is fetched and decoded while the other is in the model.
    waiting: list[asyncio.Task] = []
    engine = AsyncEmbeddingEngine.from_args(args)
    async with engine:
        await engine.image_embed(images=opened(things[:1]))
        started = time.perf_counter()

        async def embedded(some: list) -> list:
            vectors, _ = await engine.image_embed(images=await asyncio.to_thread(opened, some))
            return vectors

        for at in range(0, len(things) + 2 * given.batch, given.batch):
            if some := things[at : at + given.batch]:
                waiting.append(asyncio.create_task(embedded(some)))
            if not waiting or (some and len(waiting) < 3):
                continue
            vectors = await waiting.pop(0)
            if not done:
                size = len(vectors[0])
                params = models.VectorParams(size=size, distance=models.Distance.COSINE)
                client.create_collection("bench", params)
            points = [
                models.PointStruct(id=done + n, vector=list(map(float, vector)))
                for n, vector in enumerate(vectors)
            ]
            client.upsert("bench", points)
            done += len(points)
    print(json.dumps({"images": done, "seconds": time.perf_counter() - started}))


def opened(some: list) -> list[Image.Image]:
    return list(FETCHING.map(image, some))


def image(one: Path | str) -> Image.Image:
    file = one if isinstance(one, Path) else io.BytesIO(urllib.request.urlopen(one).read())
    return Image.open(file).convert("RGB")


FETCHING = ThreadPoolExecutor(32)
folder = given.place == "folder"
asyncio.run(main(sorted(Path(given.where).iterdir()) if folder else addresses()))
