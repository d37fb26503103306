"""Values that make no sense are refused before anything is installed, with their place."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from chart import CHART, NAMESPACE, ROOT, VALUES, Helm, Object, Refused, environment, one

from lookalike_operator import settings
from lookalike_operator.plan import model

_REFUSED = {
    # setting: (where, part of what is said)
    "watchNamespace=search": ("", "watchNamespace"),
    "watchNamespaces={Search}": ("watchNamespaces/0", "pattern"),
    "replicas=-1": ("replicas", "minimum"),
    "replicas=two": ("replicas", "integer"),
    "image.pullPolicy=Sometimes": ("image/pullPolicy", "IfNotPresent"),
    "image.repository=": ("image/repository", "minLength"),
    "image.digest=sha256:abc": ("image/digest", "pattern"),
    "serving.image.repositry=x": ("serving/image", "repositry"),
    "prometheus.url=prometheus:9090": ("prometheus/url", "pattern"),
    "workers=0": ("workers", "minimum"),
    "resyncSeconds=5": ("resyncSeconds", "minimum"),
    "logLevel=verbose": ("logLevel", "debug"),
    "leaderElection.enabled=maybe": ("leaderElection/enabled", "boolean"),
    "metrics.port=80": ("metrics/port", "minimum"),
    "metrics.serviceMonitor.interval=often": ("metrics/serviceMonitor/interval", "pattern"),
    "crds.enabled=true": ("crds", "enabled"),
    "podPolicy=privileged": ("podPolicy", "unrestricted"),
    "kuberay.namespace=Ray System": ("kuberay/namespace", "pattern"),
}


@pytest.mark.parametrize("setting", _REFUSED)
def test_a_wrong_value_is_refused_with_its_place(helm: Helm, setting: str) -> None:
    place, part = _REFUSED[setting]
    with pytest.raises(Refused) as refusal:
        helm.template(settings=[setting])
    said = re.sub(r"\s+", " ", str(refusal.value))
    assert part in said
    assert place in said.replace(".", "/")


def test_what_the_schema_knows_is_what_the_defaults_say() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    documented = set(_paths(values, schema, schema))
    known = set(_known(schema, schema))
    assert documented == known - {"global"}


def test_every_default_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        key = re.match(r"^[a-z]\w*:", line)
        if key and key[0] not in _SELF_EVIDENT:
            assert before.lstrip().startswith("#") or before.startswith(_TOGETHER), line


def operator_settings(objects: list[Object]) -> settings.OperatorSettings:
    """What the operator makes of the environment that the chart gives it."""
    given = environment(one(objects, "Deployment"))
    return settings.parse([], {"POD_NAMESPACE": NAMESPACE, **given})


def test_the_operator_understands_every_variable_it_is_given(helm: Helm) -> None:
    given = operator_settings(helm.objects(VALUES / "everything.yaml"))
    assert given.plan == model.Settings(
        serving_image="lookalike-serving:0.1.0",
        cluster_domain="cluster.example",
        pod_policy=model.PodPolicy.UNRESTRICTED,
        ray_network_policy=False,
        kuberay_namespace="kuberay-system",
        qdrant_addresses=("qdrant.search.svc", "*.qdrant.example.com", "10.20.0.0/16"),
    )
    assert given.prometheus_url == "http://prometheus-operated.monitoring:9090"
    assert given.prometheus_queries.value == "Any"
    assert (given.workers, given.resync_seconds, given.log_level) == (16, 300.0, "DEBUG")
    assert given.leader_election


def test_namespaces_and_images_reach_the_operator(helm: Helm) -> None:
    given = operator_settings(helm.objects(VALUES / "namespaced.yaml"))
    assert given.namespaces == ("search", "staging")
    assert given.plan.serving_image == "registry.example.com/lookalike/serving:2025.1"
    assert not given.leader_election


def test_the_charts_defaults_are_the_operators(default_objects: list[Object]) -> None:
    pod = {"POD_NAMESPACE": NAMESPACE}
    ours = settings.parse(["--serving-image", "lookalike-serving:0.1.0"], pod)
    given = operator_settings(default_objects)
    for name in (
        "plan",
        "namespaces",
        "prometheus_url",
        "prometheus_queries",
        "workers",
        "resync_seconds",
        "log_level",
    ):
        assert getattr(given, name) == getattr(ours, name), name
    assert (given.metrics_port, given.leader_election) == (ours.metrics_port, ours.leader_election)


_SELF_EVIDENT = {
    # They are called as in a pod or its container, or each of their parts is explained.
    *("image:", "resources:", "podLabels:", "podAnnotations:", "nodeSelector:", "tolerations:"),
    *("affinity:", "priorityClassName:", "terminationGracePeriodSeconds:", "serviceAccount:"),
    *("podDisruptionBudget:", "prometheus:", "leaderElection:", "crds:", "rbac:", "metrics:"),
    *("uninstall:", "networkPolicy:", "kuberay:"),
}
_TOGETHER = "volumes:"


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        return dict(schema["definitions"][node["$ref"].rpartition("/")[2]])
    return node


def _paths(
    values: Any, node: dict[str, Any], schema: dict[str, Any], at: str = ""
) -> Iterator[str]:
    """Paths of the defaults, down to where the schema leaves it to the user."""
    properties = _resolved(node, schema).get("properties", {})
    for key, value in values.items():
        path = f"{at}.{key}" if at else key
        inner = _resolved(properties.get(key, {}), schema)
        if isinstance(value, dict) and inner.get("additionalProperties") is False:
            if key == "resources":
                yield path
            else:
                yield from _paths(value, inner, schema, path)
        else:
            yield path


def _known(node: dict[str, Any], schema: dict[str, Any], at: str = "") -> Iterator[str]:
    for key, each in node["properties"].items():
        path = f"{at}.{key}" if at else key
        inner = _resolved(each, schema)
        if inner.get("additionalProperties") is False and key != "resources":
            yield from _known(inner, schema, path)
        else:
            yield path


def test_the_chart_installs_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == project["version"]
    example = (ROOT / "examples" / "cluster" / "images.yaml").read_text()
    assert f"lookalike-serving:{project['version']}" in example
