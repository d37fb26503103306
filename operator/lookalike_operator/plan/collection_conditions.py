"""The conditions of an ImageCollection, from Ready to Stalled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lookalike_crds.failures import INDEX_MISMATCH, Part, by_reason
from lookalike_crds.image_collection import (
    Engine,
    ImageCollectionSpec,
    ImageCollectionStatus,
    RunStatus,
)
from lookalike_crds.lost import what_was_lost
from lookalike_crds.naming import described
from lookalike_crds.qdrant_versions import OLDEST, SINCE, lacking, parsed, too_old, written
from lookalike_crds.switching import Held
from lookalike_operator.plan import indexes
from lookalike_operator.plan.causes import DOWNLOADING, Cause, claim_cause, refused_pod, worst
from lookalike_operator.plan.conditions import Judged, judged
from lookalike_operator.plan.ingestion_ray_job import KIND as RAY_JOB_KIND
from lookalike_operator.plan.model import CollectionSnapshot, Manifest
from lookalike_operator.plan.names import PAUSED, RUN_NOW
from lookalike_operator.plan.progress import told, workers_of
from lookalike_operator.plan.runs import Outcome, gateway_of, latest
from lookalike_operator.plan.waiting import missing_secrets
from lookalike_operator.plan.who_acts import waits_for_a_person

_MOST_FIELDS = 5
"""Fields that a condition names."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the conditions are derived from."""

    status: ImageCollectionStatus
    """As it will be, without the conditions."""
    spec: ImageCollectionSpec | None
    claim: Manifest | None
    run: RunStatus | None
    """The wanted run; None if it waits, or nothing is to be ingested."""
    run_pods: tuple[Manifest, ...] = ()
    refused_pods: Mapping[str, str] = field(default_factory=dict)
    waiting: Cause | None = None
    refused: str | None = None
    """What the spec asks of a claim that it cannot become."""
    refused_object: Cause | None = None
    """What the API server refuses."""
    scheduled: Outcome | None = None
    """Of the last scheduled run."""
    held: Held | None = None
    """Why the index of a changed model is filled and does not answer."""
    is_late: bool = False
    """The wanted run takes what was stored during a change of the model."""
    obstacle: Cause | None = None
    paused: bool = False


def judge(snapshot: CollectionSnapshot, situation: Situation) -> tuple[Judged, ...]:
    """All conditions, in the order they are shown."""
    spec = situation.spec
    degraded = _degraded(snapshot, situation)
    if spec is None:
        assert situation.obstacle is not None
        reason, message = situation.obstacle.reason, situation.obstacle.message
        parts: tuple[Judged, ...] = ()
        stalled = _stalled(snapshot, situation, parts)
        ready = judged("Ready", False, reason, message)
    else:
        parts = (
            _model(snapshot, situation, spec),
            _index(snapshot, situation, spec),
            _ingested(snapshot, situation, spec),
        )
        stalled = _stalled(snapshot, situation, parts)
        ready = _ready(snapshot, situation, spec, (stalled, *parts))
    paused = (
        (
            judged(
                "Paused", True, "Annotated", f"annotation {PAUSED} is true: remove it to continue"
            ),
        )
        if situation.paused
        else ()
    )
    return (ready, *parts, degraded, stalled, *paused)


def _stalled(
    snapshot: CollectionSnapshot, situation: Situation, parts: tuple[Judged, ...]
) -> Judged:
    """What a person has to act on, whether or not the index answers in the meantime."""
    trouble = None if snapshot.trouble is None else Cause(*snapshot.trouble)
    for cause in (situation.obstacle, situation.refused_object, trouble):
        if cause is not None and cause.stuck:
            return judged("Stalled", True, cause.reason, cause.message)
    if situation.run is not None and situation.run.state == "Failed":
        return judged("Stalled", True, _failed_for(situation.run), _failure(situation.run))
    for part in parts:
        if part.status == "False" and waits_for_a_person(part.reason):
            return judged("Stalled", True, part.reason, part.message)
    return judged("Stalled", False, "AsExpected", "nobody has to act")


def _failed_for(run: RunStatus) -> str:
    reason = by_reason(run.reason).reason
    assert reason is not None, "a row without a reason is found by none"
    return reason


def _failure(run: RunStatus) -> str:
    return (
        f"{run.message or 'the ingestion Job failed'} (Job {run.job}). Correct the cause; to "
        f"start another run, change the spec or give the annotation {RUN_NOW} a new value"
    )


def _ready(
    snapshot: CollectionSnapshot,
    situation: Situation,
    spec: ImageCollectionSpec,
    others: tuple[Judged, ...],
) -> Judged:
    stalled, *parts = others
    if stalled.holds:
        return judged("Ready", False, stalled.reason, stalled.message)
    # The index first: without it nothing else can be.
    model, index, ingested = parts
    for part in (index, model, ingested):
        if part.status == "False":
            return judged("Ready", False, part.reason, part.message)
    if index.status != "True":
        return judged("Ready", None, index.reason, index.message)
    documents = situation.status.documents
    counted = "" if documents is None else f"{documents} documents, "
    return judged("Ready", True, "Ready", f"{counted}model {described(spec.made_by)}")


def _model(snapshot: CollectionSnapshot, situation: Situation, spec: ImageCollectionSpec) -> Judged:
    name = described(spec.made_by)
    run = situation.run
    if situation.held is not None:
        return judged("ModelReady", False, situation.held.reason, situation.held.message)
    if (why := snapshot.report.not_switched) is not None:
        told = f"the serving pod keeps answering by the former model, and goes on trying: {why}"
        return judged("ModelReady", False, "NotSwitched", told)
    if run is not None and run.state == "Failed":
        kind = by_reason(run.reason)
        if kind.part is Part.MODEL:
            return judged("ModelReady", False, _failed_for(run), run.message or kind.means)
    if run is not None and run.progress is not None and run.progress.downloading is not None:
        told = f"{name}: {run.progress.downloading} of its weights have arrived"
        return judged("ModelReady", False, DOWNLOADING, told)
    if run is not None and run.state in ("Completed", "CompletedWithErrors"):
        return judged("ModelReady", True, "Loaded", f"{name} has embedded images")
    for retriever in snapshot.retrievers:
        if retriever.downloading is not None:
            told = f"{name}: {retriever.downloading} (Retriever {retriever.meta.name})"
            return judged("ModelReady", False, DOWNLOADING, told)
    wanted = indexes.index_of(snapshot, spec)
    serving = [r for r in snapshot.retrievers if r.available]
    if serving and situation.status.index_name == wanted:
        return judged("ModelReady", True, "Loaded", f"Retriever {serving[0].meta.name} serves it")
    return judged("ModelReady", None, "NotTried", f"{name} has not been loaded yet")


def _index(snapshot: CollectionSnapshot, situation: Situation, spec: ImageCollectionSpec) -> Judged:
    if spec.index.engine is Engine.EDGE:
        return _edge_index(snapshot, situation)
    facts = snapshot.index
    if facts is None:
        return judged("IndexReady", None, "NotAsked", "the Qdrant server has not been asked yet")
    if facts.error is not None:
        return judged("IndexReady", False, facts.reason, facts.error)
    version = parsed(facts.version)
    if too_old(version):
        return judged(
            "IndexReady",
            False,
            "QdrantTooOld",
            f"the Qdrant server has version {facts.version}, and the oldest supported version is "
            f"{written(OLDEST)}: upgrade it",
        )
    if not facts.exists and (lost := _lost(snapshot, situation, spec)) is not None:
        return judged("IndexReady", False, lost.reason, lost.message)
    if not facts.exists:
        return judged(
            "IndexReady",
            False,
            "IndexNotMade",
            f"index {facts.name} does not exist yet: the first ingestion run or Retriever that "
            "loads the model creates it",
        )
    distance = facts.made_for.get("distance")
    if distance is not None and distance != spec.vector.distance.value:
        return judged(
            "IndexReady",
            False,
            INDEX_MISMATCH.condition_reason,
            f"index {facts.name} was created for distance {distance}, and spec.vector.distance "
            f"is {spec.vector.distance.value}: write {distance}, or delete the index on the "
            "server",
        )
    missing = sorted(
        f.name for f in spec.fields if facts.payload_indexes.get(f.name) != f.type.value.lower()
    )
    if missing:
        what = (
            f"index {facts.name} exists; payload indexes of {', '.join(missing)} are being "
            "corrected"
        )
        return judged("IndexReady", True, "Mending", what)
    answers = f"index {facts.name} answers"
    if facts.away:
        answers += f", but not at {', '.join(facts.away)}: check those nodes"
    if lacks := lacking(version):
        newest = written(max(SINCE[name] for name in lacks))
        answers += (
            f"; Qdrant {facts.version} lacks the filters {' and '.join(lacks)}, which are refused: "
            f"upgrade it to {newest}"
        )
    return _measured(situation, judged("IndexReady", True, "IndexExists", answers))


def _measured(situation: Situation, found: Judged) -> Judged:
    """How well an index is searched is told with the condition that it is there."""
    settings = situation.status.search_settings
    if settings is None:
        return found
    message = f"{found.message}; {settings.in_words}"
    if settings.recall < settings.recall_target:
        return judged("IndexReady", True, "RecallBelowTarget", message)
    return replace(found, message=message)


def _lost(
    snapshot: CollectionSnapshot, situation: Situation, spec: ImageCollectionSpec
) -> Cause | None:
    """Documents that were uploaded and are gone: with sources a run would fill the index again.

    It is reported until there are documents again, or somebody changes the spec.
    """
    if spec.sources:
        return None
    if spec.index.engine is Engine.EDGE:
        told = replaced_claim(snapshot, situation.claim)
        told = told and (
            f"{told}: restore the volume from a snapshot, or upload again; a change of the spec "
            "acknowledges the loss"
        )
    else:
        facts = snapshot.index
        if facts is None or facts.error is not None or facts.points:
            return None
        told = what_was_lost(facts.name, snapshot.status.documents, 0, exists=facts.exists)
    if told is not None:
        return Cause("IndexLost", told)
    for each in snapshot.status.conditions:
        same = each.observed_generation == snapshot.meta.generation
        if each.type == "Degraded" and each.reason == "IndexLost" and same:
            return Cause("IndexLost", each.message)
    return None


def replaced_claim(snapshot: CollectionSnapshot, claim: Manifest | None) -> str | None:
    """What to tell where an Edge index is in another claim than it was: a new one is empty."""
    before = snapshot.status.index_volume
    if claim is None or before in (None, claim["metadata"].get("uid")):
        return None
    held = snapshot.status.documents
    what = f"{held} documents" if held else "what was uploaded"
    name = claim["metadata"]["name"]
    return f"PersistentVolumeClaim {name} was replaced by an empty one, and {what} went with it"


def _edge_index(snapshot: CollectionSnapshot, situation: Situation) -> Judged:
    if situation.claim is None:
        return judged("IndexReady", False, "Creating", "its PersistentVolumeClaim is being created")
    name = situation.claim["metadata"]["name"]
    cause = claim_cause(situation.claim, snapshot.unprovisioned.get(name))
    if cause is None:
        bound = judged("IndexReady", True, "ClaimBound", f"PersistentVolumeClaim {name} is bound")
        return _measured(situation, bound)
    message = cause.message
    if not cause.stuck and not snapshot.retrievers:
        message += (
            "; with late binding, it gets one when the pod of a Retriever uses it: "
            "create a Retriever"
        )
    gateway = gateway_of(snapshot)
    if not cause.stuck and gateway is not None and gateway.trouble is not None:
        # With late binding, a pod that no node takes is why its claim has no volume.
        reason, said = gateway.trouble
        told = f"{message}, which waits for Retriever {gateway.meta.name}: {said}"
        return judged("IndexReady", False, reason, told)
    return judged("IndexReady", False, cause.reason, message)


def _ingested(
    snapshot: CollectionSnapshot, situation: Situation, spec: ImageCollectionSpec
) -> Judged:
    if not spec.sources and (situation.run is None or situation.is_late):
        return judged(
            "Ingested", True, "NoSources", "the spec has no sources: documents are only uploaded"
        )
    if situation.is_late and (situation.waiting is not None or _is_under_way(situation.run)):
        # Everything that was there before the change answers.
        cause = situation.waiting
        told = "documents that were stored during the change of the model are carried over"
        return judged("Ingested", True, "Settling", told if cause is None else cause.message)
    if situation.waiting is not None:
        return judged("Ingested", False, situation.waiting.reason, situation.waiting.message)
    run = situation.run
    if run is None:
        return judged("Ingested", False, "NotStarted", "no run has started yet")
    match run.state:
        case "Running":
            cause = worst(latest(situation.run_pods))
            refused = situation.refused_pods.get(run.job or "")
            if cause is None and refused is not None:
                cause = refused_pod(refused)
            if cause is not None and cause.stuck:
                return judged("Ingested", False, cause.reason, f"{cause.message} (Job {run.job})")
            if _is_suspended(_job_of(snapshot, run)):
                return judged(
                    "Ingested",
                    False,
                    "JobSuspended",
                    f"Job {run.job} is suspended by a queue such as Kueue, or by somebody: it "
                    "continues when its spec.suspend is false and its spec.parallelism is not 0",
                )
            return judged("Ingested", False, "Ingesting", _under_way(snapshot, run))
        case "Failed":
            return judged("Ingested", False, _failed_for(run), _failure(run))
        case _:
            total = sum(source.ingested for source in situation.status.sources)
            count = f"{len(spec.sources)} sources" if len(spec.sources) > 1 else "1 source"
            told = f"{total} images from {count} are indexed"
            if not spec.sources:
                told = "every document is embedded by the model"
            # What its errors were is reported by `Degraded`; this is what to know of a good run.
            if run.state == "Completed" and run.message:
                told += f"; {run.message}"
            return judged("Ingested", True, run.state, told)


def _is_under_way(run: RunStatus | None) -> bool:
    return run is not None and run.state == "Running"


def _job_of(snapshot: CollectionSnapshot, run: RunStatus) -> Manifest | None:
    jobs = (child for child in snapshot.children if child["kind"] in ("Job", RAY_JOB_KIND))
    return next((job for job in jobs if job["metadata"]["name"] == run.job), None)


def _is_suspended(job: Manifest | None) -> bool:
    spec = (job or {}).get("spec") or {}
    return bool(spec.get("suspend")) or spec.get("parallelism") == 0


def _under_way(snapshot: CollectionSnapshot, run: RunStatus) -> str:
    """How far a run is. Nothing in it changes more often than the progress in the status does."""
    job = _job_of(snapshot, run)
    said = f"{'Job' if job is None else job['kind']} {run.job} is in progress"
    workers = 1 if job is None else workers_of(job)
    if job is not None and workers > 1:
        through = int((job.get("status") or {}).get("succeeded") or 0)
        said += f"; {through} of {workers} workers have finished"
    if run.progress is None:
        return said + "; no worker has reported its progress yet: see its log"
    return f"{said}; {told(run.progress, workers)}"


def _degraded(snapshot: CollectionSnapshot, situation: Situation) -> Judged:
    """It works, but not completely as requested."""
    if snapshot.missing_secrets:
        cause = missing_secrets(snapshot.missing_secrets)
        return judged("Degraded", True, cause.reason, cause.message)
    if snapshot.trouble is not None:
        return judged("Degraded", True, *snapshot.trouble)
    if (
        situation.spec is not None
        and (lost := _lost(snapshot, situation, situation.spec)) is not None
    ):
        return judged("Degraded", True, lost.reason, lost.message)
    if situation.refused is not None:
        return judged("Degraded", True, "ClaimImmutable", situation.refused)
    last = situation.scheduled
    if last is not None and last.state == "Failed":
        message = f"the last scheduled run failed: {last.message or 'its pods left no message'}"
        return judged("Degraded", True, "ScheduledRunFailed", message)
    failed = situation.status.failed or 0
    if failed:
        run = situation.run
        detail = f": {run.message}" if run is not None and run.message else ""
        return judged(
            "Degraded",
            True,
            "ImagesFailed",
            f"{failed} images could not be ingested{detail}. The log of the Job names each of them",
        )
    run = situation.run
    if run is not None and run.state == "CompletedWithErrors":
        return judged("Degraded", True, "RunHadErrors", run.message or "the last run had errors")
    if snapshot.index is not None and snapshot.index.retyped:
        told = "; ".join(snapshot.index.retyped[:_MOST_FIELDS])
        again = f" (an ingestion is started by the annotation {RUN_NOW})" if run is not None else ""
        return judged("Degraded", True, "FieldTypeChanged", told + again)
    return judged("Degraded", False, "AsExpected", "nothing is wrong")
