"""What keeps the operator from working on a collection until somebody changes something."""

from __future__ import annotations

from lookalike_crds.image_collection import Engine, IngestionRuntime
from lookalike_operator.plan import ingestion_ray_job, places, pod_policy, ray_cluster
from lookalike_operator.plan.addresses import address_problem
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.model import CollectionSnapshot
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.serving_config import qdrant_urls


def obstacle(snapshot: CollectionSnapshot, owner: Owner) -> Cause | None:
    """The first obstacle, or None. Children stay as they are while there is one."""
    spec = snapshot.spec
    if spec is None or snapshot.problems:
        return Cause("InvalidSpec", "; ".join(snapshot.problems) or "the spec cannot be read")
    if problems := places.path_problems(spec):
        return Cause("InvalidSpec", "; ".join(problems))
    if (forbidden := pod_policy.of_collection(owner, spec, snapshot.settings)) is not None:
        return forbidden
    on_server = spec.index.engine is Engine.QDRANT
    if on_server and not qdrant_urls(snapshot.meta, spec, snapshot.settings):
        return Cause(
            "NoQdrantAddress",
            "spec.index.qdrant: names no server: write url, urls or serviceRef, or engine: Edge",
        )
    if spec.ingestion.runtime is IngestionRuntime.RAY and (cause := _no_ray(snapshot)) is not None:
        return cause
    return address_problem(snapshot.meta, spec, snapshot.settings)


def _no_ray(snapshot: CollectionSnapshot) -> Cause | None:
    """Why the cluster cannot run a RayJob."""
    if ingestion_ray_job.API not in snapshot.apis:
        return Cause(
            "KubeRayMissing",
            "spec.ingestion.runtime is Ray, and the cluster has no kind RayJob (ray.io/v1): "
            "install the KubeRay operator, or write runtime: Job",
        )
    if ray_cluster.TOKEN_AUTHENTICATION not in snapshot.apis:
        return Cause(
            "KubeRayTooOld",
            "the installed KubeRay does not know authOptions, so Ray would run any code for "
            "anyone who can connect to it: upgrade KubeRay and its CRDs to 1.5.1 or later, or "
            "write spec.ingestion.runtime: Job",
        )
    return None
