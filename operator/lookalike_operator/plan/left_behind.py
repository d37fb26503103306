"""Indexes on a Qdrant server that no resource of this cluster uses any more.

An index records its owner. It is left behind if that collection exists and uses others – the one
that answers, and the one that its spec asks for – or if the collection no longer exists: its index
was to be retained, or could not be deleted in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookalike_crds.image_collection import ImageCollectionSpec, ImageCollectionStatus
from lookalike_crds.ownership import IndexOwner
from lookalike_operator.plan import indexes
from lookalike_operator.plan.model import Meta
from lookalike_operator.plan.names import index_owner
from lookalike_operator.plan.serving_config import BATCHES


@dataclass(frozen=True, slots=True)
class Known:
    """What a cluster has that may use indexes."""

    cluster: str
    """See `Settings.cluster_id`."""
    collections: tuple[tuple[Meta, ImageCollectionSpec | None, ImageCollectionStatus], ...]
    """All of the cluster. None: a spec that cannot be read."""
    serving: frozenset[str]
    """Namespaces that have a Retriever."""


@dataclass(frozen=True, slots=True)
class Unused:
    """An index that is left behind."""

    name: str
    owner: IndexOwner
    sources: tuple[str, ...]
    """Those that can bring its documents again."""


def left_behind(known: Known, stored: Iterable[tuple[str, IndexOwner | None]]) -> list[Unused]:
    """Of the indexes (name, owner) of a server: those of this cluster that nothing uses."""
    found = []
    for name, owner in stored:
        if owner is None or not owner.namespace:
            continue  # of an early release, or of a data folder of `lookalike up`
        unused = _unused(known, name, owner)
        if unused is not None:
            found.append(unused)
    return found


def _unused(known: Known, name: str, owner: IndexOwner) -> Unused | None:
    for meta, spec, status in known.collections:
        if not owner.is_same(index_owner(meta, known.cluster)):
            continue
        if spec is None or name in _used(meta, spec, status):
            return None
        return Unused(name, owner, tuple(source.name for source in spec.sources))
    if not known.cluster or owner.cluster != known.cluster:
        return None  # another's, for all that is known
    if owner.name == BATCHES and not owner.uid and owner.namespace in known.serving:
        return None
    return Unused(name, owner, ())


def _used(
    meta: Meta, spec: ImageCollectionSpec, status: ImageCollectionStatus
) -> frozenset[str | None]:
    """Every name that the collection's index may have, by its spec and by its status."""
    return frozenset(
        (
            status.index_name,
            *indexes.kept(status),
            indexes.active(meta, spec, status)[0],
            *indexes.names_for(meta, spec),
        )
    )
