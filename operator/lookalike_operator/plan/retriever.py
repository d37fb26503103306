"""What a Retriever needs: the pods that answer, what they read, and what leads to them.

    config, secrets, claims -> pods (Deployment | RayService) -> Service -> Ingress | HTTPRoute

Builders make objects from the spec; live objects are read for their status, and where one must
not be changed (a claim's class) or must go before the next can come (an Edge index has one writer).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lookalike_crds.retriever import (
    AccessMode,
    RetrieverSpec,
    RetrieverStatus,
    Runtime,
    UpdateStrategy,
)
from lookalike_operator.plan import (
    claims,
    config_map,
    conflicts,
    http_route,
    ingress,
    network_policy,
    pod_disruption_budget,
    ray_service,
    retriever_conditions,
    rollout,
    secrets,
    service,
    service_monitor,
)
from lookalike_operator.plan.causes import Cause, is_being_created
from lookalike_operator.plan.conditions import merged, transitions
from lookalike_operator.plan.deployment import serving_deployment
from lookalike_operator.plan.model import (
    Event,
    Manifest,
    ObjectRef,
    Plan,
    RetrieverSnapshot,
    ref_of,
)
from lookalike_operator.plan.names import PAUSED, Component, Owner, data_claim
from lookalike_operator.plan.names import ray_service as ray_service_name
from lookalike_operator.plan.retriever_conditions import Situation
from lookalike_operator.plan.retriever_obstacles import obstacle
from lookalike_operator.plan.rollout import Rollout
from lookalike_operator.plan.scaling import INTERVAL_SECONDS, Scale, scale
from lookalike_operator.plan.serving_config import public_url, serving_config, short_url


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
    if others := conflicts.taken(owner, work.objects, snapshot.children, snapshot.foreign):
        situation = Situation(_as_it_is(snapshot), obstacle=conflicts.name_taken(others))
        return _told(snapshot, situation, conflicts.only_these(others, snapshot.children))
    plan = Plan(
        objects=work.objects,
        once=(secrets.internal_token(owner), *_api_keys(owner, snapshot.spec)),
        keep=_kept(snapshot),
        doubtful=work.waits_to_begin(),
        events=work.events(),
        recommendation=work.scale.recommendation,
        requeue_after=work.requeue_after(),
    )
    return _told(snapshot, work.situation(), plan)


@dataclass(frozen=True, slots=True)
class _Work:
    """A Retriever that can be worked on."""

    snapshot: RetrieverSnapshot
    spec: RetrieverSpec
    scale: Scale
    objects: tuple[Manifest, ...]
    rollout: Rollout
    lacking: tuple[Cause, ...]
    recreates: str | None

    @classmethod
    def of(cls, snapshot: RetrieverSnapshot, spec: RetrieverSpec, owner: Owner) -> _Work:
        before = _as_it_is(snapshot)
        scaled = scale(snapshot, spec, _live_replicas(snapshot), before.ready)
        pods = _Pods(snapshot, spec, owner, scaled)
        config = serving_config(snapshot.meta, spec, snapshot.collections, snapshot.settings)
        objects: list[Manifest] = []
        if spec.serving.runtime is Runtime.STANDALONE:
            # Ray's pods get theirs with the application.
            objects.append(config_map.serving(owner, config))
        lacking: list[Cause] = []
        data = claims.data(owner, spec, snapshot.collections, _live_data(snapshot))
        if data is not None:
            objects.append(data.manifest)
            if data.refused is not None:
                lacking.append(Cause("ClaimImmutable", data.refused))
        objects += pods.objects()
        found, missing = _access(snapshot, spec, owner)
        now = pods.rollout()
        return cls(
            snapshot,
            spec,
            scaled,
            (*objects, *found),
            now,
            (*lacking, *missing),
            pods.why_recreated(),
        )

    def events(self) -> tuple[Event, ...]:
        before = self.snapshot.status.desired_replicas
        if self.spec.autoscaling is None or before in (None, self.scale.desired):
            return ()
        return (Event("Normal", "Scaled", self.scale.reason or f"{self.scale.desired} replicas"),)

    def requeue_after(self) -> float | None:
        scales = self.spec.autoscaling is not None and not self.spec.suspend
        return INTERVAL_SECONDS if scales or self.waits_to_begin() else None

    def waits_to_begin(self) -> bool:
        """A pod has its node and no container yet: it may miss a Secret of ours."""
        return any(map(is_being_created, self.snapshot.pods))

    def situation(self) -> Situation:
        return Situation(
            rollout=self.rollout,
            scale=self.scale,
            recreates=self.recreates,
            lacking=self.lacking,
            suspended=self.spec.suspend,
            refused=conflicts.refusal(self.snapshot.refused),
        )


@dataclass(frozen=True, slots=True)
class _Pods:
    """The one object that makes serving pods, and the Service before them, for either runtime."""

    snapshot: RetrieverSnapshot
    spec: RetrieverSpec
    owner: Owner
    scale: Scale

    def objects(self) -> list[Manifest]:
        if self.spec.serving.runtime is Runtime.STANDALONE:
            return [
                self._deployment(),
                service.serving_service(self.owner),
                pod_disruption_budget.serving_budget(self.owner),
            ]
        selector = {"ray.io/serve": "true"}
        if (cluster := rollout.active_cluster(self._live())) is not None:
            # The cluster that answers: during an upgrade there are two.
            selector["ray.io/cluster"] = cluster
        found = [service.serving_service(self.owner, selector)]
        return found if self._must_go_first() else [self._ray_service(), *found]

    def rollout(self) -> Rollout:
        if self.spec.serving.runtime is Runtime.STANDALONE:
            return rollout.standalone(self._live(), self._deployment(), self.snapshot.pods)
        if self._must_go_first():
            left = sum(rollout.is_ray_pod(pod) for pod in self.snapshot.pods)
            message = f"the old Ray cluster ends first: {left} pods are left"
            return replace(rollout.NOTHING, replicas=left, message=message)
        return rollout.kuberay(
            self._live(),
            self._ray_service(),
            self.snapshot.pods,
            desired=self.scale.desired,
            was_available=_was_available(self.snapshot),
        )

    def why_recreated(self) -> str | None:
        collections = self.snapshot.collections
        if claims.edge_collections(collections):
            return "old pods end before new ones start: an Edge index has one writer"
        if claims.data_mode(self.spec, collections) is AccessMode.READ_WRITE_ONCE:
            return "old pods end before new ones start: serving.storage is ReadWriteOnce"
        if self.spec.serving.update_strategy is UpdateStrategy.RECREATE:
            return "old pods end before new ones start: updateStrategy is Recreate"
        return None

    def _must_go_first(self) -> bool:
        """KubeRay: there is to be no RayService now, so that the next finds its place free."""
        if self.spec.suspend:
            return True
        live = self._live()
        if live is None:
            # KubeRay's pods outlive their RayService by a little.
            return self.why_recreated() is not None and any(
                rollout.is_ray_pod(pod) for pod in self.snapshot.pods
            )
        if live["metadata"].get("deletionTimestamp"):
            return True
        wanted = rollout.digest_of_pods(self._ray_service())
        return self.why_recreated() is not None and rollout.digest_of_pods(live) != wanted

    def _live(self) -> Manifest | None:
        if self.spec.serving.runtime is Runtime.STANDALONE:
            return _child(self.snapshot, "Deployment", self.owner.name)
        return _child(self.snapshot, "RayService", ray_service_name(self.owner.name))

    def _deployment(self) -> Manifest:
        snapshot = self.snapshot
        return serving_deployment(
            self.owner,
            self.spec,
            snapshot.collections,
            serving_config(snapshot.meta, self.spec, snapshot.collections, snapshot.settings),
            snapshot.settings,
            replicas=self.scale.desired,
            one_at_a_time=self.why_recreated() is not None,
        )

    def _ray_service(self) -> Manifest:
        snapshot = self.snapshot
        return ray_service.serving_ray_service(
            self.owner,
            self.spec,
            snapshot.collections,
            serving_config(snapshot.meta, self.spec, snapshot.collections, snapshot.settings),
            snapshot.settings,
            replicas=self.scale.desired,
            idle=self.scale.idle,
        )


def _access(
    snapshot: RetrieverSnapshot, spec: RetrieverSpec, owner: Owner
) -> tuple[list[Manifest], list[Cause]]:
    """What leads to the Service, and what of it the cluster cannot make."""
    objects: list[Manifest] = []
    lacking: list[Cause] = []
    access = spec.access
    if access.ingress is not None:
        objects.append(ingress.serving_ingress(owner, access.ingress))
    if access.http_route is not None:
        if http_route.API in snapshot.apis:
            objects.append(http_route.serving_route(owner, access.http_route))
        else:
            lacking.append(
                Cause(
                    "GatewayApiMissing",
                    "spec.access.httpRoute needs the Gateway API (gateway.networking.k8s.io/v1), "
                    "which the cluster does not have: install it, or use access.ingress",
                )
            )
    if network_policy.is_wanted(spec, snapshot.settings):
        objects.append(network_policy.serving_policy(owner, spec, snapshot.settings))
    if service_monitor.API in snapshot.apis:
        objects.append(service_monitor.serving_monitor(owner, spec))
    return objects, lacking


def _kept(snapshot: RetrieverSnapshot) -> tuple[ObjectRef, ...]:
    """What was uploaded stays where nothing asks for its volume any more."""
    live = _live_data(snapshot)
    return () if live is None else (ref_of(live),)


def _live_data(snapshot: RetrieverSnapshot) -> Manifest | None:
    return _child(snapshot, "PersistentVolumeClaim", data_claim(snapshot.meta.name))


def _api_keys(owner: Owner, spec: RetrieverSpec) -> tuple[Manifest, ...]:
    """Keys are made where nobody named any: an endpoint on a network is never open."""
    return () if spec.access.api_keys_secret_ref else (secrets.api_keys(owner),)


def _blocked(snapshot: RetrieverSnapshot, cause: Cause | None) -> Plan:
    situation = Situation(_as_it_is(snapshot), obstacle=cause)
    return _told(snapshot, situation, Plan(hands_off=True))


def _as_it_is(snapshot: RetrieverSnapshot) -> Rollout:
    """Whatever serves now, by what lives alone."""
    deployment = _child(snapshot, "Deployment", snapshot.meta.name)
    if deployment is not None:
        return rollout.standalone(deployment, None, snapshot.pods)
    live = _child(snapshot, "RayService", ray_service_name(snapshot.meta.name))
    return rollout.kuberay(
        live, None, snapshot.pods, desired=0, was_available=_was_available(snapshot)
    )


def _was_available(snapshot: RetrieverSnapshot) -> bool:
    return any(c.type == "Available" and c.status == "True" for c in snapshot.status.conditions)


def _live_replicas(snapshot: RetrieverSnapshot) -> int | None:
    deployment = _child(snapshot, "Deployment", snapshot.meta.name)
    return None if deployment is None else int(deployment["spec"].get("replicas", 1))


def _child(snapshot: RetrieverSnapshot, kind: str, name: str) -> Manifest | None:
    for child in snapshot.children:
        if child["kind"] == kind and child["metadata"]["name"] == name:
            return child
    return None


def _url(snapshot: RetrieverSnapshot) -> str:
    meta, spec = snapshot.meta, snapshot.spec
    outside = public_url(spec.access) if spec is not None else None
    return outside or short_url(meta.name, meta.namespace)


def _told(snapshot: RetrieverSnapshot, situation: Situation, plan: Plan) -> Plan:
    """The plan with the status and the events that tell of it."""
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
    )
    return replace(
        plan,
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        events=(*plan.events, *transitions(old.conditions, judged)),
    )
