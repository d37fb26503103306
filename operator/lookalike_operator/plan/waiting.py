"""Why a wanted ingestion run is not started yet."""

from __future__ import annotations

from lookalike_crds.image_collection import Engine, ImageCollectionSpec
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.model import CollectionSnapshot, Manifest
from lookalike_operator.plan.runs import gateway_of
from lookalike_operator.plan.who_acts import waits_for_a_person

CONFIG_MAP = "ConfigMap "
"""Before the name of what is missing and no Secret."""


def why_not_started(
    snapshot: CollectionSnapshot, spec: ImageCollectionSpec, claim: Manifest | None
) -> Cause | None:
    """None: start it. The first reason in the order in which a person can act."""
    if spec.suspend:
        return Cause("Suspended", "spec.suspend is true: set it to false to ingest")
    if snapshot.missing_secrets:
        return missing_secrets(snapshot.missing_secrets)
    if spec.index.engine is Engine.EDGE:
        return _no_gateway(snapshot, claim)
    if snapshot.index is not None and snapshot.index.error is not None:
        reason = snapshot.index.reason
        return Cause(
            reason if waits_for_a_person(reason) else "WaitingForIndex", snapshot.index.error
        )
    return None


def _no_gateway(snapshot: CollectionSnapshot, claim: Manifest | None) -> Cause | None:
    """An Edge index is written by the pod that serves it."""
    gateway = gateway_of(snapshot)
    if gateway is None:
        return Cause(
            "WaitingForRetriever",
            f"an Edge index is written through the pod that serves it, and no Retriever names "
            f"{snapshot.meta.name} in its collections: create one",
        )
    if claim is None or not gateway.available:
        return Cause(
            "WaitingForRetriever",
            f"starts when Retriever {gateway.meta.name} is available",
        )
    return None


def missing_secrets(missing: tuple[str, ...]) -> Cause:
    """`missing`: as `observe.secrets` tells them."""
    secrets = [each for each in missing if not each.startswith(CONFIG_MAP)]
    others = [each for each in missing if each.startswith(CONFIG_MAP)]
    names = ", ".join(([f"Secret {', '.join(secrets)}"] if secrets else []) + others)
    verb = "is" if len(missing) == 1 else "are"
    reason = "SecretNotFound" if secrets else "ConfigMapNotFound"
    return Cause(reason, f"{names} {verb} missing: create it")
