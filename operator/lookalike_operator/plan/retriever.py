"""What a Retriever needs: the pods that answer, what they read, and what leads to them.

    config, secrets, claims -> pods (Deployment | RayService) -> Service -> Ingress | HTTPRoute

The objects are rendered in plan/rendering.py; here they become a plan with its status.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lookalike_crds.retriever import RetrieverSpec, RetrieverStatus
from lookalike_operator.plan import conflicts, retriever_conditions, rollout
from lookalike_operator.plan.causes import Cause, is_being_created, is_starting
from lookalike_operator.plan.conditions import merged, transitions
from lookalike_operator.plan.model import (
    Event,
    ObjectRef,
    Plan,
    RetrieverSnapshot,
    ref_of,
)
from lookalike_operator.plan.names import PAUSED, Component, Owner, data_claim
from lookalike_operator.plan.names import ray_service as ray_service_name
from lookalike_operator.plan.progress import SHOWN_SECONDS
from lookalike_operator.plan.rendering import Rendering
from lookalike_operator.plan.retriever_conditions import Situation
from lookalike_operator.plan.retriever_obstacles import obstacle
from lookalike_operator.plan.rollout import Rollout
from lookalike_operator.plan.scaling import INTERVAL_SECONDS, Scale, scale
from lookalike_operator.plan.serving_config import public_url, short_url


def plan_retriever(snapshot: RetrieverSnapshot) -> Plan:
    """Pure: equal snapshots give equal plans."""
    owner = Owner("Retriever", snapshot.meta)
    if snapshot.meta.deleting:
        # Every child has an owner reference or is to stay: the garbage collector's business.
        return Plan(hands_off=True)
    if snapshot.meta.annotations.get(PAUSED) == "true":
        situation = Situation(_as_it_is(snapshot), paused=True)
        return _told(snapshot, situation, Plan(hands_off=True))
    in_the_way = obstacle(snapshot, owner)
    if snapshot.spec is None or in_the_way is not None:
        return _blocked(snapshot, in_the_way)
    work = _Work.of(snapshot, snapshot.spec, owner)
    objects = work.rendering.objects
    if others := conflicts.taken(owner, objects, snapshot.children, snapshot.foreign):
        situation = Situation(_as_it_is(snapshot), obstacle=conflicts.name_taken(others))
        return _told(snapshot, situation, conflicts.only_these(others, snapshot.children))
    plan = Plan(
        objects=objects,
        once=work.rendering.once,
        keep=_kept(snapshot),
        doubtful=work.waits_to_begin(),
        events=work.events(),
        recommendation=work.scale.recommendation,
        requeue_after=work.requeue_after(),
    )
    return _told(snapshot, work.situation(), plan)


@dataclass(frozen=True, slots=True)
class _Work:
    """A Retriever without obstacles."""

    snapshot: RetrieverSnapshot
    spec: RetrieverSpec
    scale: Scale
    rendering: Rendering

    @classmethod
    def of(cls, snapshot: RetrieverSnapshot, spec: RetrieverSpec, owner: Owner) -> _Work:
        ready = _as_it_is(snapshot).ready
        scaled = scale(snapshot, spec, _live_replicas(snapshot), ready)
        return cls(snapshot, spec, scaled, Rendering.of(snapshot, spec, owner, scaled))

    def events(self) -> tuple[Event, ...]:
        before = self.snapshot.status.desired_replicas
        if self.spec.autoscaling is None or before in (None, self.scale.desired):
            return ()
        return (Event("Normal", "Scaled", self.scale.reason or f"{self.scale.desired} replicas"),)

    def requeue_after(self) -> float | None:
        scales = self.spec.autoscaling is not None and not self.spec.suspend
        if scales or self.waits_to_begin():
            return INTERVAL_SECONDS
        # It may fetch weights, of which no event tells.
        return SHOWN_SECONDS if any(map(is_starting, self.snapshot.pods)) else None

    def waits_to_begin(self) -> bool:
        """A pod has its node and no container yet: it may miss a Secret of ours."""
        return any(map(is_being_created, self.snapshot.pods))

    def situation(self) -> Situation:
        return Situation(
            rollout=self.rendering.rollout(
                self.snapshot, self.scale.desired, _was_available(self.snapshot)
            ),
            scale=self.scale,
            recreates=self.rendering.recreates,
            lacking=self.rendering.lacking,
            suspended=self.spec.suspend,
            refused=conflicts.refusal(self.snapshot.refused),
        )


def _kept(snapshot: RetrieverSnapshot) -> tuple[ObjectRef, ...]:
    """What was uploaded stays where nothing asks for its volume any more."""
    live = snapshot.child("PersistentVolumeClaim", data_claim(snapshot.meta.name))
    return () if live is None else (ref_of(live),)


def _blocked(snapshot: RetrieverSnapshot, cause: Cause | None) -> Plan:
    situation = Situation(_as_it_is(snapshot), obstacle=cause)
    return _told(snapshot, situation, Plan(hands_off=True))


def _as_it_is(snapshot: RetrieverSnapshot) -> Rollout:
    """Whatever serves now, by what lives alone."""
    deployment = snapshot.child("Deployment", snapshot.meta.name)
    if deployment is not None:
        return rollout.standalone(deployment, None, snapshot.pods)
    live = snapshot.child("RayService", ray_service_name(snapshot.meta.name))
    return rollout.kuberay(
        live, None, snapshot.pods, desired=0, was_available=_was_available(snapshot)
    )


def _was_available(snapshot: RetrieverSnapshot) -> bool:
    return any(c.type == "Available" and c.status == "True" for c in snapshot.status.conditions)


def _live_replicas(snapshot: RetrieverSnapshot) -> int | None:
    deployment = snapshot.child("Deployment", snapshot.meta.name)
    return None if deployment is None else int(deployment["spec"].get("replicas", 1))


def _url(snapshot: RetrieverSnapshot) -> str:
    meta, spec = snapshot.meta, snapshot.spec
    outside = public_url(spec.access) if spec is not None else None
    return outside or short_url(meta.name, meta.namespace)


def _told(snapshot: RetrieverSnapshot, situation: Situation, plan: Plan) -> Plan:
    """The plan with the status and the events that report it."""
    owner, old, scaled = Owner("Retriever", snapshot.meta), snapshot.status, situation.scale
    judged = retriever_conditions.judge(snapshot, replace(situation, url=_url(snapshot)))
    desired = old.desired_replicas if scaled is None else scaled.desired
    selector = owner.selector(Component.SERVING)
    status = RetrieverStatus(
        observed_generation=snapshot.meta.generation,
        conditions=merged(old.conditions, judged, snapshot.meta.generation, snapshot.now),
        url=_url(snapshot),
        replicas=situation.rollout.replicas,
        selector=",".join(f"{key}={value}" for key, value in sorted(selector.items())),
        desired_replicas=desired,
        # Its numbers move with every sample: only a change is worth a write.
        last_scale_reason=(
            scaled.reason
            if scaled is not None and desired != old.desired_replicas and scaled.reason
            else old.last_scale_reason
        ),
        calibration=old.calibration if snapshot.report is None else snapshot.report.calibration,
    )
    return replace(
        plan,
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        events=(*plan.events, *transitions(old.conditions, judged)),
    )
