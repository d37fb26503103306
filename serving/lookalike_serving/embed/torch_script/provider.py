"""Provider TorchScript: one file that holds a network and its weights, run by torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.places.address import is_elsewhere
from lookalike_serving.embed.places.at_hand import at_hand
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.embed.provider import ModelFiles, ModelProvider
from lookalike_serving.embed.torch_script.files import files_of, published


class TorchScript(ModelProvider):
    needs: ClassVar[tuple[str, ...]] = ("torch",)

    def check(self, spec: ModelSpec) -> None:
        if not is_elsewhere(spec.weights):
            files_of(spec)

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        from lookalike_serving.embed.torch_script.loading import load_torch_script

        return load_torch_script(spec, files_of(at_hand(spec, cache_dir)), cache_dir)

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        return published(spec)
