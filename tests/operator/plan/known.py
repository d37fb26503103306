"""Snapshots in few words, and an API server in memory that takes over what a plan says."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lookalike_crds.image_collection import ImageCollectionSpec, ImageCollectionStatus
from lookalike_crds.progress import Counts, RunResult, RunState
from lookalike_crds.retriever import RetrieverSpec, RetrieverStatus
from lookalike_operator.plan.changes import changes
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.diff import in_words
from lookalike_operator.plan.model import (
    CollectionFacts,
    CollectionSnapshot,
    IndexAction,
    IndexFacts,
    Manifest,
    Meta,
    ObjectRef,
    Plan,
    RetrieverFacts,
    RetrieverSnapshot,
    Settings,
    ref_of,
)
from lookalike_operator.plan.names import FINALIZER, Owner
from lookalike_operator.plan.retriever import plan_retriever

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings(
    serving_image="registry.example/lookalike-serving:0.1.0",
    qdrant_addresses=("qdrant.example",),
    kuberay_namespace="kuberay-system",
)
NAMESPACE = "shop"
ALL_APIS = frozenset(
    {
        "ray.io/v1/RayService",
        "ray.io/v1/RayService:authOptions",
        "ray.io/v1/RayJob",
        "gateway.networking.k8s.io/v1/HTTPRoute",
        "monitoring.coreos.com/v1/ServiceMonitor",
    }
)

EDGE = {"index": {"engine": "Edge"}}
QDRANT = {"index": {"engine": "Qdrant", "qdrant": {"serviceRef": "qdrant"}}}
PHOTOS = {"sources": [{"name": "products", "volume": {"path": "images", "claimName": "photos"}}]}
VIT = {"model": {"provider": "OpenClip", "name": "ViT-B-32", "weights": "laion2b_s34b_b79k"}}
OTHER = {"model": {"provider": "OpenClip", "name": "ViT-L-14", "weights": "laion2b_s32b_b82k"}}


def meta(name: str, **changes: Any) -> Meta:
    made = Meta(NAMESPACE, name, f"uid-of-{name}", 1, created=NOW - timedelta(days=1))
    return replace(made, **changes)


def collection_spec(*parts: Mapping[str, Any]) -> ImageCollectionSpec:
    return ImageCollectionSpec.model_validate(_together(parts))


def retriever_spec(*parts: Mapping[str, Any], collections: tuple[str, ...] = ("catalogue",)) -> (
    RetrieverSpec
):  # fmt: skip
    named = {"collections": [{"name": name} for name in collections]}
    return RetrieverSpec.model_validate(_together((named, *parts)))


def _together(parts: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def collection(*parts: Mapping[str, Any], **changes: Any) -> CollectionSnapshot:
    spec = collection_spec(*(parts or (EDGE, PHOTOS)))
    return replace(CollectionSnapshot(NOW, SETTINGS, meta("catalogue"), spec), **changes)


def facts(*parts: Mapping[str, Any], name: str = "catalogue", **changes: Any) -> CollectionFacts:
    spec = collection_spec(*(parts or (EDGE, PHOTOS)))
    return replace(CollectionFacts(meta(name), spec, ImageCollectionStatus()), **changes)


def searching(name: str = "search", *, available: bool = True, **changes: Any) -> RetrieverFacts:
    return RetrieverFacts(meta(name, **changes), retriever_spec(), available)


def retriever(*parts: Mapping[str, Any], **changes: Any) -> RetrieverSnapshot:
    changes.setdefault("collections", (facts(),))
    names = tuple(c.meta.name for c in changes["collections"])
    spec = retriever_spec(*parts, collections=names)
    made = RetrieverSnapshot(NOW, SETTINGS, meta("search"), spec, apis=ALL_APIS)
    return replace(made, **changes)


def condition(plan: Plan, type: str) -> dict[str, Any]:
    found = [c for c in plan.status["conditions"] if c["type"] == type]
    assert found, f"no condition {type}: {plan.status['conditions']}"
    return dict(found[0])


def told(plan: Plan, type: str) -> tuple[str, str]:
    """(status, reason) of a condition."""
    found = condition(plan, type)
    return found["status"], found["reason"]


def said_of_changes(
    snapshot: CollectionSnapshot | RetrieverSnapshot, plan: Plan
) -> tuple[str, ...]:
    """What the plan changes, in words."""
    of_collection = isinstance(snapshot, CollectionSnapshot)
    owner = Owner("ImageCollection" if of_collection else "Retriever", snapshot.meta)
    return in_words(plan, changes(owner, snapshot, plan))


def named(plan: Plan, kind: str) -> Manifest:
    """The plan's one object of a kind."""
    found = [o for o in (*plan.objects, *plan.once) if o["kind"] == kind]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def kinds(plan: Plan) -> list[str]:
    return [o["kind"] for o in plan.objects]


# -- live objects ----------------------------------------------------------------------------------


def pod(
    name: str = "pod",
    *,
    owner: Manifest | None = None,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", **metadata},
        "spec": {"containers": []},
        "status": dict(status or {}),
    }
    if owner is not None:
        reference = {"kind": owner["kind"], "name": owner["metadata"]["name"]}
        made["metadata"]["ownerReferences"] = [{**reference, "uid": owner["metadata"].get("uid")}]
    return made


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def ended(message: str, exit_code: int = 0, container: str = "ingestion") -> dict[str, Any]:
    """Status of a pod whose container has ended."""
    terminated = {"exitCode": exit_code, "message": message}
    return {
        "phase": "Failed" if exit_code else "Succeeded",
        "containerStatuses": [{"name": container, "state": {"terminated": terminated}}],
    }


def result(
    state: RunState = RunState.COMPLETED,
    message: str | None = None,
    reason: str | None = None,
    **counts: int,
) -> str:
    counted = {"listed": 10, "new": 10, **counts}
    made = RunResult(
        state=state,
        reason=reason,
        message=message,
        sources={"products": Counts(**counted)},
        documents=10,
        index_name="catalogue",
        finished_at=NOW,
    )
    return made.to_json().decode()


def finished(job: Manifest, type: str = "Complete", **more: str) -> dict[str, Any]:
    """The Job as its controller leaves it."""
    done = {"type": type, "status": "True", "lastTransitionTime": "2026-03-01T11:00:00Z", **more}
    return {**job, "status": {"conditions": [done]}}


# -- an API server ---------------------------------------------------------------------------------


@dataclass
class Server:
    """Live objects of one resource, changed by plans as the apply side changes real ones."""

    objects: dict[ObjectRef, dict[str, Any]] = field(default_factory=dict)
    indexes: set[str] = field(default_factory=set)
    writes: int = 0
    _uids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def take(self, plan: Plan, owner_uid: str) -> None:
        """Rules as in Plan: apply, create once, prune what is owned and not named."""
        for op in plan.index_ops:
            if op.action is IndexAction.DELETE:
                self.indexes.discard(op.index)
        if plan.hands_off:
            return
        for manifest in plan.objects:
            self._apply(manifest)
        for manifest in plan.once:
            if ref_of(manifest) not in self.objects:
                self._apply(manifest)
        kept = {ref_of(m) for m in (*plan.objects, *plan.once)} | set(plan.keep)
        for ref, live in list(self.objects.items()):
            owners = live["metadata"].get("ownerReferences") or ()
            if ref not in kept and any(o["uid"] == owner_uid for o in owners):
                del self.objects[ref]
                self.writes += 1

    def _apply(self, manifest: Manifest) -> None:
        ref = ref_of(manifest)
        before = self.objects.get(ref)
        after: dict[str, Any] = copy.deepcopy(dict(manifest))
        meta_ = after["metadata"]
        if before is None:
            meta_["uid"] = f"uid-{next(self._uids)}"
            meta_["creationTimestamp"] = "2026-03-01T10:00:00Z"
            meta_["generation"] = 1
        else:
            for key in ("uid", "creationTimestamp", "generation"):
                meta_[key] = before["metadata"][key]
            if "status" in before:
                after["status"] = before["status"]
        if after != before:
            self.writes += 1
            if before is not None and after.get("spec") != before.get("spec"):
                meta_["generation"] += 1
        self.objects[ref] = after

    def children(self) -> tuple[Manifest, ...]:
        """Secrets are not among them: the operator lists none."""
        return tuple(o for o in self.objects.values() if o["kind"] != "Secret")

    def settle(self) -> tuple[Manifest, ...]:
        """Controllers do their work: every pod is ready, every claim bound, every Job complete."""
        pods: list[Manifest] = []
        for live in self.objects.values():
            match live["kind"]:
                case "PersistentVolumeClaim":
                    live["status"] = {"phase": "Bound"}
                case "Deployment":
                    pods += self._settle_deployment(live)
                case "RayService":
                    pods += self._settle_ray_service(live)
                case "Job":
                    live.update(finished(live))
                    pods.append(pod(live["metadata"]["name"], owner=live, status=ended(result())))
        return tuple(pods)

    @staticmethod
    def _settle_deployment(live: dict[str, Any]) -> list[Manifest]:
        count = live["spec"]["replicas"]
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            **dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), count),
            "availableReplicas": count,
        }
        return [pod(f"serving-{i}", status=READY) for i in range(count)]

    @staticmethod
    def _settle_ray_service(live: dict[str, Any]) -> list[Manifest]:
        application = {
            "status": "RUNNING",
            "serveDeploymentStatuses": {"Retriever": {"status": "HEALTHY"}},
        }
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "conditions": [{"type": "Ready", "status": "True"}],
            "activeServiceStatus": {
                "rayClusterName": "search-raycluster-x",
                "applicationStatuses": {"lookalike": application},
            },
        }
        labels = {"ray.io/node-type": "worker", "ray.io/cluster": "search-raycluster-x"}
        return [pod(f"worker-{i}", status=READY, labels=labels) for i in range(8)]


def rounds(
    snapshot: CollectionSnapshot | RetrieverSnapshot, server: Server, count: int = 6
) -> list[Plan]:
    """Plan and apply again and again, controllers at work in between; every plan made."""
    plans: list[Plan] = []
    for _ in range(count):
        pods = server.settle()
        now: CollectionSnapshot | RetrieverSnapshot = replace(
            snapshot, children=server.children(), pods=pods
        )
        if isinstance(now, CollectionSnapshot):
            plan = plan_collection(_with_index(now, server))
            status: Any = ImageCollectionStatus.model_validate(plan.status)
        else:
            plan = plan_retriever(now)
            status = RetrieverStatus.model_validate(plan.status)
        plans.append(plan)
        server.take(plan, snapshot.meta.uid)
        finalizers = {*snapshot.meta.finalizers, *([FINALIZER] if plan.add_finalizer else [])}
        kept = () if plan.remove_finalizer else tuple(finalizers)
        snapshot = replace(
            now,
            status=status if plan.status else snapshot.status,
            meta=replace(snapshot.meta, finalizers=kept),
        )
    return plans


def _with_index(snapshot: CollectionSnapshot, server: Server) -> CollectionSnapshot:
    """A Qdrant server on which serving pods have made the index."""
    from lookalike_operator.plan.indexes import alias_of, observed_index

    name = observed_index(snapshot)
    if name is None or snapshot.spec is None:
        return snapshot
    server.indexes.add(name)
    kept = {f.name: f.type.value.lower() for f in snapshot.spec.fields}
    alias = name if alias_of(snapshot.meta) else None
    index = IndexFacts(
        name, exists=True, points=10, payload_indexes=kept, alias_target=alias,
        made_for={"distance": snapshot.spec.vector.distance.value},
    )  # fmt: skip
    return replace(snapshot, index=index)


CLAIM: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": "catalogue-index",
        "namespace": "shop",
        "uid": "claim-1",
        "ownerReferences": [{"uid": "uid-of-catalogue"}],
    },
    "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "standard"},
    "status": {"phase": "Bound"},
}
"""Of an Edge index, bound."""
