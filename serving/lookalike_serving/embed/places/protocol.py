"""What a place that keeps models can do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lookalike_serving.embed.fetching import Remote
from lookalike_serving.embed.places.manifest import Manifest, WeightsFile


class Target(Protocol):
    """Where models can be written. Methods raise ModelError, with the address and the remedy."""

    @property
    def said(self) -> str:
        """Its address, as `spec.model.weights` names it."""
        ...

    async def store(self, manifest: Manifest, files: Mapping[str, Path]) -> int:
        """Write the files, by their path in the manifest, and then the manifest.

        What the place has already is not written again; returns the number of bytes that were.
        """
        ...


class Place(Target, Protocol):
    """A place that is not on this machine."""

    async def manifest(self) -> Manifest:
        """Raises WeightsNotFound if there is none."""
        ...

    async def remote(self, file: WeightsFile) -> Remote:
        """One of its files, to be fetched."""
        ...
