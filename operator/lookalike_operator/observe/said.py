"""What only events tell: why a Job has no pod, and why a claim has no volume.

Each asks only where there is such an object, and finds nothing if events may not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import EVENT
from lookalike_operator.plan.claims import explained_in
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.runs import lacks_pods


async def refused_pods(cluster: Cluster, children: Iterable[Manifest]) -> dict[str, str]:
    """Name of each Job that was begun and has no pod -> what the API server said last."""
    return await _said(cluster, children, _takes_no_pods, "FailedCreate")


async def unprovisioned(
    cluster: Cluster, children: Iterable[Manifest], now: datetime
) -> dict[str, str]:
    """Name of each claim that has long had no volume -> what its provisioner said last."""
    return await _said(
        cluster, children, lambda child: _has_no_volume(child, now), "ProvisioningFailed"
    )


def _takes_no_pods(child: Manifest) -> bool:
    return child["kind"] == "Job" and lacks_pods(child)


def _has_no_volume(child: Manifest, now: datetime) -> bool:
    return child["kind"] == "PersistentVolumeClaim" and explained_in(child, now) == 0


async def _said(
    cluster: Cluster,
    children: Iterable[Manifest],
    about: Callable[[Manifest], bool],
    reason: str,
) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in filter(about, children):
        meta = child["metadata"]
        wanted = f"regarding.uid={meta['uid']},reason={reason}"
        try:
            events = (await cluster.list(EVENT, meta["namespace"], fields=wanted)).items
        except ApiError:
            continue
        if events:
            found[meta["name"]] = str(max(events, key=_time).get("note") or "")
    return found


def _time(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("deprecatedLastTimestamp")
        or event.get("eventTime")
        or ""
    )
