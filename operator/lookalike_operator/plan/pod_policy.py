"""What people may ask for through `podTemplate` and `rayCluster`.

The operator creates pods for whoever may create our resources, with rights that they may not have
themselves. So by default it creates none that the restricted pod security standard refuses, and
none that runs as another ServiceAccount. The merged pod is checked: removing what the operator sets
is refused in the same way as adding what it does not set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.model import PodPolicy, Settings
from lookalike_operator.plan.names import Owner, own_service_account
from lookalike_operator.plan.pod_security import (
    CONTAINER_LISTS,
    Path,
    Violation,
    items,
    mapping,
    violations,
)
from lookalike_operator.plan.pod_template import (
    MERGE_KEYS,
    container_security,
    merged,
    pod_security,
    with_pod_template,
)

SERVING = "serving"
INGESTION = "ingestion"
RAY_GROUP = "serving"
_NOT_FOR_THE_HEAD = {
    "enableIngress": "is not allowed: it would expose Ray's dashboard; use spec.access.ingress "
    "for searches",
    "headService": "is not allowed: it would expose Ray's dashboard; searches have their own "
    "Service",
}


def of_retriever(owner: Owner, spec: RetrieverSpec, settings: Settings) -> Cause | None:
    """Why the operator creates no pods from this spec, or None."""
    account = own_service_account(owner)
    template = _template(SERVING, spec.serving.pod_template)
    found = list(
        _of_template("spec.serving.podTemplate", template, spec.serving.pod_template, account)
    )
    if spec.serving.runtime is Runtime.KUBE_RAY and not found:
        found = list(_of_cluster(template, spec.serving.ray_cluster or {}, account))
    return _cause(found, settings)


def of_collection(owner: Owner, spec: ImageCollectionSpec, settings: Settings) -> Cause | None:
    override = spec.ingestion.pod_template
    template = _template(INGESTION, override)
    at = "spec.ingestion.podTemplate"
    return _cause(list(_of_template(at, template, override, own_service_account(owner))), settings)


def _cause(found: list[str], settings: Settings) -> Cause | None:
    if not found or settings.pod_policy is PodPolicy.UNRESTRICTED:
        return None
    return Cause(
        "ForbiddenByPolicy",
        "; ".join(found[:5])
        + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
        + ". The operator only creates pods that meet the restricted pod security standard "
        "(chart value podPolicy)",
    )


def _template(container: str, override: Mapping[str, Any] | None) -> dict[str, Any]:
    """A pod of ours as far as the policy is concerned, with the user's template merged in."""
    pod = {
        "metadata": {},
        "spec": {
            "securityContext": pod_security(),
            "containers": [{"name": container, "securityContext": container_security()}],
        },
    }
    return with_pod_template(pod, override, {})


def _of_template(
    at: str, template: Mapping[str, Any], override: Mapping[str, Any] | None, account: str
) -> Iterator[str]:
    """`template`: with `override`, which the paths are about, merged in."""
    for violation in (*violations(template), *_of_identity(template, account)):
        yield f"{at}{_written(violation.path, template, override or {})} {violation.message}"


def _of_identity(template: Mapping[str, Any], account: str) -> Iterator[Violation]:
    """Nobody gets the rights of another ServiceAccount through a search endpoint."""
    spec = mapping(template.get("spec"))
    for key in ("serviceAccountName", "serviceAccount"):
        if spec.get(key) not in (None, "", account):
            yield Violation(
                ("spec", key),
                f"must be left out, or be {account}: pods cannot run as another ServiceAccount",
            )
    own = account in (spec.get("serviceAccountName"), spec.get("serviceAccount"))
    if own:
        return
    remedy = f"is not allowed without serviceAccountName: {account}"
    if spec.get("automountServiceAccountToken"):
        yield Violation(("spec", "automountServiceAccountToken"), remedy)
    for i, volume in enumerate(items(spec.get("volumes"))):
        for n, source in enumerate(items(mapping(volume.get("projected")).get("sources"))):
            if source.get("serviceAccountToken") is not None:
                path = ("spec", "volumes", i, "projected", "sources", n, "serviceAccountToken")
                yield Violation(path, remedy)


def _of_cluster(
    template: Mapping[str, Any], override: Mapping[str, Any], account: str
) -> Iterator[str]:
    """`template`: of head and workers before `override`, the resource's `rayCluster`."""
    at = "spec.serving.rayCluster"
    cluster = merged(
        {
            "autoscalerOptions": {"securityContext": container_security()},
            "headGroupSpec": {"template": template},
            "workerGroupSpecs": [{"groupName": RAY_GROUP, "template": template}],
        },
        override,
    )
    head, theirs = mapping(cluster.get("headGroupSpec")), mapping(override.get("headGroupSpec"))
    for key, message in _NOT_FOR_THE_HEAD.items():
        if head.get(key):
            yield f"{at}.headGroupSpec.{key} {message}"
    yield from _of_template(
        f"{at}.headGroupSpec.template",
        mapping(head.get("template")),
        mapping(theirs.get("template")),
        account,
    )
    written = items(override.get("workerGroupSpecs"))
    for i, group in enumerate(items(cluster.get("workerGroupSpecs"))):
        path = _written(("workerGroupSpecs", i), cluster, override)
        own = next(
            (each for each in written if each.get("groupName") == group.get("groupName")), {}
        )
        yield from _of_template(
            f"{at}{path}.template",
            mapping(group.get("template")),
            mapping(own.get("template")),
            account,
        )
    # The autoscaler is a container of the head's pod, in fewer words.
    options = mapping(cluster.get("autoscalerOptions"))
    beside = {"spec": {"securityContext": pod_security(), "containers": [dict(options)]}}
    for violation in violations(beside):
        yield f"{at}.autoscalerOptions{_joined(violation.path[3:])} {violation.message}"


def _written(path: Path, made: Mapping[str, Any], override: Mapping[str, Any]) -> str:
    """The path as the user knows it: the place in the user's list, or the item's name."""
    parts: list[str | int] = []
    here: Any = made
    theirs: Any = override
    for i, part in enumerate(path):
        if not isinstance(part, int):
            here, theirs = mapping(here).get(part), mapping(theirs).get(part)
            parts.append(part)
            continue
        key = str(path[i - 1])
        here = items(here)[part]
        name = here.get(MERGE_KEYS.get(key, ""))
        place = _place_of(name, key, theirs, part)
        parts.append(name if place is None else place)
        theirs = {} if place is None else items(theirs)[place]
    return _joined(tuple(parts), lists=(*CONTAINER_LISTS, *MERGE_KEYS, "sysctls", "sources"))


def _place_of(name: Any, key: str, theirs: Any, part: int) -> int | None:
    if key not in MERGE_KEYS:
        return part if part < len(items(theirs)) else None
    identity = MERGE_KEYS[key]
    found = (n for n, each in enumerate(items(theirs)) if each.get(identity) == name)
    return next(found, None)


def _joined(path: Path, lists: Sequence[str] = ()) -> str:
    text, before = "", ""
    for part in path:
        in_list = isinstance(part, int) or before in lists
        text += f"[{part}]" if in_list else f".{part}"
        before = "" if in_list else str(part)
    return text
