"""What a user would write: open_clip, a DataLoader and qdrant-client, on one machine.

    python script.py folder DIR | s3 URL | tar URL [--batch 32] [--bf16]

Prints {"images", "seconds"} of everything after the first batch: starting is not counted.
"""

import argparse
import io
import json
import os
import tarfile
import time
from pathlib import Path

import boto3
import open_clip
import torch
from PIL import Image
from qdrant_client import QdrantClient, models
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

parser = argparse.ArgumentParser()
parser.add_argument("place", choices=["folder", "s3", "tar"])
parser.add_argument("where")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--bf16", action="store_true")
given = parser.parse_args()
model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
model.eval()


class Images(IterableDataset):
    def files(self):
        if given.place == "folder":
            yield from ((p.name, p.read_bytes) for p in mine(sorted(Path(given.where).iterdir())))
            return
        s3 = boto3.client("s3", endpoint_url=given.where, region_name="us-east-1")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bench")
        for key in mine([each["Key"] for page in pages for each in page["Contents"]]):
            body = s3.get_object(Bucket="bench", Key=key)["Body"]
            if given.place == "s3":
                yield key, body.read
                continue
            with tarfile.open(fileobj=body, mode="r|") as shard:
                for member in shard:
                    yield member.name, shard.extractfile(member).read

    def __iter__(self):
        for name, read in self.files():
            yield name, preprocess(Image.open(io.BytesIO(read())).convert("RGB"))


def mine(things):
    return things[get_worker_info().id :: get_worker_info().num_workers]


client = QdrantClient(":memory:")
size = model.visual.output_dim
client.create_collection("bench", models.VectorParams(size=size, distance=models.Distance.COSINE))
done, first, started = 0, 0, 0.0
for names, pixels in DataLoader(Images(), batch_size=given.batch, num_workers=os.cpu_count()):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=given.bf16):
        vectors = model.encode_image(pixels, normalize=True).float()
    points = [
        models.PointStruct(id=done + n, vector=vector, payload={"name": name})
        for n, (vector, name) in enumerate(zip(vectors.tolist(), names, strict=True))
    ]
    client.upsert("bench", points)
    done += len(names)
    if not started:
        first, started = done, time.perf_counter()
print(json.dumps({"images": done - first, "seconds": time.perf_counter() - started}))
