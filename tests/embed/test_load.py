"""Loading a model leaves nothing behind that slows its use."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import os, sys, time
from pathlib import Path
import torch
from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed.load import load_embedder

def alive():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)  # starts a thread of its own, of torch's other pool, that sleeps
before = alive()
model = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", precision=Precision.AUTO)
load_embedder(model, Path(sys.argv[1]), random_weights_for_benchmarks=True, threads=2)
end = time.monotonic() + 10
while alive() > before and time.monotonic() < end:
    time.sleep(0.05)
print(before, alive(), torch.get_num_threads())
"""


def test_no_thread_of_the_loading_stays(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after, threads = map(int, done.stdout.split())
    assert after <= before, "OpenMP's team of the thread that loaded is still there"
    assert threads == 2
