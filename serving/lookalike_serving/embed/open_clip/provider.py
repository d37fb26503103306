"""Provider OpenClip: any architecture that open_clip builds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.execution.source import Source, SourceProvider
from lookalike_serving.embed.open_clip.known import check_names
from lookalike_serving.embed.places.address import is_elsewhere
from lookalike_serving.embed.provider import ModelFiles


class OpenClip(SourceProvider):
    needs: ClassVar[tuple[str, ...]] = ("open_clip",)

    def check(self, spec: ModelSpec) -> None:
        if not is_elsewhere(spec.weights):
            check_names(spec)

    def build(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Source:
        from lookalike_serving.embed.open_clip.loading import read_open_clip

        return read_open_clip(spec, cache_dir, random_weights=random_weights)

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        from lookalike_serving.embed.open_clip.published import published

        return published(spec, cache_dir)
