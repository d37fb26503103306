"""The registered providers of models: the entry points of the group `lookalike.embedders`.

Nothing else names a provider. An entry point is imported only when a resource names it, so a broken
one affects nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.protocol import Embedder, ModelError, PackageMissing
from lookalike_serving.embed.provider import ModelFiles, ModelProvider, failed_import

GROUP = "lookalike.embedders"
OWN = "lookalike"
"""The package whose providers come with Lookalike."""

log = logging.getLogger("lookalike.models")


@dataclass(frozen=True, slots=True)
class Registered:
    """A provider's entry point."""

    entry: EntryPoint

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def package(self) -> str:
        """The package that registers it, as pip names it."""
        return self.entry.dist.name if self.entry.dist is not None else "?"

    def __str__(self) -> str:
        ours = self.package == OWN
        return f"provider {self.name}" + ("" if ours else f" of the package {self.package!r}")

    def provider(self) -> ModelProvider:
        """Import it. Raises PackageMissing, or ModelError if it is no provider."""
        try:
            made = self.entry.load()()
        except ImportError as error:
            raise self._missing(error) from None
        except (Exception, SystemExit) as error:
            if (told := self._told("cannot be imported", error)) is not None:
                raise told from error
            raise
        if not isinstance(made, ModelProvider):
            raise ModelError(
                f"{self}: {self.entry.value} is a {type(made).__name__}, not a ModelProvider of "
                "lookalike_serving.embed.provider: correct its entry point"
            )
        return made

    def check(self, spec: ModelSpec) -> None:
        """Raises ModelError."""
        provider = self.provider()
        try:
            provider.check(spec)
        except (Exception, SystemExit) as error:
            if (missing := failed_import(error)) is not None:
                raise self._missing(missing, provider.install) from error
            if (told := self._told(f"cannot check {spec.name!r}", error)) is not None:
                raise told from error
            raise

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        """Raises ModelError."""
        with self._telling(f"cannot load {spec.name!r}") as provider:
            return provider.load(spec, cache_dir, random_weights=random_weights)

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        """Raises ModelError."""
        with self._telling(f"cannot copy {spec.name!r}") as provider:
            return provider.files(spec, cache_dir)

    @contextmanager
    def _telling(self, what: str) -> Iterator[ModelProvider]:
        """The provider, with what it needs imported. Raises ModelError."""
        provider = self.provider()
        try:
            for module in provider.needs:
                import_module(module)
            yield provider
        except (Exception, SystemExit) as error:
            if (missing := failed_import(error)) is not None:
                raise self._missing(missing, provider.install) from error
            if (told := self._told(what, error)) is not None:
                raise told from error
            raise

    def _missing(self, error: ImportError, install: str | None = None) -> PackageMissing:
        line = install or (ModelProvider.install if self.package == OWN else self._reinstall())
        module = (error.name or "").split(".")[0]
        if isinstance(error, ModuleNotFoundError) and module:
            what = f"needs the Python package {module!r}, which is not installed"
        else:
            what = f"needs a Python package that cannot be imported ({_one_line(error)})"
        return PackageMissing(f"{self} {what}: {line}")

    def _reinstall(self) -> str:
        return f"pip install --upgrade --force-reinstall {self.package}"

    def _told(self, what: str, error: BaseException) -> ModelError | None:
        """The error with the name of the provider, if it is not one of ours: our own raise errors
        in words already, or have a defect.
        """
        if isinstance(error, ModelError) or self.package == OWN:
            return None
        log.error("%s %s", self, what, exc_info=error)
        return ModelError(f"{self} {what}: {type(error).__name__}: {_one_line(error)}")


def registered() -> dict[str, tuple[Registered, ...]]:
    """Providers by name; more than one if several packages claim it."""
    found: dict[str, tuple[Registered, ...]] = {}
    for entry in entry_points(group=GROUP):
        found[entry.name] = (*found.get(entry.name, ()), Registered(entry))
    return dict(sorted(found.items()))


def provider_of(spec: ModelSpec) -> Registered:
    """The provider of the model.

    Raises ModelError if there is none, or if several packages register it.
    """
    name = spec.provider.value
    known = registered()
    match known.get(name, ()):
        case (one,):
            return one
        case ():
            raise ModelError(
                f"spec.model.provider {name} is registered by no installed package: choose one of "
                f"{', '.join(known) or 'none'}, or install Lookalike again: {ModelProvider.install}"
            )
        case several:
            packages = " and ".join(sorted(repr(each.package) for each in several))
            raise ModelError(
                f"spec.model.provider {name} is registered by the packages {packages}: remove one"
            )


def check_model(spec: ModelSpec) -> None:
    """Raises ModelError, or WeightsNotFound, for a model that cannot be loaded whatever is fetched.

    Paths must be absolute, or relative to the current folder. What only the hub knows, and what a
    file holds, is not looked at.
    """
    provider_of(spec).check(spec)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
