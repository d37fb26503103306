"""PersistentVolumeClaims: an Edge collection's indexes, and what a serving pod keeps beside them.

A claim is data. It keeps what the API server would refuse to change (class, a smaller size), and
one that is to be retained has no owner, so that the garbage collector leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lookalike_crds.image_collection import DeletionPolicy, ImageCollectionSpec, StorageSpec
from lookalike_operator.plan.model import CollectionFacts, Manifest
from lookalike_operator.plan.names import Component, Owner, data_claim, index_claim
from lookalike_operator.plan.quantity import amount


@dataclass(frozen=True, slots=True)
class Claim:
    manifest: Manifest
    refused: str | None = None
    """What the spec asks for and a claim cannot become, with the remedy."""


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


def data(owner: Owner, edge: tuple[CollectionFacts, ...], live: Manifest | None) -> Claim:
    """`<retriever>-data`: uploaded images, batches, thumbnails, weights.

    As large as the largest of its Edge collections' claims, and retained where any of them is.
    """
    storages = [each.spec.index.storage or StorageSpec() for each in edge]
    largest = max(storages, key=lambda storage: amount(storage.size) or 0)
    return _claim(
        owner,
        data_claim(owner.name),
        Component.SERVING,
        largest,
        live,
        owned=all(each.spec.deletion_policy is DeletionPolicy.DELETE for each in edge),
    )


def _claim(
    owner: Owner,
    name: str,
    component: Component,
    storage: StorageSpec,
    live: Manifest | None,
    *,
    owned: bool,
) -> Claim:
    size, storage_class, refused = storage.size, storage.storage_class_name, None
    if live is not None:
        live_spec = live.get("spec") or {}
        has = live_spec.get("resources", {}).get("requests", {}).get("storage")
        if has is not None and (amount(size) or 0) < (amount(has) or 0):
            refused = f"PersistentVolumeClaim {name} has {has} and cannot shrink to {size}"
            size = has
        live_class = live_spec.get("storageClassName")
        if storage_class is not None and live_class != storage_class:
            refused = (
                f"PersistentVolumeClaim {name} is of StorageClass {live_class or '(none)'} and "
                f"cannot become {storage_class}: make a second collection, or delete the claim "
                "and ingest again"
            )
        storage_class = live_class
    spec = {
        "accessModes": ["ReadWriteOnce"],
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
