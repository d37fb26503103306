"""Provider Timm: the features of any timm model."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.execution.source import Source, SourceProvider
from lookalike_serving.embed.naming import SUFFIXES, check_file
from lookalike_serving.embed.provider import ModelFiles
from lookalike_serving.embed.timm import packages


class Timm(SourceProvider):
    needs: ClassVar[tuple[str, ...]] = ("timm",)
    install: ClassVar[str] = "pip install 'lookalike[photos,serving]'"

    def check(self, spec: ModelSpec) -> None:
        """Names of models and tags are in timm's modules, which take seconds to import: not
        checked."""
        name, said = spec.name, spec.weights
        if not said:
            return
        if said.startswith(packages.PACKAGE):
            packages.locate(name, said)
        elif ":" not in said and ("/" in said or Path(said).suffix in SUFFIXES):
            place = Path(said).expanduser().resolve()
            if not place.is_dir():
                check_file(str(name), place)

    def build(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Source:
        from lookalike_serving.embed.timm.loading import read_timm

        return read_timm(spec, cache_dir, random_weights=random_weights)

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        from lookalike_serving.embed.timm.weights import published

        return published(spec, cache_dir)
