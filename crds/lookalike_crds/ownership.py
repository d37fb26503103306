"""Whose an index is: written into it when it is made, and asked before it is touched.

A Qdrant server may be shared by namespaces, clusters and laptops. Whoever opens, changes or deletes
an index there looks first at the owner that is written in it. An index without one was made before
owners were written; the first that rightly uses it writes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

KEY = "owner"
"""In an index's own metadata."""


class IndexOwner(BaseModel):
    """The collection that an index belongs to."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    cluster: str = ""
    """A fingerprint of the cluster's certificate authority, or the id in a data folder of
    `lookalike up`. Empty: unknown."""
    namespace: str = ""
    """Empty on one machine."""
    name: str
    uid: str = ""
    """Of the ImageCollection, if there is one."""

    def is_same(self, other: IndexOwner) -> bool:
        """Whether both are one collection, or one is its successor of the same name.

        A cluster has one collection of a name in a namespace at a time, so another uid there is an
        earlier one's. A uid is one collection's everywhere.
        """
        if (self.namespace, self.name) != (other.namespace, other.name):
            return False
        if self.cluster and self.cluster == other.cluster:
            return True
        return bool(self.uid) and self.uid == other.uid

    def __str__(self) -> str:
        if not self.namespace:
            return f"collection {self.name} of the data folder of `lookalike up` {self.cluster}"
        where = f" of cluster {self.cluster}" if self.cluster else ""
        return f"ImageCollection {self.namespace}/{self.name}{where} (uid {self.uid or 'unknown'})"


def owner_in(metadata: Mapping[str, Any]) -> IndexOwner | None:
    """The owner that an index's metadata names; None if nobody has written one."""
    written = metadata.get(KEY)
    if written is None:
        return None
    try:
        return IndexOwner.model_validate(written)
    except ValidationError:
        # Written by something that this release does not know: somebody's, and not ours.
        return IndexOwner(name=str(written)[:200], uid="unknown")


def is_anothers(stored: IndexOwner | None, asking: IndexOwner | None) -> bool:
    """Whether an index must not be touched by who is asking."""
    return stored is not None and asking is not None and not stored.is_same(asking)
