"""How long an OpenClip model takes to start from weights that lie on this machine.

    python bench/start_model.py [--name ViT-B-32] [--runs 3]

Random weights of the architecture are saved to a temporary file. Each run is a new process, which
imports what it needs and loads the model in FP32; the hash of the file is known, as it is from the
second start on. Printed is the best of the runs for each step, in seconds of wall-clock time and of
CPU time; on a machine with other load the CPU time is the one to compare. The last line loads the
same model with the random values that PyTorch fills a new network with, and that the file replaces.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

_STEPS = ("our modules", "torch", "open_clip", "loading", "loading, filled at random first")


def run(name: str, weights: Path, cache: Path, *, filled: bool) -> dict[str, tuple[float, float]]:
    """(wall, CPU) seconds of each step in this process, which must be a new one."""
    taken: dict[str, tuple[float, float]] = {}
    wall, cpu = perf_counter(), process_time()

    def step(what: str) -> None:
        nonlocal wall, cpu
        taken[what] = (perf_counter() - wall, process_time() - cpu)
        wall, cpu = perf_counter(), process_time()

    from lookalike_crds.image_collection import ModelSpec, Precision, Provider
    from lookalike_serving.embed import load_embedder

    step("our modules")
    import torch  # noqa: F401 - timed

    step("torch")
    from lookalike_serving.embed.open_clip import loading

    step("open_clip")
    if filled:
        loading.read_from_file = lambda build: build()  # type: ignore[attr-defined]
    spec = ModelSpec(
        provider=Provider.OPEN_CLIP, name=name, weights=str(weights), precision=Precision.FP32
    )
    load_embedder(spec, cache)
    step(_STEPS[-1] if filled else "loading")
    return taken


def save_random_weights(name: str, file: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    state = open_clip.create_model(name, pretrained_text=False).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description="How long an OpenClip model takes to start.")
    parser.add_argument("--name", default="ViT-B-32", help="an architecture of open_clip")
    parser.add_argument("--runs", type=int, default=3, help="processes for each way of loading")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of one run
    parser.add_argument("--filled", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder is not None:
        files = asked.folder / "weights.safetensors", asked.folder / "cache"
        print(json.dumps(run(asked.name, *files, filled=asked.filled)))
        return
    with tempfile.TemporaryDirectory() as folder:
        save_random_weights(asked.name, Path(folder) / "weights.safetensors")
        each = [sys.executable, __file__, "--name", asked.name, "--folder", folder]
        best: dict[str, tuple[float, float]] = {}
        for number in range(1 + 2 * asked.runs):
            command = each + (["--filled"] if number % 2 else [])
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            if number == 0:
                continue  # it has read the files into memory, and hashed the weights
            for step, (wall, cpu) in json.loads(told).items():
                before = best.get(step, (wall, cpu))
                best[step] = min(before[0], wall), min(before[1], cpu)
    for step in _STEPS:
        print(f"{step:34} {best[step][0]:6.2f} s wall {best[step][1]:6.2f} s CPU")


if __name__ == "__main__":
    main()
