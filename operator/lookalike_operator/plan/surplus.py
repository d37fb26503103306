"""What others have added to the spec of an object of ours.

Server-side apply changes the fields that it names, and leaves alone what somebody else has added: a
variable in the environment of a container, a node selector, `paused: true`. The API server records
who wrote which field (`managedFields`); fields of others that are not rendered are surplus.
Annotations are left alone: tools use them to communicate, `kubectl rollout restart` among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lookalike_operator.plan.compare import Difference
from lookalike_operator.plan.model import Manifest, Written
from lookalike_operator.plan.names import OPERATOR

_CONTROLLERS = "kube-controller-manager"
_LEFT_ALONE = frozenset({"PersistentVolumeClaim", "RayService", "RayJob"})
"""Binder and KubeRay complete their specs."""


def written_by_others(manifest: Manifest) -> tuple[Written, ...]:
    """Of an object as the API server sends it: everything but its status and what we applied."""
    found = []
    for entry in manifest["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        ours = manager == OPERATOR and entry.get("operation") == "Apply"
        if ours or entry.get("subresource") == "status":
            continue
        if paths := tuple(_leaves(entry.get("fieldsV1") or {}, ())):
            found.append(Written(manager, paths))
    return tuple(found)


def surplus(wanted: Manifest, others: Iterable[Written]) -> list[Difference]:
    """What others have in the spec and `wanted` does not have."""
    if wanted["kind"] in _LEFT_ALONE:
        return []
    return [
        Difference(_shown(path), f"set by {written.manager}", None)
        for written in others
        for path in written.paths
        if path[0] == "f:spec" and "f:annotations" not in path and not _is_in(wanted, path)
    ]


def managers(others: Iterable[Written]) -> tuple[str, ...]:
    """Who else writes the object, the cluster's own controllers left out."""
    names = (written.manager for written in others if written.manager != OPERATOR)
    return tuple(sorted({name for name in names if name != _CONTROLLERS}))


def _leaves(fields: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for step, inner in fields.items():
        if step == ".":
            continue
        deeper = [key for key in inner if key != "."] if isinstance(inner, Mapping) else []
        if deeper:
            yield from _leaves(inner, (*path, step))
        else:
            yield (*path, step)


def _is_in(value: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        kind, _, text = step.partition(":")
        if kind == "f" and isinstance(value, Mapping):
            if text not in value:
                return False
            value = value[text]
        elif kind == "k" and isinstance(value, list | tuple):
            identity = json.loads(text)
            found = [item for item in value if _is_named(item, identity)]
            if not found:
                return False
            value = found[0]
        elif kind == "v" and isinstance(value, list | tuple):
            return json.loads(text) in value
        else:
            return True  # what lies deeper is compared as a whole
    return True


def _is_named(item: Any, identity: Mapping[str, Any]) -> bool:
    """Parts of an identity that are not rendered have the server's defaults."""
    return isinstance(item, Mapping) and all(
        item.get(key, value) == value for key, value in identity.items()
    )


def _shown(path: tuple[str, ...]) -> str:
    words = []
    for step in path:
        kind, _, text = step.partition(":")
        words.append(f".{text}" if kind == "f" else f"[{text}]")
    return "".join(words).lstrip(".")
