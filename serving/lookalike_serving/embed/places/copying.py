"""Copies a whole model to a place: from `spec.model`, or from another place."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.places import manifest as manifests
from lookalike_serving.embed.places.address import is_elsewhere, is_one_object, place, target
from lookalike_serving.embed.places.at_hand import at_hand, bring, kept
from lookalike_serving.embed.places.folder import Folder
from lookalike_serving.embed.places.manifest import NAME, Manifest
from lookalike_serving.embed.registry import provider_of
from lookalike_serving.machine.files import write_atomically


@dataclass(frozen=True, slots=True)
class Copied:
    manifest: Manifest
    place: str
    """What `spec.model.weights` is to say."""
    written: int
    """Bytes; the others were there already."""


def is_place(said: str) -> bool:
    """Whether a whole model is kept there, as far as its name tells."""
    if is_elsewhere(said):
        return not is_one_object(said)
    return (Path(said).expanduser() / NAME).is_file()


def copy_model(spec: ModelSpec, cache_dir: Path, to: str) -> Copied:
    """The files that loading `spec` would read, fetched if necessary.

    Raises ModelError, OSError.
    """
    goal = target(to)
    spec = at_hand(spec, cache_dir)
    files = provider_of(spec).files(spec, cache_dir)
    name, found = files.name, _on_disk(files.files, cache_dir)
    described = tuple(manifests.described(path, file) for path, file in sorted(found.items()))
    manifest = Manifest(provider=spec.provider, name=name, origin=spec.weights, files=described)
    written = asyncio.run(goal.store(manifest, found))
    return Copied(manifest, goal.said, written)


def copy_place(source: str, cache_dir: Path, to: str) -> Copied:
    """What another place holds. Raises ModelError, OSError."""
    goal = target(to)
    if not is_elsewhere(source):
        manifest, files = Folder(Path(source).expanduser().resolve()).verified()
    elif isinstance(goal, Folder):
        before = {each for each in goal.path.rglob("*") if each.is_file()}
        manifest = asyncio.run(bring(place(source), goal.path))
        new = (each for each in manifest.files if goal.path / each.path not in before)
        return Copied(manifest, goal.said, sum(each.bytes for each in new))
    else:
        folder, manifest = kept(place(source), cache_dir)
        files = {each.path: folder / each.path for each in manifest.files}
    written = asyncio.run(goal.store(manifest, files))
    return Copied(manifest, goal.said, written)


def _on_disk(files: Mapping[str, Path | str], cache_dir: Path) -> dict[str, Path]:
    """A path for each; texts are written below `cache_dir`."""
    found = {}
    for path, content in files.items():
        if isinstance(content, str):
            data = content.encode()
            kept = cache_dir / "written" / hashlib.sha256(data).hexdigest()
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, data)
            content = kept
        found[path] = content
    return found
