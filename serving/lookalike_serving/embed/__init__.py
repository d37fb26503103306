"""Embedding models: loading them, preprocessing, batching."""

from lookalike_serving.embed.admission import Overloaded
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.embed.protocol import Embedder, EmbedderInfo, ModelError, WeightsNotFound
from lookalike_serving.embed.results import Embedded, ImageFacts, KindStats, Stats, Timings

__all__ = [
    "BatchedEmbedder",
    "Embedded",
    "Embedder",
    "EmbedderInfo",
    "ImageFacts",
    "KindStats",
    "ModelError",
    "Overloaded",
    "Stats",
    "Timings",
    "WeightsNotFound",
    "load_embedder",
]
