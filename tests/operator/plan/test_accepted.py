"""A real API server takes every golden manifest as it stands, and drops no field of it.

Pods are tried in a namespace that enforces the restricted pod security standard.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.cluster import binaries, definitions
from e2e.cluster.api import Api
from e2e.cluster.control_plane import control_plane
from e2e.cluster.errors import Unavailable
from tests.operator.plan.test_golden import CASES, GOLDEN

from lookalike_operator.plan.compare import differences

pytestmark = pytest.mark.apiserver

_ELSEWHERE = ("HTTPRoute", "ServiceMonitor")
"""Kinds whose definitions no registry of ours has."""


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    try:
        context = control_plane()
        plane = context.__enter__()
    except Unavailable as reason:
        pytest.skip(f"no API server here: {reason}")
    try:
        yield Api(plane.kubeconfig)
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def kuberay(api: Api) -> None:
    """KubeRay's definitions, as its Go module has them."""
    try:
        module = binaries.module_folder(
            binaries.KUBERAY, "github.com/ray-project/kuberay/ray-operator"
        )
    except Exception as failure:
        pytest.skip(f"KubeRay's Go module cannot be had: {failure}")
    definitions.install(api, sorted((module / "config" / "crd" / "bases").glob("*.yaml")))


@pytest.fixture(params=CASES)
def manifests(api: Api, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The manifests of one file, in a namespace of their own."""
    name = str(request.param)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace"}
    api.apply({**namespace, "metadata": {"name": name, "labels": labels}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    api.apply({**account, "metadata": {"name": "default", "namespace": name}})
    documents = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    for document in documents:
        document["metadata"]["namespace"] = name
        # Owners of the golden files do not exist: the garbage collector would be at them.
        document["metadata"].pop("ownerReferences", None)
    return documents


def test_the_api_server_takes_every_field(
    api: Api, manifests: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    tried = 0
    for manifest in manifests:
        if manifest["kind"] in _ELSEWHERE:
            continue
        if manifest["kind"] in ("RayService", "RayJob"):
            request.getfixturevalue("kuberay")
        assert differences(manifest, api.apply(manifest)) == []
        tried += 1
    assert tried


def test_pods_pass_the_restricted_standard(api: Api, manifests: list[dict[str, Any]]) -> None:
    for number, template in enumerate(_templates(manifests)):
        template = copy.deepcopy(template)
        # Containers that people add are theirs to secure.
        template["spec"]["containers"] = template["spec"]["containers"][:1]
        pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"]["name"] = f"pod-{number}"
        pod["metadata"]["namespace"] = manifests[0]["metadata"]["namespace"]
        api.apply(pod)


def _templates(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        match document["kind"]:
            case "Deployment" | "Job":
                yield document["spec"]["template"]
            case "CronJob":
                yield document["spec"]["jobTemplate"]["spec"]["template"]
            case "RayService":
                yield from _of_cluster(document["spec"]["rayClusterConfig"])
            case "RayJob":
                yield document["spec"]["submitterPodTemplate"]
                if "rayClusterSpec" in document["spec"]:
                    yield from _of_cluster(document["spec"]["rayClusterSpec"])


def _of_cluster(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield cluster["headGroupSpec"]["template"]
    for group in cluster["workerGroupSpecs"]:
        yield group["template"]


def test_the_golden_files_have_every_kind_that_the_operator_makes() -> None:
    kinds = {d["kind"] for path in Path(GOLDEN).glob("*.yaml")
             for d in yaml.safe_load_all(path.read_text())}  # fmt: skip
    assert kinds == {
        "ConfigMap", "CronJob", "Deployment", "HTTPRoute", "Ingress", "Job", "NetworkPolicy",
        "PersistentVolumeClaim", "PodDisruptionBudget", "RayJob", "RayService", "Secret",
        "Service", "ServiceMonitor",
    }  # fmt: skip
