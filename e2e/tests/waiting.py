"""Waiting for a cluster: every wait has an end, and says at its end what was so instead."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from e2e.cluster.api import Api, Object

T = TypeVar("T")
_POLL_SECONDS = 0.5


def until(what: str, look: Callable[[], T | None], seconds: float, told: Callable[[], str]) -> T:
    """What `look` finds as soon as it finds something. Fails with `told()` at the end."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} after {seconds:g} s.\n{told()}")
        time.sleep(_POLL_SECONDS)


def condition(resource: Object | None, type_: str) -> Object | None:
    """The condition of that type, if the operator has seen the newest spec."""
    if resource is None:
        return None
    status = resource.get("status", {})
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return None
    found = (each for each in status.get("conditions", ()) if each["type"] == type_)
    return next(found, None)


def until_condition(
    api: Api, path: str, type_: str, status: str, seconds: float, *, reason: str | None = None
) -> Object:
    """The resource as soon as a condition is so."""

    def look() -> Object | None:
        resource = api.find(path)
        found = condition(resource, type_)
        if found is None or found["status"] != status:
            return None
        return resource if reason in (None, found["reason"]) else None

    wanted = f"{type_}={status}" + (f" ({reason})" if reason else "")
    return until(f"{wanted} on {path}", look, seconds, lambda: story(api, path))


def until_ready(api: Api, path: str, seconds: float = 120) -> None:
    """Until a pod takes requests."""

    def look() -> bool:
        conditions = api.get(path)["status"].get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    until(f"readiness of {path}", look, seconds, lambda: story(api, path))


def story(api: Api, path: str) -> str:
    """All that explains why a resource is as it is: its status, its namespace's pods and events."""
    resource: dict[str, Any] = api.find(path) or {}
    lines = [f"{path}: {resource.get('status', 'is not there')}"]
    namespace = path.split("/namespaces/")[1].split("/")[0]
    for pod in api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]:
        status = pod["status"]
        lines.append(f"pod {pod['metadata']['name']}: {status.get('phase')}")
        for each in status.get("containerStatuses", ()):
            lines.append(f"  {each['name']} ready={each['ready']} {each['state']}")
        for each in status.get("conditions", ()):
            if each["status"] != "True" and each.get("message"):
                lines.append(f"  {each['type']}: {each['message']}")
        try:
            lines.append(
                api.text(
                    f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log",
                    tailLines="15",
                )
            )
        except Exception as failure:
            lines.append(f"  no log: {failure}")
    for event in api.get(f"/api/v1/namespaces/{namespace}/events")["items"][-15:]:
        about = event["involvedObject"]
        lines.append(f"{about['kind']}/{about['name']} {event['reason']}: {event['message']}")
    return "\n".join(lines)
