"""Uploaded documents that a change of the model would leave behind in another Edge index.

Each model of a collection has an index of its own, beside the others. Sources fill a new one again;
what was uploaded lies in the old one alone, and would vanish from every answer without a word. So a
new index is not made while an index of the same collection holds uploads.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from lookalike_crds.config import CollectionConfig
from lookalike_crds.image_collection import Engine, VectorSpec
from lookalike_serving.documents import RESERVED
from lookalike_serving.index.edge_folder import MANIFEST, Manifest
from lookalike_serving.index.filters import Condition, Operator
from lookalike_serving.index.protocol import IndexMismatch


async def check_no_uploads_left(collection: CollectionConfig) -> None:
    """Raises IndexMismatch if making the collection's index would leave uploads behind.

    Looks only where the collection has no index of its model yet. Raises IndexUnavailable if
    another process keeps an index of the collection open.
    """
    path = collection.index.path
    if collection.index.engine is not Engine.EDGE or path is None or (path / MANIFEST).exists():
        return
    for folder, manifest in _others(collection, path):
        if count := await _uploads(collection, folder, manifest):
            raise IndexMismatch(
                f"{count} documents that were uploaded to collection {collection.name} are in the "
                f"index of another model, {folder.name}, and would no longer be found: set "
                "spec.model back, and give the new model a second collection to upload to; or, to "
                f"give those documents up, delete the folder {folder}"
            )


def _others(collection: CollectionConfig, path: Path) -> list[tuple[Path, Manifest]]:
    """The collection's indexes of other models, by the owner that is written in each."""
    owner = collection.index.owner
    found = []
    for file in sorted(path.parent.glob(f"*/{MANIFEST}")):
        try:
            manifest = Manifest.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):  # told by whoever opens that index
            continue
        if owner is None or manifest.owner is None or manifest.dimension is None:
            continue
        if manifest.owner.is_same(owner):
            found.append((file.parent, manifest))
    return found


async def _uploads(collection: CollectionConfig, folder: Path, manifest: Manifest) -> int:
    from lookalike_serving.index.edge import EdgeIndex

    index = await EdgeIndex.open(
        folder,
        vector=VectorSpec.model_validate({"distance": manifest.distance}),
        dimension=manifest.dimension,
        fingerprint=manifest.fingerprint,
        fields=collection.fields,
        owner=manifest.owner,
    )
    try:
        return await index.count(Condition(f"{RESERVED}.source", Operator.EXISTS, False))
    finally:
        await index.close()
