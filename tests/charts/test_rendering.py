"""What the chart installs: whole manifests against golden files, and what must always hold.

LOOKALIKE_WRITE_GOLDEN=1 writes the golden files, and config/operator/operator.yaml, anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from chart import CHART, GOLDEN, NAMESPACE, ROOT, VALUES, Helm, Object, Refused, kinds, one, parsed

_CASES = {
    "default": (),
    "everything": (VALUES / "everything.yaml",),
    "namespaced": (VALUES / "namespaced.yaml",),
}
_KUSTOMIZE = ROOT / "config" / "operator" / "operator.yaml"
_KUSTOMIZE_HEADER = (
    "# What charts/lookalike renders by default, without Helm's labels. Do not edit:\n"
    "# LOOKALIKE_WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/charts\n"
)
_HELMS_OWN = ("app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/chart")


def check_golden(path: Path, text: str) -> None:
    if os.environ.get("LOOKALIKE_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path} is missing: run once with LOOKALIKE_WRITE_GOLDEN=1"
    assert text == path.read_text()


@pytest.mark.parametrize("case", _CASES)
def test_the_chart_renders_what_the_golden_file_holds(helm: Helm, case: str) -> None:
    # The CRDs are compared with their source below.
    rendered = helm.template(*_CASES[case], settings=["crds.install=false"])
    check_golden(GOLDEN / f"{case}.yaml", rendered)


@pytest.mark.parametrize("case", _CASES)
def test_helm_lint_finds_nothing_to_say(helm: Helm, case: str) -> None:
    values = [word for path in _CASES[case] for word in ("--values", str(path))]
    said = helm.run("lint", "--strict", str(CHART), *values)
    assert "0 chart(s) failed" in said


def test_the_crds_are_those_of_the_types_and_stay_on_uninstall(
    default_objects: list[Object],
) -> None:
    for source in (ROOT / "crds").glob("lookalike.dev_*.yaml"):
        definition = yaml.safe_load(source.read_text())
        rendered = one(default_objects, "CustomResourceDefinition", definition["metadata"]["name"])
        assert rendered["spec"] == definition["spec"]
        assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_crds_go_with_the_release_only_on_request(helm: Helm) -> None:
    objects = helm.objects(settings=["crds.keep=false"])
    crds = [o for o in objects if o["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 2
    assert not any(o["metadata"].get("annotations") for o in crds)


def test_crds_can_be_left_to_others(helm: Helm) -> None:
    objects = helm.objects(settings=["crds.install=false"])
    assert "CustomResourceDefinition" not in kinds(objects)


@pytest.mark.parametrize("case", _CASES)
def test_every_pod_is_what_the_restricted_standard_asks_for(helm: Helm, case: str) -> None:
    installed, hooks = helm.objects(*_CASES[case]), helm.hooks(*_CASES[case])
    for workload in (one(installed, "Deployment"), one(hooks, "Job")):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_no_object_could_be_taken_for_a_child_of_the_operator(
    default_objects: list[Object],
) -> None:
    for each in default_objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_with_namespaces_named_nothing_is_cluster_wide_but_the_crds(helm: Helm) -> None:
    objects = helm.objects(VALUES / "namespaced.yaml")
    assert not kinds(objects) & {"ClusterRole", "ClusterRoleBinding"}
    places = {o["metadata"]["namespace"] for o in objects if o["kind"] == "RoleBinding"}
    assert places == {"search", "staging"}


def test_two_operators_without_a_lease_are_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match="two operators would write the same objects"):
        helm.template(settings=["replicas=2", "leaderElection.enabled=false"])


def test_a_lone_operator_has_no_disruption_budget_that_blocks_drains(
    helm: Helm, default_objects: list[Object]
) -> None:
    assert "PodDisruptionBudget" not in kinds(default_objects)
    assert "PodDisruptionBudget" in kinds(helm.objects(settings=["replicas=2"]))


def _without_helm(each: Object) -> Object:
    for holder in (each, each.get("spec", {}).get("template", {})):
        for key in _HELMS_OWN:
            holder.get("metadata", {}).get("labels", {}).pop(key, None)
    selector = each.get("spec", {}).get("selector", {})
    for labels in (selector, selector.get("matchLabels", {})):
        labels.pop("app.kubernetes.io/instance", None)
    return each


def test_the_kustomize_base_is_the_chart_without_helm(helm: Helm) -> None:
    objects = helm.objects(settings=["crds.install=false"])
    text = yaml.safe_dump_all(map(_without_helm, objects), sort_keys=False, width=100)
    check_golden(_KUSTOMIZE, _KUSTOMIZE_HEADER + text)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["config/default", "config/crd"])
def test_kustomize_builds(folder: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", ROOT / folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    objects = parsed(done.stdout)
    crds = [o for o in objects if o["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 2
    for each in objects:
        if each["kind"] not in ("CustomResourceDefinition", "Namespace") and not each[
            "kind"
        ].startswith("ClusterRole"):
            assert each["metadata"]["namespace"] == NAMESPACE
