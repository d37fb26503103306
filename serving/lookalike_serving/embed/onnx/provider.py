"""Provider Onnx: graphs from a file or a folder, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.onnx.files import files_of
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.embed.provider import ModelProvider


class Onnx(ModelProvider):
    needs: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    install: ClassVar[str] = "pip install 'lookalike[onnx,serving]'"

    def check(self, spec: ModelSpec) -> None:
        files_of(spec)

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        from lookalike_serving.embed.onnx.loading import load_onnx

        return load_onnx(spec, cache_dir)
