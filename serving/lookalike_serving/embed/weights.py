"""Where a model's weights are: a file, a folder, a pretrained tag, the Hugging Face hub.

Resolves what a `ModelSpec` says to a file on disk, fetching it into the cache folder where it
must be, and gives the file's content a name (its SHA-256). Never makes weights up.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import socket
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import open_clip
from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError
from open_clip.pretrained import download_pretrained_from_url

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound, WeightsUnreachable

HUB = "hf-hub:"
_FOLDER = "local-dir:"
_BUCKETS = ("s3://", "gs://", "az://")
_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin", ".npz"}
_CONFIG = "open_clip_config.json"
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

    Raises WeightsNotFound where there are none, ModelError where they cannot be fetched.
    """
    name, said = spec.name, spec.weights
    if said and said.startswith(_BUCKETS):
        raise ModelError(
            f"spec.model.weights {said!r}: weights in buckets come with a later version; "
            "copy the file to a volume and give its path, or use hf-hub:org/model"
        )
    hub = next((s for s in (said, name) if s and s.startswith(HUB)), None)
    if hub:
        return _from_hub(hub.removeprefix(HUB), spec, cache_dir)
    if spec.revision:
        raise ModelError(
            f"spec.model.revision {spec.revision!r} is for hf-hub: weights only: remove it"
        )
    if said and (Path(said) / _CONFIG).is_file():
        folder = Path(said).resolve()
        return Weights(f"{_FOLDER}{folder}", None, _checkpoint(folder), name or folder.name, said)
    if not name:
        raise ModelError(
            "spec.model.name is missing: give an open_clip architecture such as 'ViT-B-32', "
            "or hf-hub:org/model"
        )
    known_architecture(name)
    if not said:
        raise WeightsNotFound(
            f"spec.model.weights is missing for {name!r}: give a pretrained tag "
            f"({_some(open_clip.list_pretrained_tags_by_model(name))}), a file, or hf-hub:org/model"
        )
    if _looks_like_a_path(said):
        return _from_file(name, said)
    return _from_tag(name, said, cache_dir)


def known_architecture(name: str) -> None:
    """Raises ModelError, with the closest names, where open_clip has no such architecture."""
    models = open_clip.list_models()
    if name not in models:
        raise ModelError(
            f"spec.model.name {name!r} is no open_clip architecture: did you mean "
            f"{_some(_close(name, models) or ['ViT-B-32', 'ViT-L-14', 'ViT-B-16-SigLIP'])}?"
        )


def content_hash(file: Path, cache_dir: Path) -> str:
    """SHA-256 of the file, kept in `cache_dir` for as long as size and time of change stay."""
    stat = file.stat()
    stamp = {"path": str(file.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    slot = hashlib.sha256(stamp["path"].encode()).hexdigest()[:32]  # type: ignore[attr-defined]
    note = cache_dir / "hashes" / f"{slot}.json"
    try:
        known = json.loads(note.read_text())
        if {key: known[key] for key in stamp} == stamp:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not hashed yet, or half written by a killed process
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        scratch = note.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps({**stamp, "sha256": digest}))
        scratch.replace(note)
    except OSError:
        pass  # a read-only cache costs the next start a second or two, nothing more
    return digest


def _looks_like_a_path(said: str) -> bool:
    return "/" in said or "\\" in said or Path(said).suffix in _SUFFIXES or Path(said).exists()


def _from_file(name: str, said: str) -> Weights:
    file = Path(said).expanduser().resolve()
    if file.is_dir():
        raise WeightsNotFound(
            f"weights of {name!r}: {file} is a folder without {_CONFIG}; name the weights file"
        )
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
            f"known tags: {_some(_close(tag, tags) or tags)}"
        )
    what = f"{name!r}, tag {tag!r}"
    if hub := config.get("hf_hub"):
        repository, _, listed = hub.rpartition("/")
        candidates = (
            [listed.rpartition(".")[0] + ".safetensors", listed] if listed else _CHECKPOINTS
        )
        file = _first(_Hub(repository, None, cache_dir), candidates, what)
    else:
        try:
            file = Path(download_pretrained_from_url(config["url"], cache_dir=str(cache_dir)))
        except Exception as error:
            raise _unreachable(what, cache_dir, error) from None
    return Weights(name, str(file), file, name, tag, config)


def _from_hub(repository: str, spec: ModelSpec, cache_dir: Path) -> Weights:
    what = f"{HUB}{repository}"
    hub = _Hub(repository, spec.revision, cache_dir)
    folder = _first(hub, (_CONFIG,), what).parent
    file = _first(hub, _CHECKPOINTS, what)
    try:
        hub.fetch_tokenizer()
    except Exception as error:
        raise _unreachable(f"{what} (its tokenizer)", cache_dir, error) from None
    said = what + (f"@{spec.revision}" if spec.revision else "")
    return Weights(f"{_FOLDER}{folder}", None, file, repository, said)


@dataclass(frozen=True, slots=True)
class _Hub:
    """One repository of the Hugging Face hub: the cache first, then the network.

    What was fetched once stays: a new commit upstream must not change vectors between two
    restarts. `spec.model.revision` asks for another.
    """

    repository: str
    revision: str | None
    cache_dir: Path

    def fetch(self, file: str) -> Path:
        download = partial(
            hf_hub_download,
            self.repository,
            file,
            revision=self.revision,
            cache_dir=str(self.cache_dir),
        )
        try:
            return Path(download(local_files_only=True))
        except EntryNotFoundError:
            if not _online():
                raise
        return Path(download())

    def fetch_tokenizer(self) -> None:
        """The tokenizer's files, where the model brings its own."""
        snapshot_download(
            self.repository,
            revision=self.revision,
            cache_dir=str(self.cache_dir),
            allow_patterns=["*.json", "*.txt", "*.model"],
            local_files_only=not _online(),
        )


def _first(hub: _Hub, candidates: Iterable[str], what: str) -> Path:
    """The first of `candidates` that the repository has."""
    failure: Exception | None = None
    for candidate in candidates:
        try:
            return hub.fetch(candidate)
        except Exception as error:
            failure = error
    assert failure is not None
    raise _unreachable(what, hub.cache_dir, failure) from None


def _online() -> bool:
    """Whether the hub can be asked at all.

    Its client tries for half a minute before it gives up on a machine without a network; a
    name that does not resolve says so at once. Behind a proxy names need not resolve here.
    """
    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def _checkpoint(folder: Path) -> Path:
    """The file that open_clip will choose in `folder`."""
    for candidate in _CHECKPOINTS:
        if (folder / candidate).is_file():
            return folder / candidate
    raise WeightsNotFound(
        f"weights: {folder} has {_CONFIG} but none of {', '.join(_CHECKPOINTS)}: add the weights"
    )


def _unreachable(what: str, cache_dir: Path, error: Exception) -> WeightsUnreachable:
    if _online():
        cause = " ".join(str(error).split())[:200] or type(error).__name__
    else:
        cause = "there is no network"
    return WeightsUnreachable(
        f"cannot fetch the weights of {what} ({cause}) and they are not in {cache_dir}: "
        "allow access to the hub, or put the weights on a volume and give their path"
    )


def _close(name: str, known: Iterable[str]) -> list[str]:
    folded = {k.lower(): k for k in known}
    return [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.5)]


def _some(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "") if listed else "none known"
