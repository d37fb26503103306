"""What only events tell: why a Job has no pod, and why a claim has no volume.

The API server filters a list of events only after it has read all events of the namespace. One list
therefore answers for all objects of a namespace, and is asked for again only some seconds later. No
list is made as long as there is no such object, and nothing is found if events may not be read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from cachetools import TTLCache

from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import EVENT
from lookalike_operator.plan.claims import explained_in
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.runs import lacks_pods

_NAMESPACES = 1024
_Asked = tuple[str, str]
"""A namespace, and a reason of events."""


class Explanations:
    """Reads events on behalf of all reconciles."""

    def __init__(self, cluster: Cluster, seconds: float = 5.0) -> None:
        """`seconds`: how long an answer is used again."""
        self._cluster = cluster
        self._told: TTLCache[_Asked, Mapping[str, str]] = TTLCache(_NAMESPACES, seconds)
        self._asking: defaultdict[_Asked, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def refused_pods(self, children: Iterable[Manifest]) -> dict[str, str]:
        """Name of each Job that has begun and has no pod -> the API server's last message."""
        return await self._of(children, _takes_no_pods, "FailedCreate")

    async def unprovisioned(self, children: Iterable[Manifest], now: datetime) -> dict[str, str]:
        """Name of each claim that has long had no volume -> its provisioner's last message."""
        return await self._of(
            children, lambda child: _has_no_volume(child, now), "ProvisioningFailed"
        )

    async def _of(
        self, children: Iterable[Manifest], about: Callable[[Manifest], bool], reason: str
    ) -> dict[str, str]:
        found: dict[str, str] = {}
        for child in filter(about, children):
            meta = child["metadata"]
            note = (await self._notes((meta["namespace"], reason))).get(meta["uid"])
            if note is not None:
                found[meta["name"]] = note
        return found

    async def _notes(self, asked: _Asked) -> Mapping[str, str]:
        """UID of each object that events of this reason are about -> the last one's note."""
        async with self._asking[asked]:
            known = self._told.get(asked)
            if known is None:
                known = self._told[asked] = await self._listed(*asked)
        return known

    async def _listed(self, namespace: str, reason: str) -> Mapping[str, str]:
        try:
            events = (await self._cluster.list(EVENT, namespace, fields=f"reason={reason}")).items
        except ApiError:
            return {}
        return {
            str((event.get("regarding") or {}).get("uid")): str(event.get("note") or "")
            for event in sorted(events, key=_time)
        }


def _takes_no_pods(child: Manifest) -> bool:
    return child["kind"] == "Job" and lacks_pods(child)


def _has_no_volume(child: Manifest, now: datetime) -> bool:
    return child["kind"] == "PersistentVolumeClaim" and explained_in(child, now) == 0


def _time(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("deprecatedLastTimestamp")
        or event.get("eventTime")
        or ""
    )
