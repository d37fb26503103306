"""What `lookalike validate` and the operator refuse before any cluster is asked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lookalike_crds.load import load_resources


def problems(kind: str, spec: dict[str, Any]) -> list[str]:
    document = {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": spec,
    }
    return [f"{p.path}: {p.message}" for p in load_resources(yaml.safe_dump(document)).errors]


def retriever(serving: dict[str, Any]) -> list[str]:
    return problems("Retriever", {"collections": [{"name": "a"}], "serving": serving})


def pod(**spec: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": spec}}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name in other letters": (pod(nodeselector={"a": "b"}), "spec.nodeselector: is not known: "
                                "did you mean nodeSelector?"),
    "a typo": (pod(tolerance=[]), "did you mean tolerations?"),
    "a list for a mapping": (pod(nodeSelector=["a"]), "nodeSelector: write a mapping"),
    "a mapping for a list": (pod(tolerations={"key": "a"}), "tolerations: write a list"),
    "a number for text": (pod(nodeSelector={"a": 1}), "nodeSelector.a: is 1: write text"),
    "text for a number": (pod(terminationGracePeriodSeconds="60"), "write a whole number"),
    "text for a boolean": (pod(hostNetwork="yes"), "write true or false"),
    "an amount": (pod(containers=[{"name": "c", "resources": {"limits": {"cpu": "lots"}}}]),
                  "containers[0].resources.limits.cpu: is 'lots': write an amount"),
    "deep inside": (pod(affinity={"nodeAfinity": {}}),
                    "affinity.nodeAfinity: is not known: did you mean nodeAffinity?"),
    "a worker of Ray": (
        {"runtime": "KubeRay", "rayCluster": {"workerGroupSpecs": [
            {"groupName": "serving", "template": {"spec": {"nodeSelector": ["a"]}}}]}},
        "rayCluster.workerGroupSpecs[0].template.spec.nodeSelector: write a mapping"),
    "resources": ({"resources": {"limits": {"cpu": "lots"}}},
                  "spec.serving.resources.limits.cpu: write an amount"),
    "a negative amount": ({"resources": {"requests": {"memory": "-1Gi"}}}, "write an amount"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_no_cluster_would_take_is_refused_with_its_path(name: str) -> None:
    serving, says = WRONG[name]
    (told,) = retriever(serving)
    assert says in told


def test_what_a_cluster_takes_passes() -> None:
    container = {
        "name": "serving",
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "1.5Gi", "cpu": 0.5}},
        "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 3},
        "ports": [{"containerPort": 80, "$patch": "delete"}],
        "securityContext": None,
    }
    template = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "containers": [container],
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 3}],
            # Of a Kubernetes that is newer than this release.
            "aFieldOfTheYearAfterNext": {"x": 1},
        },
    }
    assert retriever({"podTemplate": template}) == []


@pytest.mark.parametrize(
    "schedule",
    ["0 3 * * *", "*/15 0-6,12 1 jan,DEC Mon-Fri", "@daily", "5/10 ? * * sun", "0  3 * * 0"],
)
def test_a_cron_expression_is_taken(schedule: str) -> None:
    assert _scheduled(schedule) == []


@pytest.mark.parametrize(
    "schedule",
    ["", "daily", "@often", "0 3 * *", "0 3 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
     "* * * 13 *", "* * * * 7", "*/0 * * * *", "5-1 * * * *", "a * * * *", "TZ=UTC 0 3 * * *",
     "@every 1h", "1- * * * *", "1,, * * * *"],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused(schedule: str) -> None:
    (told,) = _scheduled(schedule)
    assert told.startswith("spec.sources[0].schedule: ")


def _scheduled(schedule: str) -> list[str]:
    source = {"name": "a", "volume": {"path": "/x"}, "schedule": schedule}
    return problems("ImageCollection", {"sources": [source]})
