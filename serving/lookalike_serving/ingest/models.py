"""The models of a run: the collection's own, and its copy model if it has one."""

from __future__ import annotations

from typing import NamedTuple

from lookalike_crds.config import IngestionConfig
from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.embed.room import check_room


class Loaded(NamedTuple):
    """The models that are loaded already; None: it is loaded when it is needed."""

    own: Embedder | None = None
    copier: Embedder | None = None


NONE_LOADED = Loaded()


def loaded(config: IngestionConfig, model: ModelSpec, threads: int | None = None) -> Embedder:
    """Raises ModelError. It takes seconds, or minutes if weights have to be fetched."""
    weights = config.data_dir / "weights"
    if not config.random_weights_for_benchmarks:
        check_room(model, weights, beside=False)
    return load_embedder(
        model,
        weights,
        random_weights_for_benchmarks=config.random_weights_for_benchmarks,
        threads=threads,
    )


def batched(config: IngestionConfig, embedder: Embedder, threads: int | None) -> BatchedEmbedder:
    """As a worker asks it: by batches of the collection's size, with enough images waiting."""
    batch = config.ingestion.batch_size
    return BatchedEmbedder(
        embedder,
        max_batch=batch,
        max_waiting=4 * batch + 64,
        max_pixels=config.fetch.max_pixels,
        threads=threads,
    )
