"""Status and finalizers of our own resources: merge patches, sent only where something differs.

Each patch names the resourceVersion it was computed from, so that a stale view is refused (409) and
looked at again rather than written over what is newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookalike_operator.cluster import STATUS_MANAGER, Cluster
from lookalike_operator.kinds import kind_of
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import FINALIZER


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes `new` of `old`; empty if they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif value != before and not (value is None and key not in old):
            patch[key] = value
    return patch


async def write_status(cluster: Cluster, live: Manifest, status: Mapping[str, Any]) -> Manifest:
    """The resource as stored afterwards: `live` itself where nothing differs."""
    patch = merge_patch(live.get("status") or {}, status)
    if not patch:
        return live
    meta = live["metadata"]
    return await cluster.patch(
        kind_of(live["apiVersion"], live["kind"]),
        meta["namespace"],
        meta["name"],
        {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": patch},
        subresource="status",
        manager=STATUS_MANAGER,
    )


async def add_finalizer(cluster: Cluster, live: Manifest) -> Manifest:
    finalizers = live["metadata"].get("finalizers") or []
    if FINALIZER in finalizers or live["metadata"].get("deletionTimestamp"):
        return live
    return await _set_finalizers(cluster, live, [*finalizers, FINALIZER])


async def remove_finalizer(cluster: Cluster, live: Manifest) -> Manifest:
    finalizers = live["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        return live
    return await _set_finalizers(cluster, live, [f for f in finalizers if f != FINALIZER])


async def _set_finalizers(cluster: Cluster, live: Manifest, finalizers: list[str]) -> Manifest:
    meta = live["metadata"]
    return await cluster.patch(
        kind_of(live["apiVersion"], live["kind"]),
        meta["namespace"],
        meta["name"],
        {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": finalizers}},
    )
