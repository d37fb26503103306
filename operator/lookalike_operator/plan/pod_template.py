"""What people put into `podTemplate` and `rayCluster`, merged as Kubernetes merges.

Mappings merge key by key; lists whose items have an identity (containers by name, mounts by path)
merge item by item; other lists are replaced; null removes. A volume or a variable that is named
again is replaced as a whole, because two kinds of source in one would be refused. So is what a
probe or a hook does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lookalike_operator.plan.model import Manifest

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "workerGroupSpecs": "groupName",
}
_REPLACED_WHOLE = frozenset({"volumes", "env"})
_HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "grpc", "sleep"})
"""What a probe or a hook does: one of them, or the API server refuses it."""

UID = 10001
"""The user of our images."""


def merged(base: Manifest, override: Manifest | None) -> dict[str, Any]:
    """`base` with `override` laid over it. Neither is changed."""
    result = dict(base)
    for key, value in (override or {}).items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            given = result[key]
            if _HANDLERS & value.keys():
                given = {k: v for k, v in given.items() if k in value or k not in _HANDLERS}
            result[key] = merged(given, value)
        elif key in MERGE_KEYS and _is_list(value) and _is_list(result.get(key)):
            result[key] = _merged_items(result[key], value, key)
        else:
            result[key] = value
    return result


def _merged_items(base: Sequence[Any], override: Sequence[Any], key: str) -> list[Any]:
    identity = MERGE_KEYS[key]
    result = list(base)
    places = {item.get(identity): i for i, item in enumerate(base) if isinstance(item, Mapping)}
    for item in override:
        place = places.get(item.get(identity)) if isinstance(item, Mapping) else None
        if isinstance(item, Mapping) and item.get("$patch") == "delete":
            if place is not None:
                result[place] = None
        elif place is None:
            result.append(item)
        elif key in _REPLACED_WHOLE:
            result[place] = item
        else:
            result[place] = merged(base[place], item)
    return [item for item in result if item is not None]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def with_pod_template(
    pod: Manifest, override: Mapping[str, Any] | None, labels: Mapping[str, str]
) -> dict[str, Any]:
    """A PodTemplateSpec with the user's merged in; our `labels` stay whatever theirs say."""
    if override is None:
        return dict(pod)
    result = merged(pod, {k: v for k, v in override.items() if k in ("metadata", "spec")})
    metadata = dict(result.get("metadata") or {})
    # A template has no name of its own.
    for key in ("name", "namespace", "ownerReferences"):
        metadata.pop(key, None)
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    result["metadata"] = metadata
    return result


def pod_security() -> dict[str, Any]:
    """What the restricted pod security standard asks of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        # Else every start walks over the whole index to set its group.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """What it asks of a container, and a root file system that nobody writes to."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def canonical(value: Any) -> str:
    """JSON of which equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any, length: int = 16) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]
