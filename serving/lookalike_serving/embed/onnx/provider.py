"""Provider Onnx: graphs from a file or a folder, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.execution.source import Source, SourceProvider
from lookalike_serving.embed.onnx.files import files_of, published
from lookalike_serving.embed.places.address import is_elsewhere
from lookalike_serving.embed.provider import ModelFiles


class Onnx(SourceProvider):
    needs: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    install: ClassVar[str] = "pip install 'lookalike[onnx,serving]'"

    def check(self, spec: ModelSpec) -> None:
        if not is_elsewhere(spec.weights):
            files_of(spec)

    def build(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Source:
        from lookalike_serving.embed.onnx.loading import read_onnx

        return read_onnx(spec, cache_dir)

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        return published(spec)
