"""Where a model's weights are: a file, a folder, a pretrained tag, the Hugging Face hub.

Resolves what a `ModelSpec` says to a file on disk, fetching it into the cache folder where it
must be, and gives the file's content a name (its SHA-256). Never makes weights up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import download_pretrained_from_url

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.naming import close_to, looks_like_a_path, some
from lookalike_serving.embed.open_clip.known import CONFIG, refuse_folder
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound
from lookalike_serving.embed.weights import (
    HUB,
    Hub,
    first_of,
    unreachable,
)

FOLDER = "local-dir:"
_CHECKPOINTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
)


@dataclass(frozen=True, slots=True)
class Weights:
    """What `open_clip.create_model` is to be called with, and what identifies the vectors."""

    architecture: str
    """A built-in name, or `local-dir:…` of a folder with its own configuration."""
    pretrained: str | None
    """The file; None for a folder, where open_clip finds it beside the configuration."""
    file: Path
    name: str
    """What to call the model: its architecture, or the hub's `org/model`."""
    said: str
    """The weights as the spec names them."""
    tag: dict[str, Any] = field(default_factory=dict)
    """What open_clip notes beside a tag: preprocessing, and whether it needs QuickGELU."""


def locate(spec: ModelSpec, cache_dir: Path) -> Weights:
    """Find, or fetch into `cache_dir`, the weights of an OpenClip model.

    Raises WeightsNotFound if there are none, ModelError where they cannot be fetched.
    """
    name, said = spec.name, spec.weights
    hub = next((s for s in (said, name) if s and s.startswith(HUB)), None)
    if hub:
        return _from_hub(hub.removeprefix(HUB), spec, cache_dir)
    if spec.revision:
        raise ModelError(
            f"spec.model.revision {spec.revision!r} is for hf-hub: weights only: remove it"
        )
    if said and (Path(said) / CONFIG).is_file():
        folder = Path(said).resolve()
        return Weights(f"{FOLDER}{folder}", None, _checkpoint(folder), name or folder.name, said)
    if said:
        refuse_folder(name, said)
    if not name:
        raise ModelError(
            "spec.model.name is missing: give an open_clip architecture such as 'ViT-B-32', "
            "or hf-hub:org/model"
        )
    known_architecture(name)
    if not said:
        raise WeightsNotFound(
            f"spec.model.weights is missing for {name!r}: give a pretrained tag "
            f"({some(open_clip.list_pretrained_tags_by_model(name))}), a file, or hf-hub:org/model"
        )
    if looks_like_a_path(said):
        return _from_file(name, said)
    return _from_tag(name, said, cache_dir)


def known_architecture(name: str) -> None:
    """Raises ModelError, with the closest names, where open_clip has no such architecture."""
    models = open_clip.list_models()
    if name not in models:
        raise ModelError(
            f"spec.model.name {name!r} is no open_clip architecture: did you mean "
            f"{some(close_to(name, models) or ['ViT-B-32', 'ViT-L-14', 'ViT-B-16-SigLIP'])}?"
        )


def _from_file(name: str, said: str) -> Weights:
    file = Path(said).expanduser().resolve()
    if not file.is_file():
        raise WeightsNotFound(
            f"weights of {name!r}: no file {file}; correct spec.model.weights, or mount the volume"
        )
    return Weights(name, str(file), file, name, said)


def _from_tag(name: str, tag: str, cache_dir: Path) -> Weights:
    config = open_clip.get_pretrained_cfg(name, tag)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not config:
        raise WeightsNotFound(
            f"weights of {name!r}: {tag!r} is neither a file nor a pretrained tag; "
            f"known tags: {some(close_to(tag, tags) or tags)}"
        )
    what = f"{name!r}, tag {tag!r}"
    if hub := config.get("hf_hub"):
        repository, _, listed = hub.rpartition("/")
        candidates = (
            [listed.rpartition(".")[0] + ".safetensors", listed] if listed else _CHECKPOINTS
        )
        file = first_of(Hub(repository, None, cache_dir), candidates, what)
    else:
        try:
            file = Path(download_pretrained_from_url(config["url"], cache_dir=str(cache_dir)))
        except Exception as error:
            raise unreachable(what, cache_dir, error) from None
    return Weights(name, str(file), file, name, tag, config)


def _from_hub(repository: str, spec: ModelSpec, cache_dir: Path) -> Weights:
    what = f"{HUB}{repository}"
    hub = Hub(repository, spec.revision, cache_dir)
    folder = first_of(hub, (CONFIG,), what).parent
    file = first_of(hub, _CHECKPOINTS, what)
    try:
        hub.fetch_tokenizer()
    except Exception as error:
        raise unreachable(f"{what} (its tokenizer)", cache_dir, error) from None
    said = what + (f"@{spec.revision}" if spec.revision else "")
    return Weights(f"{FOLDER}{folder}", None, file, repository, said)


def _checkpoint(folder: Path) -> Path:
    """The file that open_clip will choose in `folder`."""
    for candidate in _CHECKPOINTS:
        if (folder / candidate).is_file():
            return folder / candidate
    raise WeightsNotFound(
        f"weights: {folder} has {CONFIG} but none of {', '.join(_CHECKPOINTS)}: add the weights"
    )
