"""What keeps the operator from working on a Retriever until somebody changes something."""

from __future__ import annotations

from lookalike_crds.image_collection import Engine
from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_operator.plan import network_policy, pod_policy, ray_cluster, ray_service
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.claims import edge_collections
from lookalike_operator.plan.model import CollectionFacts, RetrieverSnapshot
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.serving_config import qdrant_urls


def obstacle(snapshot: RetrieverSnapshot, owner: Owner) -> Cause | None:
    """The first obstacle, or None. Children stay as they are while there is one."""
    spec = snapshot.spec
    if spec is None or snapshot.problems:
        return Cause("InvalidSpec", "; ".join(snapshot.problems) or "the spec cannot be read")
    for invalid in snapshot.invalid_collections:
        return Cause(
            "CollectionInvalid",
            f"the spec of ImageCollection {invalid.name} cannot be carried out: correct it "
            f"({'; '.join(invalid.problems)})",
        )
    if (forbidden := pod_policy.of_retriever(owner, spec, snapshot.settings)) is not None:
        return forbidden
    found = {each.meta.name for each in snapshot.collections}
    missing = [each.name for each in spec.collections if each.name not in found]
    if missing:
        return Cause(
            "CollectionNotFound",
            f"there is no ImageCollection {', '.join(missing)} in namespace {owner.namespace}: "
            "create it, or remove it from spec.collections",
        )
    for each in snapshot.collections:
        on_server = each.spec.index.engine is Engine.QDRANT
        if on_server and not qdrant_urls(each.meta, each.spec, snapshot.settings):
            return Cause(
                "NoQdrantAddress",
                f"ImageCollection {each.meta.name} names no Qdrant server: write its "
                "spec.index.qdrant.url, urls or serviceRef",
            )
    edge = edge_collections(snapshot.collections)
    if edge and (cause := _one_writer(snapshot, spec, edge)) is not None:
        return cause
    if spec.serving.runtime is Runtime.KUBE_RAY and ray_service.API not in snapshot.apis:
        return Cause(
            "KubeRayMissing",
            "spec.serving.runtime is KubeRay, and the cluster has no kind RayService "
            "(ray.io/v1): install the KubeRay operator, or write runtime: Standalone",
        )
    if spec.serving.runtime is Runtime.KUBE_RAY:
        return _open_ray(snapshot, spec)
    return None


def _open_ray(snapshot: RetrieverSnapshot, spec: RetrieverSpec) -> Cause | None:
    """Anyone who can connect to a Ray cluster without a token can run code in it."""
    if ray_service.wants_token(spec) and ray_cluster.TOKEN_AUTHENTICATION not in snapshot.apis:
        return Cause(
            "KubeRayTooOld",
            "the installed KubeRay does not know authOptions, so Ray would run any code for "
            "anyone who can connect to it: upgrade KubeRay and its CRDs to 1.5.1 or later, or "
            "accept that with spec.serving.rayCluster: {authOptions: {mode: disabled}}",
        )
    if network_policy.is_wanted(spec, snapshot.settings) and (
        snapshot.settings.kuberay_namespace is None
    ):
        return Cause(
            "KubeRayNamespaceUnknown",
            "the NetworkPolicy of a Ray cluster has to admit KubeRay's operator, whose "
            "namespace is not configured: set the chart value kuberay.namespace (or "
            "kuberay.networkPolicy: false for no policy)",
        )
    return None


def _one_writer(
    snapshot: RetrieverSnapshot, spec: RetrieverSpec, edge: tuple[CollectionFacts, ...]
) -> Cause | None:
    """Only one process at a time can open an Edge index."""
    names = {each.meta.name for each in edge}
    for rival in snapshot.rivals:
        shared = sorted(names & {c.name for c in rival.spec.collections})
        if shared and not rival.meta.deleting and rival.meta.age < snapshot.meta.age:
            return Cause(
                "IndexInUse",
                f"Retriever {rival.meta.name} serves the Edge index of {', '.join(shared)}, "
                "which only one Retriever at a time can do: add what this one needs to that "
                "one, or use engine Qdrant",
            )
    at = "spec.serving.replicas"
    wanted = spec.serving.replicas
    if spec.autoscaling is not None:
        at, wanted = "spec.autoscaling.maxReplicas", spec.autoscaling.max_replicas
    if wanted > 1:
        return Cause(
            "EdgeSingleReplica",
            f"{at} is {wanted}, and {', '.join(sorted(names))} has engine Edge, whose index only "
            "one pod at a time can open: write 1, or use engine Qdrant",
        )
    return None
