"""Moments in the life of a collection on a Qdrant server, each made from the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.operator.plan.known import PHOTOS, QDRANT, collection, ended, finished, pod, result

from lookalike_crds.image_collection import ImageCollectionStatus
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import CollectionSnapshot, IndexFacts, Manifest, Plan

SCHEDULED = {
    "sources": [
        {
            "name": "products",
            "volume": {"path": "a", "claimName": "photos"},
            "schedule": "0 3 * * *",
        }
    ]
}


def index_facts(name: str, **changes: Any) -> IndexFacts:
    return replace(
        IndexFacts(
            name, exists=True, points=10, alias_target=name, made_for={"distance": "Cosine"}
        ),
        **changes,
    )


def status_of(plan: Plan) -> ImageCollectionStatus:
    return ImageCollectionStatus.model_validate(plan.status)


def on_server(*parts: dict[str, Any], **changes: Any) -> CollectionSnapshot:
    """A collection on a Qdrant server that answers, with its index."""
    made = collection(QDRANT, *(parts or (PHOTOS,)), **changes)
    name = plan_collection(made).status["indexName"]
    return replace(made, index=changes.get("index", index_facts(name)))


def after(snapshot: CollectionSnapshot, plan: Plan, *pods: Manifest) -> CollectionSnapshot:
    """The next moment: the Job exists, and the status says what the plan said."""
    jobs = [{**job, "metadata": {**job["metadata"], "uid": "uid-of-job"}} for job in plan.once]
    return replace(
        snapshot, children=(*snapshot.children, *jobs), pods=pods, status=status_of(plan)
    )


def done(
    snapshot: CollectionSnapshot, message: str | None = None, type: str = "Complete"
) -> CollectionSnapshot:
    """The same with its Jobs finished."""
    jobs = [finished(c, type) if c["kind"] == "Job" else c for c in snapshot.children]
    pods = [
        pod(
            "ingest-0",
            owner=job,
            status=ended(message or result(), 0 if type == "Complete" else 2),
            annotations={"batch.kubernetes.io/job-completion-index": "0"},
        )
        for job in jobs
        if job["kind"] == "Job"
    ]
    return replace(snapshot, children=tuple(jobs), pods=tuple(pods))


def ingested(snapshot: CollectionSnapshot) -> CollectionSnapshot:
    """The run has been through, and its Job is still there."""
    snapshot = done(after(snapshot, plan_collection(snapshot)))
    return replace(snapshot, status=status_of(plan_collection(snapshot)))
