"""What keeps the operator from working on a collection until somebody changes something."""

from __future__ import annotations

from lookalike_crds.image_collection import Engine, ImageCollectionSpec
from lookalike_operator.plan import indexes, places
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.model import CollectionSnapshot, ObjectRef
from lookalike_operator.plan.names import (
    Owner,
    cron_job,
    index_claim,
    ingestion_config_map,
    name_problem,
    strangers,
)
from lookalike_operator.plan.serving_config import qdrant_url


def obstacle(snapshot: CollectionSnapshot, owner: Owner) -> Cause | None:
    """The first, or None. Children stay as they are while there is one."""
    spec = snapshot.spec
    if spec is None or snapshot.problems:
        return Cause("InvalidSpec", "; ".join(snapshot.problems) or "the spec cannot be read")
    if (problem := name_problem(owner)) is not None:
        return Cause("InvalidSpec", problem)
    if problems := places.path_problems(spec):
        return Cause("InvalidSpec", "; ".join(problems))
    if spec.index.engine is Engine.QDRANT and _address(snapshot, spec) is None:
        return Cause(
            "NoQdrantAddress",
            "spec.index.qdrant: names no server: write url or serviceRef, or engine: Edge",
        )
    if taken := _taken(snapshot, spec, owner):
        return name_taken(taken)
    return _would_lose_uploads(snapshot, spec)


def name_taken(taken: ObjectRef) -> Cause:
    return Cause(
        "NameTaken",
        f"{taken} exists and is not this resource's: delete it, annotate it "
        'lookalike.dev/adopt: "true" to hand it over, or choose another name',
    )


def _address(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> str | None:
    return qdrant_url(snapshot.meta, spec, snapshot.settings)


def _taken(
    snapshot: CollectionSnapshot, spec: ImageCollectionSpec, owner: Owner
) -> ObjectRef | None:
    namespace = owner.namespace
    wanted = [ObjectRef("v1", "ConfigMap", namespace, ingestion_config_map(owner.name))]
    if spec.index.engine is Engine.EDGE:
        wanted.append(ObjectRef("v1", "PersistentVolumeClaim", namespace, index_claim(owner.name)))
    wanted += [
        ObjectRef("batch/v1", "CronJob", namespace, cron_job(owner.name, source.name))
        for source in spec.sources
        if source.schedule is not None
    ]
    others = strangers(owner, snapshot.children, snapshot.foreign)
    return next((ref for ref in wanted if ref in others), None)


def _would_lose_uploads(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> Cause | None:
    """Another model over uploads alone: nothing could fill the new index."""
    if spec.sources or spec.index.engine is Engine.EDGE:
        return None
    name, model = indexes.active(snapshot.meta, spec, snapshot.status)
    facts = snapshot.index
    if name == indexes.wanted_index(snapshot.meta, spec) or facts is None or not facts.points:
        return None
    return Cause(
        "ModelChangeNeedsSources",
        f"the {facts.points} documents were embedded by {indexes.described(model)} and there is "
        f"no source to embed them from by {indexes.described(spec.model)}: set spec.model back, "
        "and upload into a second collection",
    )
