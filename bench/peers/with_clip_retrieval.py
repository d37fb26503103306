"""clip-retrieval computes embeddings into files, qdrant-client stores them.

    python with_clip_retrieval.py folder DIR | s3 URL | tar URL --weights FILE [--batch 32]

It reads folders, and tar shards at addresses; objects of a bucket are copied into a folder first,
by 32 threads, which is counted. Prints {"images", "seconds"}, without the time that loading the
model takes.
"""

import argparse
import json
import os
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from all_clip import load_clip
from clip_retrieval.clip_inference.main import main as clip_inference
from qdrant_client import QdrantClient, models


def keys(where):
    found = []
    while True:
        after = found[-1] if found else ""
        page = urllib.request.urlopen(f"{where}/bench?list-type=2&start-after={after}").read()
        some = [each.text for each in ElementTree.fromstring(page).findall(".//{*}Key")]
        if not some:
            return found
        found += some


def copied(where, folder):
    folder.mkdir()

    def copy(key):
        data = urllib.request.urlopen(f"{where}/bench/{key}").read()
        (folder / key.rpartition("/")[2]).write_bytes(data)

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(copy, keys(where)))
    return str(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("place", choices=["folder", "s3", "tar"])
    parser.add_argument("where")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    model = f"open_clip:ViT-B-32/{given.weights}"
    load_clip(clip_model=model, use_jit=False, warmup_batch_size=given.batch, clip_cache_path=None)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        started = time.perf_counter()
        if given.place == "tar":
            shards = [f"{given.where}/bench/{key}" for key in keys(given.where)]
            where = shards[0] if len(shards) == 1 else "{" + ",".join(shards) + "}"
        else:
            where = given.where if given.place == "folder" else copied(given.where, out / "copied")
        clip_inference(
            input_dataset=where,
            input_format="webdataset" if given.place == "tar" else "files",
            output_folder=str(out / "embeddings"),
            batch_size=given.batch,
            num_prepro_workers=os.cpu_count(),
            enable_text=False,
            clip_model=model,
            output_partition_count=1,
        )
        client = QdrantClient(":memory:")
        done = 0
        for file in sorted((out / "embeddings" / "img_emb").glob("*.npy")):
            vectors = np.load(file).astype(np.float32)
            if not done:
                params = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
                client.create_collection("bench", params)
            for at in range(0, len(vectors), given.batch):
                some = vectors[at : at + given.batch].tolist()
                points = [models.PointStruct(id=done + n, vector=v) for n, v in enumerate(some)]
                client.upsert("bench", points)
                done += len(points)
        print()  # clip-retrieval leaves its own line open
        print(json.dumps({"images": done, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":  # it starts processes that import this file
    main()
