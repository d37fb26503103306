"""The kinds that the operator reads and writes, and their API paths.

There is one table: informers watch what is in it, apply and prune write what is in it, and a Plan
that names another kind is refused before a request is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from lookalike_crds.base import API_VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and its path."""

    api_version: str
    kind: str
    plural: str
    optional: bool = False
    """Its API belongs to another project and may be absent."""
    watched: bool = True
    """Not Secrets: whoever may watch Secrets may read every one of them."""
    pruned: bool = True
    """Deleted if a plan no longer names it."""

    @property
    def api(self) -> str:
        """`group/version/Kind`, as snapshots name an optional API."""
        return f"{self.api_version}/{self.kind}"

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """Path of one object, or of all of a namespace, or (None) of all."""
        root = "/api" if "/" not in self.api_version else "/apis"
        parts = [root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


IMAGE_COLLECTION = Kind(API_VERSION, "ImageCollection", "imagecollections")
RETRIEVER = Kind(API_VERSION, "Retriever", "retrievers")
OURS = (IMAGE_COLLECTION, RETRIEVER)

POD = Kind("v1", "Pod", "pods", pruned=False)
SECRET = Kind("v1", "Secret", "secrets", watched=False, pruned=False)
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

RAY_SERVICE = Kind("ray.io/v1", "RayService", "rayservices", optional=True)

CHILDREN = (
    POD,
    SECRET,
    CONFIG_MAP,
    Kind("v1", "Service", "services"),
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind("apps/v1", "Deployment", "deployments"),
    Kind("batch/v1", "Job", "jobs"),
    Kind("batch/v1", "CronJob", "cronjobs"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    RAY_SERVICE,
    Kind("ray.io/v1", "RayJob", "rayjobs", optional=True),
    Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", optional=True),
    Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors", optional=True),
)

_BY_NAME = {(k.api_version, k.kind): k for k in (*OURS, *CHILDREN, EVENT, LEASE)}


class UnknownKind(Exception):
    """A plan names a kind that the operator has no permission for."""


def kind_of(api_version: str, kind: str) -> Kind:
    """Raises UnknownKind."""
    try:
        return _BY_NAME[api_version, kind]
    except KeyError:
        raise UnknownKind(
            f"{api_version} {kind} is not in lookalike_operator/kinds.py: add it there and to the "
            "operator's role"
        ) from None
