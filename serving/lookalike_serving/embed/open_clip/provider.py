"""Provider OpenClip: any architecture that open_clip builds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.open_clip.known import check_names
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.embed.provider import ModelProvider


class OpenClip(ModelProvider):
    needs: ClassVar[tuple[str, ...]] = ("open_clip",)

    def check(self, spec: ModelSpec) -> None:
        check_names(spec)

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        from lookalike_serving.embed.open_clip.loading import load_open_clip

        return load_open_clip(spec, cache_dir, random_weights=random_weights)
