"""From a `ModelSpec` to an `Embedder`: one function for serving, ingestion and benchmarks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.embed.registry import provider_of
from lookalike_serving.machine.cpus import usable_cpus


def load_embedder(
    model: ModelSpec,
    cache_dir: Path,
    *,
    random_weights_for_benchmarks: bool = False,
    threads: int | None = None,
) -> Embedder:
    """Load the model that `model` names. Takes seconds to minutes: never on an event loop.

    Fetched weights and their hashes are kept in `cache_dir`. `threads` limits the CPU threads of
    one call to the model; if it is None, all that the process may use. With
    `random_weights_for_benchmarks`, OpenClip and Timm models that name no weights get seeded random
    ones, whose results mean nothing.

    Raises ModelError, or WeightsNotFound if there are no weights.
    """
    provider = provider_of(model)
    import torch

    # Of this thread, and of each that computes with torch for the first time from now on.
    torch.set_num_threads(threads or usable_cpus())
    # OpenMP keeps a team of threads for each thread that computes, as long as that lives. Two
    # teams are more threads than processors, and then neither waits actively for its next step: a
    # text took 25 ms instead of 16 after its model was loaded by another thread that stayed.
    with ThreadPoolExecutor(1, "lookalike-load") as passing:
        return passing.submit(
            provider.load, model, cache_dir, random_weights=random_weights_for_benchmarks
        ).result()
