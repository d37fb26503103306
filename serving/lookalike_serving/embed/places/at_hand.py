"""From the address in `spec.model.weights` to a path on this machine.

What was fetched once is kept, as with the hub: neither a tag that is moved nor an object that is
replaced changes vectors between two restarts.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.bucket_weights import fetched
from lookalike_serving.embed.fetching import fetch, only_one
from lookalike_serving.embed.places.address import is_elsewhere, is_one_object, place
from lookalike_serving.embed.places.folder import Folder, has
from lookalike_serving.embed.places.manifest import NAME, Manifest
from lookalike_serving.embed.places.protocol import Place
from lookalike_serving.embed.protocol import ModelError


def at_hand(spec: ModelSpec, cache_dir: Path) -> ModelSpec:
    """`spec` again, with weights that are a path or a name, fetched into `cache_dir` if necessary.

    Blocks, so do not call it on an event loop. Raises WeightsNotFound, WeightsUnreachable,
    ModelError.
    """
    said = spec.weights
    if said is None or not is_elsewhere(said):
        return spec
    if is_one_object(said):
        return spec.model_copy(update={"weights": str(fetched(said, cache_dir))})
    if spec.revision:
        raise ModelError(
            f"spec.model.revision {spec.revision!r} is for hf-hub: weights only: remove it"
        )
    folder, manifest = kept(place(said), cache_dir)
    if manifest.provider is not spec.provider:
        raise ModelError(
            f"{said} holds a model of provider {manifest.provider}, and spec.model.provider is "
            f"{spec.provider}: correct one of them"
        )
    name = spec.name or manifest.name
    return spec.model_copy(update={"weights": str(folder), "name": name})


def kept(place: Place, cache_dir: Path) -> tuple[Path, Manifest]:
    """A folder with what the place holds, fetched once. Raises ModelError."""
    digest = hashlib.sha256(place.said.encode()).hexdigest()[:16]
    folder = cache_dir / "places" / digest
    with only_one(folder, place.said):
        if not (folder / NAME).is_file():
            asyncio.run(bring(place, folder))
    return folder, Folder(folder).described()


async def bring(place: Place, folder: Path) -> Manifest:
    """Fetch what the place holds into `folder`; what is whole there already is not fetched again.

    Raises ModelError, OSError.
    """
    manifest = await place.manifest()
    for each in manifest.files:
        to = folder / each.path
        if await asyncio.to_thread(has, to, each):
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            await fetch(await place.remote(each), to)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
    Folder(folder).finish(manifest)
    return manifest
