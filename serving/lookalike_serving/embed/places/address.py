"""How `spec.model.weights` names a place; imports no client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_serving.embed.bucket_weights import in_bucket

if TYPE_CHECKING:
    from lookalike_serving.embed.places.protocol import Place, Target

OCI = "oci://"


def is_elsewhere(said: str | None) -> bool:
    """Whether it is an address of a bucket or a registry, and not a path, a tag or a hub's name."""
    return said is not None and (said.startswith(OCI) or in_bucket(said))


def is_one_object(said: str) -> bool:
    """Whether it names one file, and not a place that holds a whole model."""
    return in_bucket(said) and not said.endswith("/")


def place(said: str) -> Place:
    """A place that is not on this machine. Raises ModelError for an address that is wrong."""
    if said.startswith(OCI):
        from lookalike_serving.embed.places.oci import Artifact

        return Artifact(said)
    from lookalike_serving.embed.places.bucket import BucketFolder

    return BucketFolder(said)


def target(said: str) -> Target:
    """Where a model is to be written. Raises ModelError."""
    if is_elsewhere(said):
        return place(said)
    from lookalike_serving.embed.places.folder import Folder

    return Folder(Path(said).expanduser().resolve())
