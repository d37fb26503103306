"""Ingestion runs: which one the spec asks for, whether it has been done, and how it went.

A run has an id, which is derived from what is ingested: the index, the sources, the last `run-now`
annotation, and how often the index had to be filled again because it was gone. The status remembers
the last run, so a Job may be deleted once its result is recorded there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from lookalike_crds.config_changes import what_is_read
from lookalike_crds.failures import NOTHING_INGESTED, STOPPED, UNKNOWN, FailureKind, by_reason
from lookalike_crds.image_collection import (
    Engine,
    FailureCount,
    ImageCollectionSpec,
    IngestionRuntime,
    RunStatus,
    SourceStatus,
)
from lookalike_crds.progress import (
    CARRIED,
    OTHERS,
    Counts,
    GateResult,
    RunResult,
    RunState,
    summed_up,
    total_of,
)
from lookalike_operator.plan.causes import job_cause, last_line, worst
from lookalike_operator.plan.conditions import parsed, timestamp
from lookalike_operator.plan.indexes import index_of
from lookalike_operator.plan.ingestion_job import ingestion_job_manifest
from lookalike_operator.plan.ingestion_ray_job import KIND as RAY_JOB_KIND
from lookalike_operator.plan.ingestion_ray_job import as_job, ingestion_ray_job_manifest
from lookalike_operator.plan.model import CollectionSnapshot, Manifest, RetrieverFacts
from lookalike_operator.plan.names import (
    RAY_JOB,
    RUN,
    RUN_NOW,
    Owner,
    index_claim,
    is_scheduled,
)
from lookalike_operator.plan.pod_template import digest_of

State = Literal["Running", "Completed", "CompletedWithErrors", "Failed"]

_LOST_AFTER = timedelta(seconds=60)
"""An index that is not there so soon after its run may be one that was looked for before it."""
_LONGEST_MESSAGE = 1000
_LONGEST_CODE, _MOST_CODES = 64, 64
_MOST_DOCUMENTS = 16
_PARTITION = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of a Job, from its own status and what its pods left."""

    state: State
    message: str | None = None
    failure: FailureKind | None = None
    """Of one that failed."""
    sources: Mapping[str, Counts] = field(default_factory=dict)
    documents: int | None = None
    finished_at: str | None = None
    failed_by: Mapping[str, int] = field(default_factory=dict)
    """Entries that failed, by the code of their cause."""
    not_carried: int | None = None
    """Documents of a former model's index that could not be embedded again; None: it carried
    none over."""
    not_carried_documents: tuple[str, ...] = ()
    """The ids of some of them."""
    gate: GateResult | None = None

    @property
    def failures(self) -> tuple[FailureCount, ...]:
        """The most frequent first."""
        ranked = sorted(self.failed_by.items(), key=lambda each: (-each[1], each[0]))
        return tuple(
            FailureCount(code=code[:_LONGEST_CODE], count=count)
            for code, count in ranked[:_MOST_CODES]
            if count > 0
        )


@dataclass(frozen=True, slots=True)
class Run:
    """The run that the spec asks for."""

    id: str
    job: Manifest
    """As it would be made now."""
    live: Manifest | None
    """The same Job, where it exists."""
    recorded: RunStatus | None
    """What the status says of this very run, once it has ended."""
    refills: bool
    """It fills again an index that was there and is gone."""

    @property
    def job_name(self) -> str:
        return str(self.job["metadata"]["name"])


def gateway_of(snapshot: CollectionSnapshot) -> RetrieverFacts | None:
    """The Retriever that holds an Edge index: the oldest that names the collection."""
    staying = [each for each in snapshot.retrievers if not each.meta.deleting]
    return min(staying, key=lambda each: each.meta.age, default=None)


def wanted_run(
    snapshot: CollectionSnapshot,
    spec: ImageCollectionSpec,
    owner: Owner,
    *,
    carries: bool = False,
) -> Run:
    """Pure: the same snapshot asks for the same run. `carries`: documents of another index, too."""
    base = _base(snapshot, spec)
    last = snapshot.status.run
    times = _times_refilled(base, last)
    lost = last is not None and times is not None and _is_lost(snapshot, last)
    count = (times or 0) + lost
    id = f"{base}-{count}" if count else base
    gateway = gateway_of(snapshot)
    on_ray = spec.ingestion.runtime is IngestionRuntime.RAY
    build = ingestion_ray_job_manifest if on_ray else ingestion_job_manifest
    job = build(
        owner,
        spec,
        snapshot.settings,
        run=id,
        gateway=(
            gateway.meta.name
            if gateway is not None and (carries or spec.index.engine is Engine.EDGE)
            else None
        ),
    )
    name = job["metadata"]["name"]
    live = next((j for j in own_jobs(snapshot, owner) if j["metadata"]["name"] == name), None)
    return Run(id, job, live, _ended(last, id, name), refills=count > 0)


def _base(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> str:
    what = [
        index_of(snapshot, spec),
        what_is_read(spec.sources, spec.fields, spec.duplicates),
        snapshot.meta.annotations.get(RUN_NOW),
        # Another claim of the same name is another, empty index.
        _claim_uid(snapshot, spec),
    ]
    if snapshot.status.previous is not None:
        # After a change of the model, one more run takes what was stored meanwhile.
        what.append(snapshot.status.previous.index)
    return digest_of(what, 12)


def _claim_uid(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> str | None:
    if spec.index.engine is not Engine.EDGE:
        return None
    name = index_claim(snapshot.meta.name)
    for child in snapshot.children:
        if child["kind"] == "PersistentVolumeClaim" and child["metadata"]["name"] == name:
            return str(child["metadata"].get("uid"))
    return None


def _times_refilled(base: str, last: RunStatus | None) -> int | None:
    """How often the run of this base was done again; None if the last was another."""
    if last is None:
        return None
    if last.id == base:
        return 0
    head, _, count = last.id.rpartition("-")
    return int(count) if head == base and count.isdecimal() else None


def _is_lost(snapshot: CollectionSnapshot, last: RunStatus) -> bool:
    facts = snapshot.index
    if facts is None or facts.error is not None or facts.exists:
        return False
    return last.state in ("Completed", "CompletedWithErrors") and _settled(snapshot.now, last)


def _settled(now: datetime, last: RunStatus) -> bool:
    finished = parsed(last.finished_at)
    return finished is None or now - finished >= _LOST_AFTER


def _ended(last: RunStatus | None, id: str, job: str) -> RunStatus | None:
    """The record of this run, if there is nothing left to do in it."""
    if last is None or last.id != id or last.state == "Running":
        return None
    # A failed run is tried again when its Job would be another: somebody has corrected something.
    return None if last.state == "Failed" and last.job != job else last


def own_jobs(snapshot: CollectionSnapshot, owner: Owner) -> list[Manifest]:
    """Jobs and RayJobs of runs over all sources."""
    return [job for job in _jobs(snapshot) if owner.owns(job) and not is_scheduled(run_label(job))]


def scheduled_jobs(snapshot: CollectionSnapshot, owner: Owner) -> list[Manifest]:
    """Jobs of the collection's CronJobs and scheduled RayJobs, oldest first."""
    jobs = [job for job in _jobs(snapshot) if is_scheduled(run_label(job)) or not owner.owns(job)]
    return sorted(jobs, key=lambda job: str(job["metadata"].get("creationTimestamp")))


def _jobs(snapshot: CollectionSnapshot) -> Iterator[Manifest]:
    for child in snapshot.children:
        if child["kind"] == "Job":
            yield child
        elif child["kind"] == RAY_JOB_KIND:
            yield as_job(child)


def run_label(job: Manifest) -> str:
    return str((job["metadata"].get("labels") or {}).get(RUN, ""))


def pods_of(job: Manifest, pods: Iterable[Manifest]) -> list[Manifest]:
    uid, name = job["metadata"].get("uid"), job["metadata"]["name"]
    if job["kind"] == RAY_JOB_KIND:
        labels = ((pod, pod["metadata"].get("labels") or {}) for pod in pods)
        return [pod for pod, each in labels if each.get(RAY_JOB) == name]
    return [
        pod
        for pod in pods
        if any(
            reference.get("kind") == "Job" and reference.get("name") == name
            and (uid is None or reference.get("uid") == uid)
            for reference in pod["metadata"].get("ownerReferences") or ()
        )
    ]  # fmt: skip


def latest(pods: Iterable[Manifest]) -> list[Manifest]:
    """Of each partition of each Job the youngest pod: what an earlier one died of is over."""
    youngest: dict[tuple[str, str], Manifest] = {}
    for pod in sorted(pods, key=_made):
        meta = pod["metadata"]
        owners = ",".join(str(each.get("uid")) for each in meta.get("ownerReferences") or ())
        index = (meta.get("annotations") or {}).get(_PARTITION, meta["name"])
        youngest[owners, str(index)] = pod
    return list(youngest.values())


def _made(pod: Manifest) -> tuple[str, str]:
    meta = pod["metadata"]
    return str(meta.get("creationTimestamp")), str(meta["name"])


def lacks_pods(job: Manifest) -> bool:
    """Begun, and nothing runs, has run or is over: the API server may take none of its pods.

    A Job tells of the pods that it has, not of those that it cannot have.
    """
    status = job.get("status") or {}
    counted = ("active", "succeeded", "failed", "terminating", "conditions")
    return bool(status.get("startTime")) and not any(status.get(each) for each in counted)


def outcome_of(job: Manifest, pods: Iterable[Manifest]) -> Outcome:
    """The state of a Job. Counts of partitions are added up."""
    own = pods_of(job, pods)
    results = _one_for_each_partition(own)
    failed_by: Counter[str] = Counter()
    for result in results:
        failed_by.update(result.failed_by)
    carried = [r.sources[CARRIED] for r in results if CARRIED in r.sources]
    named = [e.key for r in results for e in r.errors if e.source == CARRIED]
    return replace(
        _outcome_of(job, own),
        failed_by=dict(failed_by),
        not_carried=total_of(carried).failed if carried else None,
        not_carried_documents=tuple(named[:_MOST_DOCUMENTS]),
        gate=next((r.gate for r in results if r.gate is not None), None),
    )


def _outcome_of(job: Manifest, own: list[Manifest]) -> Outcome:
    results = [r for pod in own if (r := result_of(pod)) is not None]
    best = _one_for_each_partition(own)
    sources: dict[str, Counts] = {}
    for result in best:
        for name, counts in result.sources.items():
            sources[name] = total_of((sources[name], counts)) if name in sources else counts
    documents = max((r.documents for r in best if r.documents is not None), default=None)
    conditions = {
        c["type"]: c
        for c in (job.get("status") or {}).get("conditions") or ()
        if c.get("status") == "True"
    }
    gave_up = [r for r in best if r.state is RunState.FAILED]
    if "Complete" in conditions and gave_up and len(gave_up) == len(best):
        # A RayJob whose run is not to be tried again.
        failure, message = _why_failed(own, results)
        finished = conditions["Complete"].get("lastTransitionTime")
        return Outcome("Failed", _cut(message or ""), failure, sources, documents, finished)
    if "Complete" in conditions:
        total = total_of(sources.values())
        if total.failed and not total.usable:
            last = next((r.errors[-1] for r in reversed(best) if r.errors), None)
            return Outcome(
                "Failed",
                _cut(
                    f"none of {total.failed} images could be ingested"
                    + (f"; the last: {last.key}: {last.cause}" if last else "")
                ),
                NOTHING_INGESTED,
                sources,
                documents,
                conditions["Complete"].get("lastTransitionTime"),
            )
        with_errors = any(result.state is not RunState.COMPLETED for result in best)
        messages = [r.message for r in best if r.message]
        messages += [each.told() for each in summed_up(w for r in best for w in r.warnings)]
        return Outcome(
            "CompletedWithErrors" if with_errors else "Completed",
            _cut("; ".join(dict.fromkeys(messages))) if messages else None,
            None,
            sources,
            documents,
            conditions["Complete"].get("lastTransitionTime"),
        )
    if (cause := job_cause(job)) is not None:
        failure, message = _why_failed(own, results)
        return Outcome(
            "Failed",
            _cut(message or cause.message or cause.reason),
            failure,
            sources,
            documents,
            conditions["Failed"].get("lastTransitionTime"),
        )
    return Outcome("Running", sources=sources, documents=documents)


def _one_for_each_partition(pods: list[Manifest]) -> list[RunResult]:
    """The result of each completion index: that of the pod that succeeded, else the newest."""
    chosen: dict[str, tuple[tuple[bool, datetime], RunResult]] = {}
    for pod in pods:
        result = result_of(pod)
        if result is None:
            continue
        metadata = pod["metadata"]
        partition = str((metadata.get("annotations") or {}).get(_PARTITION, "0"))
        rank = ((pod.get("status") or {}).get("phase") == "Succeeded", result.finished_at)
        if partition not in chosen or rank > chosen[partition][0]:
            chosen[partition] = (rank, result)
    return [result for _, (_, result) in sorted(chosen.items())]


def _why_failed(pods: list[Manifest], results: list[RunResult]) -> tuple[FailureKind, str | None]:
    """The row of what ended the run, and its message.

    Pods report the row in their result, and Kubernetes reports it in the reason for which it ended
    a container. A message without a row is passed on, and nothing is concluded from its text.
    """
    failed = [r for r in results if r.state is RunState.FAILED and r.message]
    if failed:
        # The pods of a Job that fails are stopped, and say so after the one that it failed for.
        last = max(failed, key=lambda r: (by_reason(r.reason) is not STOPPED, r.finished_at))
        return by_reason(last.reason), last.message
    cause = worst(pods)
    failure = UNKNOWN if cause is None else by_reason(cause.reason)
    messages = [text for pod in pods for text in _termination_messages(pod)]
    said = [line for text in messages if (line := last_line(text))]
    if said and failure is UNKNOWN:
        return failure, said[-1]
    return failure, None if cause is None else str(cause)


def result_of(pod: Manifest) -> RunResult | None:
    for text in _termination_messages(pod):
        try:
            return RunResult.model_validate_json(text)
        except ValidationError:
            continue
    return None


def _termination_messages(pod: Manifest) -> list[str]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    found = [
        ((status.get(part) or {}).get("terminated") or {}).get("message")
        for status in statuses
        for part in ("state", "lastState")
    ]
    return [text for text in found if text]


def source_statuses(
    spec: ImageCollectionSpec,
    before: tuple[SourceStatus, ...],
    outcomes: Iterable[Outcome],
    now: datetime,
) -> tuple[SourceStatus, ...]:
    """Of each source of the spec: what its last finished run counted."""
    known = {status.name: status for status in before}
    for outcome in outcomes:
        at = outcome.finished_at or timestamp(now)
        for name, counts in outcome.sources.items():
            old = known.get(name)
            if name in (OTHERS, CARRIED) or (old is not None and _later(old.last_run, at)):
                continue
            known[name] = SourceStatus(
                name=name,
                last_run=at,
                listed=counts.listed,
                ingested=counts.new + counts.updated + counts.unchanged,
                failed=counts.failed,
                skipped=counts.skipped,
            )
    return tuple(known.get(s.name, SourceStatus(name=s.name)) for s in spec.sources)


def _later(one: str | None, other: str) -> bool:
    first, second = parsed(one), parsed(other)
    return first is not None and second is not None and first > second


def _cut(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
