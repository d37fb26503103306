"""Everything that a Retriever's spec asks for, rendered once; everything else reads it from here.

    spec, collections, scale -> Rendering -> objects to apply, rollout, conditions

A live object is read if it must not be changed (the class of a claim), or if it must end before the
next can start (an Edge index has one writer).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lookalike_crds.retriever import AccessMode, RetrieverSpec, Runtime, UpdateStrategy
from lookalike_operator.plan import (
    claims,
    config_map,
    http_route,
    ingress,
    network_policy,
    pod_disruption_budget,
    ray_service,
    rollout,
    secrets,
    service,
    service_monitor,
)
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.deployment import serving_deployment
from lookalike_operator.plan.model import CollectionFacts, Manifest, RetrieverSnapshot
from lookalike_operator.plan.names import Owner, data_claim
from lookalike_operator.plan.names import ray_service as ray_service_name
from lookalike_operator.plan.rollout import Rollout
from lookalike_operator.plan.scaling import Scale
from lookalike_operator.plan.serving_config import serving_config


@dataclass(frozen=True, slots=True)
class Rendering:
    """The objects of one Retriever, for either runtime."""

    pods: Manifest
    """The one object that creates serving pods: a Deployment or a RayService."""
    live: Manifest | None
    """The same as it is."""
    waits: bool
    """KubeRay: there is to be no RayService now, so that the next finds its place free."""
    before: tuple[Manifest, ...]
    """What pods read, applied before them."""
    after: tuple[Manifest, ...]
    """What leads to them."""
    once: tuple[Manifest, ...]
    recreates: str | None
    """Why old pods end before new ones start; None if they need not."""
    lacking: tuple[Cause, ...]
    """What was asked for and cannot be provided."""

    @classmethod
    def of(
        cls, snapshot: RetrieverSnapshot, spec: RetrieverSpec, owner: Owner, scale: Scale
    ) -> Rendering:
        """Pure and byte-stable."""
        collections, settings = snapshot.collections, snapshot.settings
        config = serving_config(snapshot.meta, spec, collections, settings)
        recreates = _why_recreated(spec, collections)
        before: list[Manifest] = []
        after: list[Manifest] = []
        lacking: list[Cause] = []
        if spec.serving.runtime is Runtime.STANDALONE:
            live = snapshot.child("Deployment", owner.name)
            waits = False
            pods = serving_deployment(
                owner,
                spec,
                collections,
                config,
                settings,
                replicas=scale.desired,
                one_at_a_time=recreates is not None,
            )
            before.append(config_map.serving(owner, config))
            after += [
                service.serving_service(owner),
                pod_disruption_budget.serving_budget(owner),
            ]
        else:
            # Ray's pods get their config with the application.
            live = snapshot.child("RayService", ray_service_name(owner.name))
            pods = ray_service.serving_ray_service(
                owner,
                spec,
                collections,
                config,
                settings,
                replicas=scale.desired,
                idle=scale.idle,
            )
            waits = _must_go_first(snapshot, spec, live, pods, recreates)
            selector = {"ray.io/serve": "true"}
            if (cluster := rollout.active_cluster(live)) is not None:
                # The cluster that answers: during an upgrade there are two.
                selector["ray.io/cluster"] = cluster
            after.append(service.serving_service(owner, selector))
        live_data = snapshot.child("PersistentVolumeClaim", data_claim(owner.name))
        data = claims.data(owner, spec, collections, live_data)
        if data is not None:
            before.append(data.manifest)
            if data.refused is not None:
                lacking.append(Cause("ClaimImmutable", data.refused))
        access, missing = _access(snapshot, spec, owner)
        # Keys are created if none are named: an endpoint on a network is never open.
        keys = () if spec.access.api_keys_secret_ref else (secrets.api_keys(owner),)
        return cls(
            pods=pods,
            live=live,
            waits=waits,
            before=tuple(before),
            after=(*after, *access),
            once=(secrets.internal_token(owner), *keys),
            recreates=recreates,
            lacking=(*lacking, *missing),
        )

    @property
    def objects(self) -> tuple[Manifest, ...]:
        """In the order in which they are applied."""
        return (*self.before, *(() if self.waits else (self.pods,)), *self.after)

    def rollout(self, snapshot: RetrieverSnapshot, desired: int, was_available: bool) -> Rollout:
        """How far the live pods are from these."""
        if self.pods["kind"] == "Deployment":
            return rollout.standalone(self.live, self.pods, snapshot.pods)
        if self.waits:
            left = sum(map(rollout.is_ray_pod, snapshot.pods))
            message = f"the old Ray cluster ends first: {left} pods are left"
            return replace(rollout.NOTHING, replicas=left, message=message)
        return rollout.kuberay(
            self.live, self.pods, snapshot.pods, desired=desired, was_available=was_available
        )


def _why_recreated(spec: RetrieverSpec, collections: tuple[CollectionFacts, ...]) -> str | None:
    if claims.edge_collections(collections):
        return "old pods end before new ones start: an Edge index has one writer"
    if claims.data_mode(spec, collections) is AccessMode.READ_WRITE_ONCE:
        return "old pods end before new ones start: serving.storage is ReadWriteOnce"
    if spec.serving.update_strategy is UpdateStrategy.RECREATE:
        return "old pods end before new ones start: updateStrategy is Recreate"
    return None


def _must_go_first(
    snapshot: RetrieverSnapshot,
    spec: RetrieverSpec,
    live: Manifest | None,
    wanted: Manifest,
    recreates: str | None,
) -> bool:
    if spec.suspend:
        return True
    if live is None:
        # KubeRay's pods outlive their RayService by a little.
        return recreates is not None and any(map(rollout.is_ray_pod, snapshot.pods))
    if live["metadata"].get("deletionTimestamp"):
        return True
    same = rollout.digest_of_pods(live) == rollout.digest_of_pods(wanted)
    return recreates is not None and not same


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
