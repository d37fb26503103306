"""From a `ModelSpec` to an `Embedder`: one function for serving, ingestion and benchmarks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed.protocol import Embedder, ModelError
from lookalike_serving.machine.cpus import usable_cpus


def load_embedder(
    model: ModelSpec,
    cache_dir: Path,
    *,
    random_weights_for_benchmarks: bool = False,
    threads: int | None = None,
) -> Embedder:
    """Load the model that `model` names; seconds to minutes, so never on an event loop.

    Fetched weights and their hashes are kept in `cache_dir`. `threads` bounds the CPU threads
    of one call to the model; all that the process may use where None. With
    `random_weights_for_benchmarks`, OpenClip and Timm models that name no weights get seeded
    random ones: nothing they find means anything.

    Raises ModelError, or WeightsNotFound where there are no weights.
    """
    import torch

    # Of this thread, and of each that computes with torch for the first time from now on.
    torch.set_num_threads(threads or usable_cpus())
    # OpenMP keeps a team of threads for each thread that computes, as long as that lives. Two
    # teams are more threads than processors, and then neither waits actively for its next step: a
    # text took 25 ms instead of 16 after its model was loaded by another thread that stayed.
    with ThreadPoolExecutor(1, "lookalike-load") as passing:
        return passing.submit(_load, model, cache_dir, random_weights_for_benchmarks).result()


def check_built(model: ModelSpec) -> None:
    """Raises ModelError for a provider that comes with a later version. Loads nothing."""
    if model.provider in (Provider.ONNX, Provider.PLUGIN):
        raise ModelError(
            f"spec.model.provider {model.provider} comes with a later version: "
            f"use {Provider.OPEN_CLIP}, {Provider.TIMM} or {Provider.DEMO}"
        )


def _load(model: ModelSpec, cache_dir: Path, random_weights: bool) -> Embedder:
    check_built(model)
    match model.provider:
        case Provider.DEMO:
            from lookalike_serving.embed.demo import load_demo

            return load_demo()
        case Provider.OPEN_CLIP:
            # Here, since open_clip takes seconds to import and the demo model needs none of it.
            from lookalike_serving.embed.open_clip.loading import load_open_clip

            return load_open_clip(model, cache_dir, random_weights=random_weights)
        case Provider.TIMM:
            from lookalike_serving.embed.timm.loading import load_timm

            return load_timm(model, cache_dir, random_weights=random_weights)
        case Provider.ONNX | Provider.PLUGIN:
            raise AssertionError(model.provider)
