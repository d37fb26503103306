"""Why a Job has no pod: the API server takes none of them, and only events tell."""

from __future__ import annotations

from collections.abc import Iterable

from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import EVENT
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.runs import lacks_pods

_REASON = "FailedCreate"


async def refused_pods(cluster: Cluster, children: Iterable[Manifest]) -> dict[str, str]:
    """Name of each Job that was begun and has no pod -> what the API server said last.

    Asks only where there is such a Job; empty, too, where events may not be read.
    """
    found: dict[str, str] = {}
    for job in children:
        if job["kind"] != "Job" or not lacks_pods(job):
            continue
        meta = job["metadata"]
        wanted = f"regarding.uid={meta['uid']},reason={_REASON}"
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
