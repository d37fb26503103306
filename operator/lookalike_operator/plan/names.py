"""What children are called, how they are labelled, and who owns them.

Every child carries the labels by which it is found and, unless it is to outlive its resource, an
owner reference, so that the garbage collector deletes it with the resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from lookalike_crds.base import API_VERSION
from lookalike_crds.naming import LONGEST, joined
from lookalike_crds.ownership import IndexOwner
from lookalike_operator.plan.model import Manifest, Meta, ObjectRef, ref_of

MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "lookalike-operator"
APP = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
KIND = "lookalike.dev/kind"
NAME = "lookalike.dev/name"
RUN = "lookalike.dev/run"
"""On Jobs and their pods: the id of the run."""
RAY_JOB = "lookalike.dev/ray-job"
"""On RayJobs and their pods: the name of the RayJob."""
CLIENT = "lookalike.dev/client"
"""On pods of others: they may reach a service behind `access.networkPolicy`."""

CONFIG_DIGEST = "lookalike.dev/config-digest"
TEMPLATE_DIGEST = "lookalike.dev/template-digest"
"""On what runs serving pods: a digest of the pods as rendered; another one replaces them."""
PAUSED = "lookalike.dev/paused"
RUN_NOW = "lookalike.dev/run-now"
ADOPT = "lookalike.dev/adopt"
SWITCH = "lookalike.dev/switch"
"""On collections: the name of an index that is to answer, whatever holds it back."""
ROLLBACK = "lookalike.dev/rollback"
"""On collections: the name of the index of a model that is not to answer: the former one does."""

FINALIZER = "lookalike.dev/index"
"""On collections whose index on a Qdrant server goes with them."""

_LONGEST_JOB = LONGEST - len("-999")
"""The pods of an Indexed Job are hosts of its name and their number, which must be labels."""
_LONGEST_CRON_JOB = _LONGEST_JOB - len("-12345678")
"""The Jobs of a CronJob have its name and the minute since 1970."""
_LONGEST_RAY_JOB = 47
_LONGEST_RAY_SERVICE = 41
"""KubeRay adds suffixes to it for clusters, services and pods."""


_SCHEDULED = "schedule-"


class Component(StrEnum):
    SERVING = "serving"
    INGESTION = "ingestion"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class Owner:
    """One of our resources, as its children name it."""

    kind: Literal["ImageCollection", "Retriever"]
    meta: Meta

    @property
    def name(self) -> str:
        return self.meta.name

    @property
    def namespace(self) -> str:
        return self.meta.namespace

    def labels(self, component: Component) -> dict[str, str]:
        return {
            MANAGED_BY: OPERATOR,
            APP: "lookalike",
            COMPONENT: component.value,
            KIND: self.kind,
            NAME: self.name,
        }

    def selector(self, component: Component) -> dict[str, str]:
        """Labels that select the pods of one component, and no others."""
        return {COMPONENT: component.value, KIND: self.kind, NAME: self.name}

    def reference(self) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.meta.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }

    def metadata(
        self,
        name: str,
        component: Component,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        owned: bool = True,
    ) -> dict[str, Any]:
        """ObjectMeta of a child. Not `owned`: it stays when the resource is deleted."""
        meta: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": {**self.labels(component), **(labels or {})},
        }
        if annotations:
            meta["annotations"] = dict(annotations)
        if owned:
            meta["ownerReferences"] = [self.reference()]
        return meta

    def owns(self, live: Manifest) -> bool:
        """Whether a live object may be changed and deleted as a child of this resource."""
        meta = live["metadata"]
        owners = meta.get("ownerReferences") or ()
        if any(owner.get("uid") == self.meta.uid for owner in owners):
            return True
        if any(owner.get("controller") for owner in owners):
            return False
        if (meta.get("annotations") or {}).get(ADOPT) == "true":
            return True
        # Claims that outlive their collection wait for the next one of that name.
        labels = meta.get("labels") or {}
        return live["kind"] == "PersistentVolumeClaim" and all(
            labels.get(key) == value
            for key, value in ((MANAGED_BY, OPERATOR), (KIND, self.kind), (NAME, self.name))
        )


def own_service_account(owner: Owner) -> str:
    """What pods of a resource may act as, where somebody made it for them."""
    return f"{owner.name}-{owner.kind.lower()}"


def strangers(
    owner: Owner, children: tuple[Manifest, ...], foreign: tuple[ObjectRef, ...]
) -> frozenset[ObjectRef]:
    """Objects that are not to be touched although they have a name we might want."""
    return frozenset(foreign) | {ref_of(child) for child in children if not owner.owns(child)}


def fitted(name: str, suffix: str = "", longest: int = LONGEST) -> str:
    """Name of a child that follows from one name: `suffix` tells what it is for."""
    return joined(name, suffix=suffix, longest=longest)


def index_owner(meta: Meta, cluster: str) -> IndexOwner:
    """What is written into a collection's index. `cluster`: see `Settings.cluster_id`."""
    return IndexOwner(cluster=cluster, namespace=meta.namespace, name=meta.name, uid=meta.uid)


def serving_config_map(retriever: str) -> str:
    return fitted(retriever, "-config")


def api_keys_secret(retriever: str) -> str:
    return fitted(retriever, "-api-keys")


def internal_secret(retriever: str) -> str:
    return fitted(retriever, "-internal")


def data_claim(retriever: str) -> str:
    return fitted(retriever, "-data")


def index_claim(collection: str) -> str:
    return fitted(collection, "-index")


def ingestion_config_map(collection: str) -> str:
    return fitted(collection, "-ingestion")


def ingestion_job(collection: str, attempt: str) -> str:
    return fitted(collection, f"-ingest-{attempt}", longest=_LONGEST_JOB)


def ingestion_ray_job(collection: str, attempt: str) -> str:
    return fitted(collection, f"-ingest-{attempt}", longest=_LONGEST_RAY_JOB)


def scheduled_run(source: str) -> str:
    """The run label of a source's scheduled Jobs and RayJobs."""
    return joined(f"{_SCHEDULED}{source}")


def is_scheduled(run: str) -> bool:
    """Whether a run label is of a scheduled run. Other runs are named by digests."""
    return run.startswith(_SCHEDULED)


def cron_job(collection: str, source: str) -> str:
    return joined(collection, source, longest=_LONGEST_CRON_JOB)


def ray_service(retriever: str) -> str:
    return fitted(retriever, longest=_LONGEST_RAY_SERVICE)
