"""Ingestion with runtime Ray beside a Job, and how many cores feed one GPU.

    python bench/ingest_ray.py [--images 448] [--rounds 1] [--gpu-rates 1000 3000 10000]

Both read the same JPEGs of 1024 x 768 from a folder of this machine, embed them with ViT-B/32
(random weights) on its CPUs, and write to an Edge index behind a server in another process. The
ratio is what the pixels' way through Ray costs if no GPU gains from it.

Then the model is one that computes next to nothing, as a GPU that is never the bottleneck. What is
left of a core's time is fetching, decoding, handing over and writing: divided by the cores, this is
the rate at which one core feeds a GPU.

As it is set, it takes some minutes on two cores. With `--images 600 --rounds 2`, the rates of a
quiet machine vary less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from ingest import BATCH, MODEL, pictures, pipeline, seconds_alone, source_of
from lookalike_crds.image_collection import IngestionSpec, ModelSpec, Provider
from lookalike_serving.embed import load_embedder
from lookalike_serving.ingest.dispatch import CHUNK
from lookalike_serving.ingest.on_ray.slots import PER_WORKER
from lookalike_serving.ingest.partition import Partition

NOTHING = """
import numpy as np

class Nothing:
    size = 224
    def __init__(self, weights): pass
    def embed_images(self, images):
        return images[:, :16, :16].reshape(len(images), -1).astype(np.float32) + 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=448)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--gpu-rates", type=int, nargs="*", default=[1000, 3000, 10_000])
    given = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's workers give way to whatever else the machine does, which a Job does not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    spec = source_of("folder", str(pictures(given.images)))
    sample = sorted(pictures(given.images).iterdir())[:64]
    cores = os.cpu_count() or 1
    on_ray = IngestionSpec.model_validate({"runtime": "Ray", "batchSize": BATCH})
    rates: dict[str, list[float]] = {"Job": [], "Ray": [], "feeding": []}

    with tempfile.TemporaryDirectory() as scratch:
        plugin = Path(scratch) / "nothing.py"
        plugin.write_text(NOTHING)
        nothing = ModelSpec(provider=Provider.PLUGIN, name=f"{plugin}:Nothing")
        embedder = load_embedder(MODEL, Path(scratch), random_weights_for_benchmarks=True)
        print(f"{embedder.info.name}, {cores} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
        decode, model = seconds_alone(embedder, sample)
        del embedder
        for _ in range(given.rounds):
            for name, partition, ingestion, loaded in (
                ("Job", Partition(0, 1), IngestionSpec(batch_size=BATCH), MODEL),
                ("Ray", None, on_ray, MODEL),
                ("feeding", None, on_ray, nothing),
            ):
                with tempfile.TemporaryDirectory() as root:
                    rate, start_up, _ = pipeline(
                        Path(root),
                        spec,
                        partition,
                        model=loaded,
                        ingestion=ingestion,
                        at_once=1 if partition else cores * PER_WORKER * CHUNK,
                    )
                rates[name].append(rate)
                print(f"{name}: {rate:.1f} images/s, the first after {start_up:.1f} s", flush=True)
    job, ray, feeding = (statistics.median(each) for each in rates.values())
    print(
        f"\nalone on all cores: decode + preprocess {decode * 1e3:.2f} ms, model {model * 1e3:.2f}"
    )
    print("\n| images/s on CPUs | Job | Ray | Ray / Job |\n|---|---|---|---|")
    print(f"| folder | {job:.1f} | {ray:.1f} | {ray / job:.2f} |")
    a_core = feeding / cores
    print(
        f"\none core decodes {1 / (decode * cores):.0f} images/s, and feeds {a_core:.0f} images/s"
    )
    print("\n| a GPU that embeds, images/s | cores that feed it |\n|---|---|")
    for rate in given.gpu_rates:
        print(f"| {rate:,} | {-(-rate // a_core):.0f} |")


if __name__ == "__main__":
    main()
