"""What applying a plan changes and costs, in words that a person can act on.

The operator logs it; `lookalike plan` shows it before anybody applies anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lookalike_crds.image_collection import GPU
from lookalike_crds.quantities import amount
from lookalike_crds.sources import SourceSpec
from lookalike_operator.plan import places
from lookalike_operator.plan.changes import Change, Changes
from lookalike_operator.plan.compare import Difference, differences
from lookalike_operator.plan.model import Manifest, ObjectRef, Plan, ref_of
from lookalike_operator.plan.names import TEMPLATE_DIGEST

_UPGRADE_MINUTES = 10
"""Time for a new Ray cluster with its model, and the minute for which KubeRay keeps the old one."""
_MOST_DIFFERENCES = 4


def in_words(plan: Plan, changes: Changes) -> tuple[str, ...]:
    """One line for each object that is created, changed or deleted, in the plan's order."""
    if plan.hands_off:
        return ()
    lines = [line for change in changes.objects for line in _object(change)]
    lines += [
        f"creates {ref_of(change.wanted)}"
        for change in changes.once
        if change.live is None and change.wanted["kind"] != "Secret"
    ]
    lines += [f"deletes {ref_of(live)}" for live in changes.deleted]
    lines += [
        f"{_words(op.action.value)} {op.index} {' '.join(op.argument)}".rstrip()
        for op in plan.index_ops
    ]
    return tuple(lines)


def _object(change: Change) -> Iterator[str]:
    ref, wanted, live, found = ref_of(change.wanted), change.wanted, change.live, change.differences
    if live is None:
        yield f"creates {ref}{_needs(_gpus(wanted))}"
    elif not found:
        return
    elif ref.kind == "RayService":
        yield _ray_service(ref, live, wanted, found)
    elif ref.kind == "Deployment":
        yield _deployment(ref, live, wanted, found)
    elif ref.kind == "ConfigMap":
        yield f"changes {ref}; running pods apply it without a restart"
        yield from _sources_read(live, wanted)
    else:
        yield f"changes {ref}: {_listed(found)}"


def _deployment(
    ref: ObjectRef, live: Manifest, wanted: Manifest, found: Sequence[Difference]
) -> str:
    if _digest(live) == _digest(wanted):
        return f"changes {ref}, no pod restarts: {_listed(found)}"
    reasons = _listed([d for d in found if d.path.startswith("spec.template")] or found)
    if wanted["spec"]["strategy"]["type"] == "Recreate":
        return f"restarts the pods of {ref}: old ones end before new ones start ({reasons})"
    extra = _needs(_gpus_of(wanted["spec"]["template"]["spec"]), "more")
    return f"restarts the pods of {ref} one by one, without a gap{extra} ({reasons})"


def _ray_service(
    ref: ObjectRef, live: Manifest, wanted: Manifest, found: Sequence[Difference]
) -> str:
    if _digest(live) == _digest(wanted):
        return f"changes the Serve config of {ref} in place: {_listed(found)}"
    needed = _gpus(wanted)
    cost = f"; needs {needed} more GPUs for about {_UPGRADE_MINUTES} minutes" if needed else ""
    reasons = _listed([d for d in found if d.path.startswith("spec.rayCluster")] or found)
    return f"replaces the Ray cluster of {ref}{cost} ({reasons})"


def _sources_read(live: Manifest, wanted: Manifest) -> Iterator[str]:
    """The sources whose change makes ingestion read them again. None of another ConfigMap."""
    before, after = _sources(live), _sources(wanted)
    for name, source in after.items():
        if name not in before:
            yield f"reads source {name}, which is new"
        elif found := differences(source, before[name]):
            yield f"reads source {name} again: {_listed(found)}"


def _sources(config_map: Manifest) -> dict[str, Any]:
    """Name -> source, of the run that reads all of them. When they are read is another matter."""
    try:
        config = json.loads((config_map.get("data") or {})[places.INGESTION_FILE])
        sources = [SourceSpec.model_validate(each) for each in config["sources"]]
    except (KeyError, ValueError, TypeError):
        return {}
    # With the defaults, which other versions of the operator may have written.
    told = [each.model_dump(mode="json", by_alias=True) for each in sources]
    return {each["name"]: {**each, "schedule": None} for each in told}


def _digest(manifest: Manifest) -> str | None:
    return (manifest["metadata"].get("annotations") or {}).get(TEMPLATE_DIGEST)


def _gpus(manifest: Manifest) -> int:
    """GPUs that the object asks for as a whole."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "Deployment":
        return int(spec["replicas"]) * _gpus_of(spec["template"]["spec"])
    if manifest["kind"] == "RayService":
        return _gpus_of_applications(spec["serveConfigV2"])
    return 0


def _gpus_of_applications(serve_config: str) -> int:
    """Ray makes workers for what replicas ask for."""
    return int(
        sum(
            (deployment.get("num_replicas") or 0)
            * (deployment.get("ray_actor_options") or {}).get("num_gpus", 0)
            for application in json.loads(serve_config)["applications"]
            for deployment in application["deployments"]
        )
    )


def _gpus_of(pod_spec: Mapping[str, Any]) -> int:
    found = (
        amount((container.get("resources") or {}).get("limits", {}).get(GPU, 0)) or 0
        for container in pod_spec["containers"]
    )
    return int(sum(found))


def _needs(gpus: int, more: str = "") -> str:
    if not gpus:
        return ""
    number = f"{gpus} {more} GPU".replace("  ", " ")
    return f"; needs {number}{'s' if gpus > 1 else ''}"


def _listed(found: Sequence[Difference]) -> str:
    told = [str(each) for each in found[:_MOST_DIFFERENCES]]
    rest = len(found) - len(told)
    return "; ".join([*told, *([f"{rest} more"] if rest > 0 else [])])


def _words(action: str) -> str:
    return {
        "EnsurePayloadIndex": "creates a payload index in",
        "PointAlias": "points an alias at",
        "Delete": "deletes index",
    }[action]
