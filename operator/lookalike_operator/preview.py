"""What applying resources would change, computed without changing anything.

The API server checks each resource in a dry run, with schema, rules and defaults. The observing and
planning of the operator then computes what would follow from it, and the API server says whether it
would accept those objects.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lookalike_crds.progress import WorkerProgress
from lookalike_crds.retriever import RetrieverSpec
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import CHILDREN, OURS
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.qdrant import Qdrant
from lookalike_operator.observe.ray_schema import RaySchema
from lookalike_operator.observe.said import Explanations
from lookalike_operator.observe.secrets import Secrets
from lookalike_operator.observe.snapshots import Observer
from lookalike_operator.observe.store import Store
from lookalike_operator.plan import conflicts
from lookalike_operator.plan.changes import changes
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.diff import in_words
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    Key,
    Manifest,
    Meta,
    Plan,
    RetrieverFacts,
    RetrieverSnapshot,
    Sample,
    Settings,
    ref_of,
)
from lookalike_operator.plan.names import MANAGED_BY, OPERATOR, Owner
from lookalike_operator.plan.retriever import plan_retriever

_BLOCKING = ("Stalled",)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of one resource."""

    key: Key
    new: bool
    changes: tuple[str, ...] = ()
    """One line for each object, with what it costs."""
    refused: str | None = None
    """Why the API server would refuse the resource itself."""
    stalled: str | None = None
    """Why the operator would accept the resource and make no progress."""


async def preview(
    cluster: Cluster, namespace: str, resources: Iterable[Manifest], settings: Settings
) -> list[Preview]:
    """For each resource, in order, as if all of them were applied. Raises ApiError."""
    store = Store()
    served = await _fill(cluster, namespace, store)
    wanted: list[tuple[Key, bool, Manifest | None, str | None]] = []
    for each in resources:
        manifest = {**each, "metadata": {**each["metadata"]}}
        manifest["metadata"].setdefault("namespace", namespace)
        key = Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        live = store.resource(key)
        try:
            after = await _dry_run(cluster, manifest, live)
        except ApiError as error:
            if error.status not in (400, 403, 409, 422):
                raise
            wanted.append((key, live is None, None, error.message))
            continue
        store.put(_newer(after))
        wanted.append((key, live is None, after, None))
    qdrant = Qdrant()
    explanations = Explanations(cluster)
    observer = Observer(
        store=store,
        memory=Memory(),
        settings=replace(settings, cluster_id=cluster.identity),
        secrets=Secrets(cluster),
        progress=_no_progress,
        report=_no_report,
        retriever_report=_no_retriever_report,
        refused_pods=explanations.refused_pods,
        unprovisioned=explanations.unprovisioned,
        qdrant=qdrant,
        samples=_no_samples,
        apis=lambda: served,
        ray_features=RaySchema(cluster).features,
    )
    try:
        return [await _preview(cluster, observer, *each) for each in wanted]
    finally:
        await qdrant.close()


async def _preview(
    cluster: Cluster,
    observer: Observer,
    key: Key,
    new: bool,
    after: Manifest | None,
    refused: str | None,
) -> Preview:
    if after is None:
        return Preview(key, new, refused=refused)
    live = observer.store.resource(key)
    assert live is not None
    snapshot: CollectionSnapshot | RetrieverSnapshot
    if key.kind == "ImageCollection":
        snapshot = await observer.collection(key, live)
        plan = plan_collection(snapshot)
    else:
        snapshot = await observer.retriever(key, live)
        plan = plan_retriever(snapshot)
    what = in_words(plan, changes(Owner(key.kind, snapshot.meta), snapshot, plan))
    stalled = _stalled(plan.status) or await _refused(cluster, plan)
    return Preview(key, new, what, stalled=stalled)


async def _refused(cluster: Cluster, plan: Plan) -> str | None:
    """What the API server would say of the first object that it does not take."""
    if plan.hands_off:
        return None
    for manifest in (*plan.objects, *plan.once):
        if manifest["kind"] == "Secret":
            continue
        try:
            await cluster.apply(manifest, force=True, dry_run=True)
        except ApiError as error:
            # Who asks may have fewer rights than the operator: that says nothing of the object.
            if error.refused and error.status != 403:
                return str(conflicts.refusal(((ref_of(manifest), error.message),)))
    return None


async def _fill(cluster: Cluster, namespace: str, store: Store) -> frozenset[str]:
    """Everything of ours in the namespace; the optional APIs that the cluster serves."""
    served: set[str] = set()
    for kind in (*OURS, *CHILDREN):
        if not kind.watched:
            continue
        labels = None if kind in OURS else f"{MANAGED_BY}={OPERATOR}"
        try:
            listed = await cluster.list(kind, namespace, labels=labels)
        except ApiError as error:
            if error.status == 404 and (kind.optional or kind in OURS):
                continue
            raise
        if kind.optional:
            served.add(kind.api)
        for each in listed.items:
            store.put(each)
    return frozenset(served)


async def _dry_run(cluster: Cluster, manifest: Manifest, live: Manifest | None) -> Manifest:
    """The resource as the API server would store it."""
    if live is None:
        return await cluster.create(manifest, dry_run=True)
    # As a whole: what the file no longer says is to go, whoever wrote it.
    changed = copy.deepcopy(dict(live))
    changed["spec"] = manifest.get("spec") or {}
    meta = changed["metadata"]
    for part in ("labels", "annotations"):
        if manifest["metadata"].get(part):
            meta[part] = {**(meta.get(part) or {}), **manifest["metadata"][part]}
    return await cluster.replace(changed, dry_run=True)


def _newer(after: Manifest) -> dict[str, Any]:
    """A dry run leaves the version as it was; the store wants to see that this is news."""
    meta: Mapping[str, Any] = after["metadata"]
    version = int(meta.get("resourceVersion") or 0) + 1
    return {**after, "metadata": {**meta, "resourceVersion": str(version)}}


async def _no_retriever_report(retriever: Meta) -> None:
    """As `_no_report`."""


async def _no_report(collection: Meta, retriever: RetrieverFacts) -> None:
    """Serving pods are asked by the operator, from inside of the cluster."""


async def _no_progress(pods: Iterable[Manifest]) -> Mapping[str, WorkerProgress]:
    """Pods are asked by the operator, from inside of the cluster."""
    return {}


async def _no_samples(meta: Meta, spec: RetrieverSpec) -> tuple[tuple[Sample, ...], float | None]:
    """A preview scales nothing: replicas stay as they are."""
    return (), None


def _stalled(status: Mapping[str, Any]) -> str | None:
    for each in status.get("conditions") or ():
        if each["type"] in _BLOCKING and each["status"] == "True":
            return f"{each['reason']}: {each['message']}"
    return None
