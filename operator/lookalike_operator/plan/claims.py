"""PersistentVolumeClaims: the indexes of an Edge collection, and the other data of serving pods.

A claim is data. It keeps what the API server would refuse to change (its class, a smaller size),
and a claim that is to be retained has no owner, so that the garbage collector does not delete it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lookalike_crds.image_collection import (
    DeletionPolicy,
    Engine,
    ImageCollectionSpec,
    StorageSpec,
)
from lookalike_crds.quantities import amount
from lookalike_crds.retriever import AccessMode, RetrieverSpec
from lookalike_operator.plan.conditions import parsed
from lookalike_operator.plan.model import CollectionFacts, Manifest
from lookalike_operator.plan.names import Component, Owner, data_claim, index_claim


@dataclass(frozen=True, slots=True)
class Claim:
    manifest: Manifest
    refused: str | None = None
    """What the spec asks for and a claim cannot change to, with the remedy."""


def index(owner: Owner, spec: ImageCollectionSpec, live: Manifest | None) -> Claim:
    """`<collection>-index`: every Edge index of the collection, one folder each."""
    return _claim(
        owner,
        index_claim(owner.name),
        Component.INDEX,
        spec.index.storage or StorageSpec(),
        live,
        owned=spec.deletion_policy is DeletionPolicy.DELETE,
    )


def data(
    owner: Owner,
    spec: RetrieverSpec,
    collections: tuple[CollectionFacts, ...],
    live: Manifest | None,
) -> Claim | None:
    """`<retriever>-data`: uploaded images, batches, thumbnails, weights. None if not asked for.

    With engine Edge there always is one, as large as the largest claim of the collections unless
    the spec sets the size. It is retained if any of the collections is.
    """
    mode = data_mode(spec, collections)
    if mode is None:
        return None
    edge = edge_collections(collections)
    storages = [each.spec.index.storage or StorageSpec() for each in edge]
    storage = spec.serving.storage or max(storages, key=lambda each: amount(each.size) or 0)
    return _claim(
        owner,
        data_claim(owner.name),
        Component.SERVING,
        storage,
        live,
        owned=all(each.spec.deletion_policy is DeletionPolicy.DELETE for each in collections),
        mode=mode,
    )


def data_mode(spec: RetrieverSpec, collections: tuple[CollectionFacts, ...]) -> AccessMode | None:
    """How serving pods have their volume; None if what they write goes with them."""
    if edge_collections(collections):
        return AccessMode.READ_WRITE_ONCE
    storage = spec.serving.storage
    return None if storage is None else storage.access_mode or AccessMode.READ_WRITE_MANY


_USUAL_SECONDS = 15.0
"""A volume is usually there by then, and a provisioner that cannot make one has said so."""


def explained_in(claim: Manifest, now: datetime) -> float | None:
    """Seconds until it is worth asking for events why a claim has no volume; None if it has
    one, or names no class: then there is no provisioner that could say something."""
    pending = (claim.get("status") or {}).get("phase") == "Pending"
    if not pending or not (claim.get("spec") or {}).get("storageClassName"):
        return None
    created = parsed(claim["metadata"].get("creationTimestamp"))
    age = _USUAL_SECONDS if created is None else (now - created).total_seconds()
    return max(0.0, _USUAL_SECONDS - age)


def edge_collections(collections: tuple[CollectionFacts, ...]) -> tuple[CollectionFacts, ...]:
    """Those whose index lies on a volume, which one pod at a time opens."""
    return tuple(each for each in collections if each.spec.index.engine is Engine.EDGE)


def _claim(
    owner: Owner,
    name: str,
    component: Component,
    storage: StorageSpec,
    live: Manifest | None,
    *,
    owned: bool,
    mode: AccessMode = AccessMode.READ_WRITE_ONCE,
) -> Claim:
    size, storage_class, refused = storage.size, storage.storage_class_name, None
    modes = [mode.value]
    if live is not None:
        live_spec = live.get("spec") or {}
        has = live_spec.get("resources", {}).get("requests", {}).get("storage")
        if has is not None and (amount(size) or 0) < (amount(has) or 0):
            refused = f"PersistentVolumeClaim {name} has {has} and cannot shrink to {size}"
            size = has
        live_class = live_spec.get("storageClassName")
        if storage_class is not None and live_class != storage_class:
            refused = (
                f"PersistentVolumeClaim {name} has StorageClass {live_class or '(none)'} and "
                f"cannot change to {storage_class}: create a second collection, or delete the "
                "claim and ingest again"
            )
        storage_class = live_class
        if (live_modes := live_spec.get("accessModes") or modes) != modes:
            refused = (
                f"PersistentVolumeClaim {name} has access mode {live_modes[0]} and cannot change "
                f"to {mode.value}: create a second Retriever, or copy the content of the claim "
                "and delete it"
            )
            modes = live_modes
    spec = {
        "accessModes": modes,
        "resources": {"requests": {"storage": size}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return Claim(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": owner.metadata(name, component, owned=owned),
            "spec": spec,
        },
        refused,
    )
