"""Events on our resources: what happened, for `kubectl describe`.

The name of an event is derived from its text. So the same event within the hour for which the
server keeps events is a conflict there, and not a second event; this process does not even send it
twice.
"""

from __future__ import annotations

import hashlib
import logging

from cachetools import LRUCache

from lookalike_crds.moments import now_text
from lookalike_operator.cluster import FIELD_MANAGER, ApiError, Cluster
from lookalike_operator.plan.model import Event, Manifest

log = logging.getLogger(__name__)

_REMEMBERED = 4096
_LONGEST_NAME = 200
_LONGEST_NOTE = 1024


class EventWriter:
    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance[:128]
        self._said: LRUCache[str, bool] = LRUCache(_REMEMBERED)

    async def write(self, regarding: Manifest, events: tuple[Event, ...]) -> None:
        """Events never fail a reconcile: they report changes, they hold no state."""
        for event in events:
            name = _name(regarding, event)
            if name in self._said:
                continue
            try:
                await self._cluster.create(self._manifest(regarding, event, name))
            except ApiError as error:
                if not error.conflict:
                    log.info("event %s could not be written: %s", event.reason, error.message)
                    continue
            self._said[name] = True

    def _manifest(self, regarding: Manifest, event: Event, name: str) -> Manifest:
        meta = regarding["metadata"]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "eventTime": now_text("microseconds"),
            "type": event.type,
            "reason": event.reason,
            "action": "Reconcile",
            "note": event.message[:_LONGEST_NOTE],
            "reportingController": f"lookalike.dev/{FIELD_MANAGER}",
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        }


def _name(regarding: Manifest, event: Event) -> str:
    meta = regarding["metadata"]
    what = "\n".join(
        (meta["uid"], str(meta.get("generation")), event.type, event.reason, event.message)
    )
    return f"{meta['name'][:_LONGEST_NAME]}.{hashlib.sha256(what.encode()).hexdigest()[:16]}"
