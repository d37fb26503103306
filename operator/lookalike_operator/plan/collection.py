"""What an ImageCollection needs: storage for its vectors, the runs that fill it, and its status.

    a Retriever is to answer from it  <-  index  <-  ingestion run  <-  sources, model

Only a process that has loaded the model knows the dimensions of its vectors, so serving and
ingestion create the index on a Qdrant server. Planning observes it, corrects it, points the alias
at it and, in the end, deletes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lookalike_crds.image_collection import (
    DeletionPolicy,
    Engine,
    ImageCollectionSpec,
    ImageCollectionStatus,
    IngestionRuntime,
    PreviousModel,
    RunStatus,
)
from lookalike_crds.naming import described
from lookalike_crds.ownership import is_anothers
from lookalike_crds.switching import Held
from lookalike_operator.plan import (
    claims,
    collection_conditions,
    config_map,
    conflicts,
    cron_job,
    duplicate_scans,
    indexes,
    model_change,
)
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.collection_conditions import Situation
from lookalike_operator.plan.collection_deletion import plan_deletion
from lookalike_operator.plan.collection_obstacles import obstacle
from lookalike_operator.plan.conditions import merged, transitions
from lookalike_operator.plan.ingestion_pod import file_of, ingestion_config
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    Event,
    IndexAction,
    IndexOp,
    Manifest,
    ObjectRef,
    Plan,
    ref_of,
)
from lookalike_operator.plan.model_change import Carried, gate_status
from lookalike_operator.plan.names import FINALIZER, PAUSED, Owner, index_claim, index_owner
from lookalike_operator.plan.progress import SHOWN_SECONDS, progress_of
from lookalike_operator.plan.runs import (
    Outcome,
    Run,
    gateway_of,
    lacks_pods,
    outcome_of,
    own_jobs,
    scheduled_jobs,
    source_statuses,
    wanted_run,
)
from lookalike_operator.plan.scheduled_ray_job import Scheduled, scheduled_ray_jobs
from lookalike_operator.plan.waiting import why_not_started

_UNREACHABLE_SECONDS = 30.0
_WITHOUT_PODS_SECONDS = 15.0
_AT_REST_SECONDS = 300.0
"""How often a Qdrant server is checked: it does not report that a collection was deleted."""


def plan_collection(snapshot: CollectionSnapshot) -> Plan:
    """Pure: equal snapshots give equal plans."""
    owner = Owner("ImageCollection", snapshot.meta)
    if snapshot.meta.deleting:
        return plan_deletion(snapshot, owner)
    if snapshot.meta.annotations.get(PAUSED) == "true":
        return _told(snapshot, replace(_nothing(snapshot), paused=True), Plan(hands_off=True))
    if snapshot.spec is not None:
        asked = indexes.effective(snapshot.meta, snapshot.spec, snapshot.status)
        snapshot = replace(snapshot, spec=asked)
    spec = snapshot.spec
    in_the_way = obstacle(snapshot, owner)
    if spec is None or in_the_way is not None:
        situation = replace(_nothing(snapshot), obstacle=in_the_way)
        return _told(snapshot, situation, Plan(hands_off=True))
    work = _Work.of(snapshot, spec, owner)
    if others := conflicts.taken(owner, work.objects, snapshot.children, snapshot.foreign):
        situation = replace(_nothing(snapshot), obstacle=conflicts.name_taken(others))
        return _told(snapshot, situation, conflicts.only_these(others, snapshot.children))
    plan = _with_finalizer(snapshot, spec, work.plan())
    return _told(snapshot, work.situation(), plan)


@dataclass(frozen=True, slots=True)
class _Work:
    """A collection without obstacles."""

    snapshot: CollectionSnapshot
    spec: ImageCollectionSpec
    owner: Owner
    claim: claims.Claim | None
    objects: tuple[Manifest, ...]
    carry: Carried | None
    """What the wanted run carries documents over from."""
    run: Run | None
    """None: there are no sources, and nothing is carried over."""
    outcome: Outcome | None
    """Of the wanted run's live Job."""
    waiting: Cause | None
    """Why the wanted run has not been started."""
    scheduled: Scheduled
    """RayJobs of schedules; CronJobs are among the objects."""

    @classmethod
    def of(cls, snapshot: CollectionSnapshot, spec: ImageCollectionSpec, owner: Owner) -> _Work:
        claim = None
        if spec.index.engine is Engine.EDGE:
            claim = claims.index(owner, spec, live_claim(snapshot))
        carry = model_change.carried(snapshot, spec)
        run = None
        if spec.sources or carry is not None:
            run = wanted_run(snapshot, spec, owner, carries=carry is not None)
        outcome = None
        waiting = None
        if run is not None and run.recorded is None:
            if run.live is not None:
                outcome = outcome_of(run.live, snapshot.pods)
            else:
                waiting = why_not_started(snapshot, spec, live_claim(snapshot))
                if waiting is None and carry is not None:
                    waiting = model_change.why_not_carried_yet(snapshot, carry)
        objects = _objects(snapshot, spec, owner, claim, carry)
        scheduled = _scheduled_on_ray(snapshot, spec, owner)
        return cls(snapshot, spec, owner, claim, objects, carry, run, outcome, waiting, scheduled)

    def plan(self) -> Plan:
        once, keep = self._jobs()
        return Plan(
            objects=self.objects,
            once=(*once, *self.scheduled.once),
            keep=(*keep, *self.scheduled.keep),
            index_ops=self._index_ops(),
            events=self._events(),
            requeue_after=self._requeue_after(),
        )

    def _jobs(self) -> tuple[tuple[Manifest, ...], tuple[ObjectRef, ...]]:
        """(Jobs to create, Jobs to keep). Those of other runs are deleted."""
        if self.run is None:
            return (), ()
        if self.run.live is not None:
            return (), (ref_of(self.run.live),)
        if self.run.recorded is not None:
            same_run = [
                ref_of(job)
                for job in own_jobs(self.snapshot, self.owner)
                if job["metadata"]["name"] == self.run.recorded.job
            ]
            return (), tuple(same_run)
        return (() if self.waiting else (self.run.job,)), ()

    def _index_ops(self) -> tuple[IndexOp, ...]:
        facts = self.snapshot.index
        if facts is None or facts.error is not None or not facts.exists or self._is_taken():
            return ()
        ops = [
            IndexOp(IndexAction.ENSURE_PAYLOAD_INDEX, facts.name, (f.name, f.type.value.lower()))
            for f in self.spec.fields
            if facts.payload_indexes.get(f.name) != f.type.value.lower()
        ]
        owner = index_owner(self.snapshot.meta, self.snapshot.settings.cluster_id)
        if (
            facts.alias_target != facts.name
            and facts.name == self.active()[0]
            and not is_anothers(facts.alias_owner, owner)
        ):
            alias = indexes.alias_of(self.snapshot.meta)
            ops.append(IndexOp(IndexAction.POINT_ALIAS, facts.name, (alias,)))
        return (*ops, *model_change.removal(self.snapshot, self.spec))

    def active(self) -> tuple[str, str, str]:
        """(index, model in words, model whole) that answers queries from now on."""
        meta, spec, status = self.snapshot.meta, self.spec, self.snapshot.status
        name, model = indexes.active(meta, spec, status)
        wanted = indexes.index_of(self.snapshot, spec)
        may = self.run is None or (self._filled() and self.held() is None)
        if name != wanted and (may or self._is_taken()):
            name, model = wanted, spec.made_by
        return name, described(model), indexes.stored(model)

    def held(self) -> Held | None:
        """Why the index that the wanted run has filled does not answer."""
        name = indexes.active(self.snapshot.meta, self.spec, self.snapshot.status)[0]
        if name == indexes.index_of(self.snapshot, self.spec) or not self._filled():
            return None
        return model_change.held(self.snapshot, self.spec, self.run_status())

    def _is_taken(self) -> bool:
        """The index that the status names is another collection's."""
        snapshot = self.snapshot
        return snapshot.index is not None and indexes.is_taken(
            snapshot.meta, snapshot.index, snapshot.settings.cluster_id
        )

    def _filled(self) -> bool:
        """The wanted run has been through."""
        record = self.run_status()
        return (
            record is not None
            and self.run is not None
            and record.id == self.run.id
            and record.state in ("Completed", "CompletedWithErrors")
        )

    def run_status(self) -> RunStatus | None:
        """What the status reports of runs."""
        if self.run is None:
            return None
        if self.run.recorded is not None:
            return self.run.recorded
        if self.waiting is not None:
            return self.snapshot.status.run
        outcome = self.outcome or Outcome("Running")
        progress = None
        if self.run.live is not None and outcome.state == "Running":
            snapshot, before = self.snapshot, self.snapshot.status.run
            same = before is not None and before.job == self.run.job_name
            progress = progress_of(
                self.run.live,
                snapshot.pods,
                snapshot.progress,
                before.progress if before is not None and same else None,
                snapshot.now,
            )
        return RunStatus(
            id=self.run.id,
            job=self.run.job_name,
            state=outcome.state,
            reason=None if outcome.failure is None else outcome.failure.reason,
            message=outcome.message,
            finished_at=outcome.finished_at,
            progress=progress,
            failures=outcome.failures,
            not_carried=outcome.not_carried,
            not_carried_documents=outcome.not_carried_documents,
            gate=gate_status(outcome.gate),
        )

    def _previous(self) -> PreviousModel | None:
        """What the status keeps of the former model."""
        is_level = self.carry is not None and self.carry.late and self._filled()
        name = self.active()[0]
        return model_change.previous_after(self.snapshot, self.spec, name, is_level=is_level)

    def _events(self) -> tuple[Event, ...]:
        ended = duplicate_scans.event(self.snapshot)
        events: list[Event] = [] if ended is None else [ended]
        before = self.snapshot.status.index_name
        name, model, _ = self.active()
        if self._is_taken():
            facts = self.snapshot.index
            assert facts is not None
            events.append(
                Event(
                    "Warning",
                    "IndexTaken",
                    f"index {facts.name} belongs to {facts.owner} and is left alone: this "
                    f"collection has its own index {name}, into which its sources are ingested; "
                    "upload again what was uploaded into the other index",
                )
            )
        elif before is not None and before != name:
            events.append(
                Event(
                    "Normal",
                    "ModelChanged",
                    f"queries are now answered by {model} from index {name}"
                    f"{model_change.passed(self.run_status())}; "
                    f"{model_change.kept(self.snapshot.meta, self._previous(), name)}",
                )
            )
        if model_change.expires(self.snapshot, self.spec):
            previous = self.snapshot.status.previous
            assert previous is not None
            events.append(
                Event(
                    "Normal",
                    "FormerIndexDeleted",
                    f"index {previous.index} of the former model was kept until "
                    f"{previous.until} and is deleted",
                )
            )
        if self.run is not None and self.run.refills and self._starts():
            events.append(
                Event("Warning", "IndexLost", f"index {name} is gone and is filled again")
            )
        replaced = collection_conditions.replaced_claim(self.snapshot, live_claim(self.snapshot))
        if replaced and self.spec.sources:
            again = f"{replaced}: its sources are ingested again, uploads are not"
            events.append(Event("Warning", "IndexLost", again))
        return tuple(events)

    def _starts(self) -> bool:
        run = self.run
        return run is not None and not (run.recorded or run.live or self.waiting)

    def _requeue_after(self) -> float | None:
        within = (self._changes_within(), self.scheduled.seconds)
        seconds = min((each for each in within if each is not None), default=None)
        if duplicate_scans.is_awaited(self.spec) and gateway_of(self.snapshot) is not None:
            awaited = duplicate_scans.AWAITED_SECONDS
            return awaited if seconds is None else min(awaited, seconds)
        return seconds

    def _changes_within(self) -> float | None:
        facts = self.snapshot.index
        if self.run is not None and self.run.live is not None and lacks_pods(self.run.live):
            return _WITHOUT_PODS_SECONDS
        if facts is not None and facts.error is not None:
            return _UNREACHABLE_SECONDS
        if self.run is not None and self.run.recorded is None and self.waiting is None:
            return SHOWN_SECONDS
        claim = live_claim(self.snapshot)
        if claim is not None and (seconds := claims.explained_in(claim, self.snapshot.now)):
            return seconds
        left = model_change.seconds_left(self.snapshot.status, self.snapshot.now)
        at_rest = None if facts is None else _AT_REST_SECONDS
        return min((each for each in (left, at_rest) if each is not None), default=None)

    def situation(self) -> Situation:
        snapshot, spec = self.snapshot, self.spec
        scheduled = [outcome_of(job, snapshot.pods) for job in scheduled_jobs(snapshot, self.owner)]
        finished = [o for o in (*scheduled, self.outcome) if o and o.state != "Running"]
        sources = source_statuses(spec, snapshot.status.sources, finished, snapshot.now)
        name, model, whole = self.active()
        status = snapshot.status.model_copy(
            update={
                "documents": self._documents(finished),
                "sources": sources,
                "failed": (
                    sum(source.failed for source in sources)
                    if any(source.last_run for source in sources)
                    else None
                ),
                "active_model": model,
                "active_model_spec": whole,
                "index_name": name,
                "index_volume": self._volume(),
                "previous": self._previous(),
                "run": self.run_status(),
                "last_duplicate_scan": duplicate_scans.reported(snapshot),
                "similarity": duplicate_scans.similarity(snapshot, spec),
                "search_settings": (
                    snapshot.report.search_settings or snapshot.status.search_settings
                ),
            }
        )
        return Situation(
            status=status,
            spec=spec,
            claim=live_claim(snapshot),
            refused=self.claim.refused if self.claim else None,
            run=status.run if self.run is None or self.waiting is None else None,
            run_pods=snapshot.pods,
            refused_pods=snapshot.refused_pods,
            waiting=self.waiting,
            refused_object=conflicts.refusal(snapshot.refused),
            scheduled=scheduled[-1] if scheduled else None,
            held=self.held(),
            is_late=self.carry is not None and self.carry.late,
        )

    def _volume(self) -> str | None:
        """The claim that an Edge index is in, from when something can have been written there."""
        if self.spec.index.engine is not Engine.EDGE:
            return None
        claim = live_claim(self.snapshot)
        if claim is None or (claim.get("status") or {}).get("phase") != "Bound":
            return self.snapshot.status.index_volume
        return str(claim["metadata"].get("uid"))

    def _documents(self, finished: list[Outcome]) -> int | None:
        facts = self.snapshot.index
        if facts is not None and facts.points is not None and facts.name == self.active()[0]:
            return facts.points
        if self._is_taken():
            return None
        counted = [o.documents for o in finished if o.documents is not None]
        if counted:
            return counted[-1]
        if collection_conditions.replaced_claim(self.snapshot, live_claim(self.snapshot)):
            return None
        return self.snapshot.status.documents


def _objects(
    snapshot: CollectionSnapshot,
    spec: ImageCollectionSpec,
    owner: Owner,
    claim: claims.Claim | None,
    carry: Carried | None,
) -> tuple[Manifest, ...]:
    objects = [] if claim is None else [claim.manifest]
    if not spec.sources and carry is None:
        return tuple(objects)
    gateway = gateway_of(snapshot)
    name = gateway.meta.name if gateway is not None else None
    meta, settings = snapshot.meta, snapshot.settings
    index = indexes.index_of(snapshot, spec)
    scheduled = [source for source in spec.sources if source.schedule is not None]
    over = None if carry is None or gateway is None else carry.over
    whole = ingestion_config(meta, spec, spec.sources, name, settings, index, over)
    configs = {file_of(None): whole}
    for source in scheduled:
        configs[file_of(source.name)] = ingestion_config(
            meta, spec, (source,), name, settings, index
        )
    objects.append(config_map.ingestion(owner, configs))
    edge = spec.index.engine is Engine.EDGE
    on_ray = spec.ingestion.runtime is IngestionRuntime.RAY
    if not on_ray and (not edge or name is not None):
        objects += [
            cron_job.source_cron_job(owner, spec, source, settings, gateway=name if edge else None)
            for source in scheduled
        ]
    return tuple(objects)


def _scheduled_on_ray(
    snapshot: CollectionSnapshot, spec: ImageCollectionSpec, owner: Owner
) -> Scheduled:
    """Nothing as long as no pod serves an Edge index, which runs write through."""
    if spec.index.engine is not Engine.EDGE:
        return scheduled_ray_jobs(snapshot, spec, owner, gateway=None)
    place = gateway_of(snapshot)
    if place is None:
        return Scheduled()
    return scheduled_ray_jobs(snapshot, spec, owner, gateway=place.meta.name)


def live_claim(snapshot: CollectionSnapshot) -> Manifest | None:
    """The claim of an Edge collection as it is."""
    return snapshot.child("PersistentVolumeClaim", index_claim(snapshot.meta.name))


def _with_finalizer(snapshot: CollectionSnapshot, spec: ImageCollectionSpec, plan: Plan) -> Plan:
    """Only where data outside of the cluster's garbage collection is to go, too."""
    wanted = spec.index.engine is Engine.QDRANT and spec.deletion_policy is DeletionPolicy.DELETE
    has = FINALIZER in snapshot.meta.finalizers
    return replace(plan, add_finalizer=wanted and not has, remove_finalizer=has and not wanted)


def _nothing(snapshot: CollectionSnapshot) -> Situation:
    """A collection that nothing is done about: its status stays as it was."""
    return Situation(
        status=snapshot.status,
        spec=snapshot.spec,
        claim=live_claim(snapshot),
        run=snapshot.status.run,
        run_pods=snapshot.pods,
    )


def _told(snapshot: CollectionSnapshot, situation: Situation, plan: Plan) -> Plan:
    """The plan with the status and the events that report it."""
    judged = collection_conditions.judge(snapshot, situation)
    status: ImageCollectionStatus = situation.status.model_copy(
        update={
            "observed_generation": snapshot.meta.generation,
            "conditions": merged(
                snapshot.status.conditions, judged, snapshot.meta.generation, snapshot.now
            ),
        }
    )
    events = (*plan.events, *transitions(snapshot.status.conditions, judged))
    return replace(
        plan,
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        events=events,
    )
