"""A model that was read and not yet bound to a way of computing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec, Precision
from lookalike_serving.embed.execution.ways import TORCH, ChosenBy, Execution, Way
from lookalike_serving.embed.places.at_hand import at_hand
from lookalike_serving.embed.protocol import Embedder, EmbedderInfo
from lookalike_serving.embed.provider import ModelProvider


@dataclass(frozen=True, slots=True)
class Ways:
    """What a model can be tried with on this machine."""

    available: tuple[Way, ...]
    """The first is the reference for the vectors. The simplest come first."""
    missing: dict[str, str] = field(default_factory=dict)
    """Engines that are not installed, with the command that installs them."""


class Source(ABC):
    """What a provider has read. `embedder` uses it up; `copy` is for who needs it again."""

    info: EmbedderInfo
    """Without what depends on the way."""

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def fingerprint(self) -> str:
        return self.info.fingerprint

    @property
    def device(self) -> str:
        """The fastest there is for it."""
        return self.info.device

    @property
    def reads_texts(self) -> bool:
        return self.info.supports_text

    @property
    def size(self) -> int:
        """Bytes of its weights in memory."""
        return self.info.bytes

    @abstractmethod
    def ways(self) -> Ways: ...

    @abstractmethod
    def estimate(self) -> Way:
        """A way that is fast as far as can be told within about a second."""

    @abstractmethod
    def embedder(self, execution: Execution) -> Embedder:
        """Build and warm it. Raises ModelError, or what an engine raises."""

    @abstractmethod
    def copy(self) -> Source: ...


class SourceProvider(ModelProvider):
    """A provider whose models can be computed in several ways."""

    def read(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Source:
        """As `load`, without binding the model to a way of computing."""
        source = self.build(at_hand(spec, cache_dir), cache_dir, random_weights=random_weights)
        if source.info.weights is not None:  # not the path in the cache folder
            source.info = replace(source.info, weights=spec.weights or source.info.weights)
        return source

    @abstractmethod
    def build(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Source:
        """As `read`, of weights that are a path or a name."""

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        from lookalike_serving.embed.execution.run import run

        source = self.read(spec, cache_dir, random_weights=random_weights)
        return run(source, asked(spec), cache_dir)


def asked(spec: ModelSpec) -> Way | None:
    """The way that a resource asks for; None if that is to be measured."""
    return None if spec.precision is Precision.AUTO else Way(TORCH, spec.precision.value)


def both(way: Way, source: Source, chosen_by: ChosenBy) -> Execution:
    """The same way for both towers."""
    return Execution(way, way if source.reads_texts else None, chosen_by)
