"""Which reasons require a person to act, and which pass by themselves: the one table of both.

`Stalled` is True exactly if a reason that requires a person keeps a resource from being what its
spec says; Argo CD and Flux show such a resource as failed. A reason that is not here is one of
Kubernetes' own that we only pass on, and is assumed to pass by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from lookalike_crds.failures import FAILURES
from lookalike_crds.switching import GATE_NOT_PASSED, NOT_CARRIED
from lookalike_operator.plan.model import QDRANT_UNAVAILABLE


class Who(Enum):
    PERSON = "somebody is to change something"
    ITSELF = "it continues by itself, or when something else does"


WHO_ACTS: Mapping[str, Who] = {
    # -- the spec
    "InvalidSpec": Who.PERSON,
    "CollectionInvalid": Who.PERSON,
    # GitOps applies resources in any order.
    "CollectionNotFound": Who.ITSELF,
    "NoQdrantAddress": Who.PERSON,
    "AddressNotAllowed": Who.PERSON,
    "ForbiddenByPolicy": Who.PERSON,
    "KubeRayMissing": Who.PERSON,
    "KubeRayTooOld": Who.PERSON,
    "KubeRayNamespaceUnknown": Who.PERSON,
    "GatewayApiMissing": Who.PERSON,
    "EdgeSingleReplica": Who.PERSON,
    "IndexInUse": Who.PERSON,
    NOT_CARRIED: Who.PERSON,
    GATE_NOT_PASSED: Who.PERSON,
    "NotSwitched": Who.PERSON,
    "NameTaken": Who.PERSON,
    "SecretNotFound": Who.PERSON,
    "ConfigMapNotFound": Who.PERSON,
    "SecretEmptied": Who.PERSON,
    # -- what the operator writes
    "Refused": Who.PERSON,
    "FieldsContested": Who.PERSON,
    "Unforeseen": Who.PERSON,
    "WriteFailed": Who.ITSELF,
    # -- pods
    "CrashLoopBackOff": Who.PERSON,
    # Once; the next attempt may succeed, and CrashLoopBackOff follows if none does.
    "Error": Who.ITSELF,
    "CreateContainerConfigError": Who.PERSON,
    "CreateContainerError": Who.PERSON,
    "RunContainerError": Who.PERSON,
    "ImagePullBackOff": Who.PERSON,
    "InsufficientResources": Who.PERSON,
    "Unschedulable": Who.PERSON,
    "UnboundClaim": Who.PERSON,
    "QuotaExceeded": Who.PERSON,
    "PodSecurity": Who.PERSON,
    "FailedCreate": Who.PERSON,
    "NotReadyInTime": Who.PERSON,
    "DeployFailed": Who.PERSON,
    "Unhealthy": Who.PERSON,
    "Evicted": Who.ITSELF,
    "Starting": Who.ITSELF,
    # -- the index
    QDRANT_UNAVAILABLE: Who.ITSELF,
    "QdrantTooOld": Who.PERSON,
    "IndexLost": Who.PERSON,
    "ClaimPending": Who.ITSELF,
    "ClaimLost": Who.PERSON,
    "NoStorageClass": Who.PERSON,
    "StorageClassNotFound": Who.PERSON,
    "ClaimImmutable": Who.PERSON,
    # -- ingestion
    # A run that has failed is not made again by itself, whatever it failed for.
    **{row.reason: Who.PERSON for row in FAILURES if row.reason is not None},
    "JobFailed": Who.PERSON,
    "Suspended": Who.ITSELF,
    # A queue lets it go on.
    "JobSuspended": Who.ITSELF,
    "WaitingForIndex": Who.ITSELF,
    "WaitingForRetriever": Who.ITSELF,
    "Settling": Who.ITSELF,
    "Downloading": Who.ITSELF,
}


def waits_for_a_person(reason: str) -> bool:
    return WHO_ACTS.get(reason) is Who.PERSON
