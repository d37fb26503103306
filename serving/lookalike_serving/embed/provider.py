"""What a provider of models is: it checks what a resource says of a model, and loads it.

A provider is one class, registered in the entry-point group `lookalike.embedders` under the name
that `spec.model.provider` says; those that come with Lookalike are registered in the same way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.protocol import Embedder, ModelError


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What loading a model reads, as a folder that can be loaded in its place."""

    name: str
    """With this `spec.model.name`, the folder gives the same vectors."""
    files: Mapping[str, Path | str]
    """By path in the folder: a file on this machine, or a text."""


class ModelProvider(ABC):
    """Loads the models of one library.

    The class is imported to check a resource before anything starts, so its module imports what
    takes long, such as torch, within `load`.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    """Python modules without which it loads nothing."""
    install: ClassVar[str] = "pip install 'lookalike[serving]'"
    """The command that installs them."""

    def check(self, spec: ModelSpec) -> None:  # noqa: B027 - not every provider can check something
        """Raises ModelError, or WeightsNotFound, for a model that cannot be loaded whatever is
        fetched. Paths are absolute, or relative to the current folder. It loads and fetches
        nothing, and takes milliseconds."""

    @abstractmethod
    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        """Build and warm the model that `spec` names: seconds to minutes, in a thread of its own.

        Fetched weights are kept in `cache_dir`. `random_weights`: for benchmarks alone, a spec
        that names no weights gets seeded random ones.

        Raises ModelError, or WeightsNotFound if there are no weights. An ImportError is reported
        with the line that installs what is missing; anything else with the provider's name.
        """

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        """The files that `load` would read, fetched into `cache_dir` if necessary.

        Raises ModelError, also if there is nothing to copy.
        """
        raise ModelError(
            f"provider {spec.provider} does not tell which files its models consist of: put them "
            "on a volume or into an image, and name them in spec.model"
        )


def failed_import(error: BaseException) -> ImportError | None:
    """The import that failed behind an error, if that is its stated cause.

    Whoever turns any error of a library into words of its own asks this first: a package that is
    not installed is no matter of the hub, or of the weights.
    """
    each: BaseException | None = error
    while each is not None and not isinstance(each, ImportError):
        each = each.__cause__
    return each
