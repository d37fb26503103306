"""What podTemplate and rayCluster may ask for, by default and with `podPolicy: unrestricted`."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.plan.known import EDGE, PHOTOS, SETTINGS, collection, condition, retriever, told

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Plan, PodPolicy
from lookalike_operator.plan.pod_security import violations
from lookalike_operator.plan.pod_template import container_security, pod_security, with_pod_template
from lookalike_operator.plan.retriever import plan_retriever

UNRESTRICTED = replace(SETTINGS, pod_policy=PodPolicy.UNRESTRICTED)
SERVING = "spec.serving.podTemplate"


def _pod(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


def _container(name: str = "serving", **fields: Any) -> dict[str, Any]:
    return _pod(containers=[{"name": name, **fields}])


def _context(**fields: Any) -> dict[str, Any]:
    return _container(securityContext=fields)


FORBIDDEN: dict[str, dict[str, Any]] = {
    ".spec.hostNetwork": _pod(hostNetwork=True),
    ".spec.hostPID": _pod(hostPID=True),
    ".spec.hostIPC": _pod(hostIPC=True),
    ".spec.volumes[0].hostPath": _pod(volumes=[{"name": "data", "hostPath": {"path": "/"}}]),
    ".spec.volumes[1].nfs": _pod(
        volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "nfs": {"server": "x", "path": "/"}}]
    ),
    ".spec.containers[0].securityContext.privileged": _context(privileged=True),
    ".spec.containers[0].securityContext.allowPrivilegeEscalation": _context(
        allowPrivilegeEscalation=True
    ),
    ".spec.containers[0].securityContext.capabilities.drop": _context(capabilities={"drop": []}),
    ".spec.containers[0].securityContext.capabilities.add": _context(
        capabilities={"add": ["SYS_ADMIN"]}
    ),
    ".spec.containers[0].securityContext.runAsUser": _context(runAsUser=0),
    ".spec.containers[0].securityContext.runAsNonRoot": _context(runAsNonRoot=False),
    ".spec.containers[0].securityContext.procMount": _context(procMount="Unmasked"),
    ".spec.containers[0].securityContext.seccompProfile.type": _context(
        seccompProfile={"type": "Unconfined"}
    ),
    ".spec.containers[0].ports[0].hostPort": _container(
        ports=[{"containerPort": 1, "hostPort": 1}]
    ),
    ".spec.containers[0].livenessProbe.httpGet.host": _container(
        livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}
    ),
    ".spec.securityContext.runAsUser": _pod(securityContext={"runAsUser": 0}),
    ".spec.securityContext.sysctls[0]": _pod(
        securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}
    ),
    ".spec.securityContext.seLinuxOptions.type": _pod(
        securityContext={"seLinuxOptions": {"type": "spc_t"}}
    ),
    ".spec.containers[0].securityContext.windowsOptions.hostProcess": _context(
        windowsOptions={"hostProcess": True}
    ),
    ".metadata.annotations.container.apparmor.security.beta.kubernetes.io/serving": {
        "metadata": {
            "annotations": {"container.apparmor.security.beta.kubernetes.io/serving": "unconfined"}
        }
    },
    # What the operator sets is taken away.
    ".spec.containers[serving].securityContext.runAsNonRoot": _pod(securityContext=None),
    ".spec.containers[0].securityContext.capabilities.drop must": _container(securityContext=None),
    # A container of the user's own brings its security along.
    ".spec.containers[0].securityContext.allowPrivilegeEscalation must": _container("sidecar"),
    ".spec.initContainers[0].securityContext.allowPrivilegeEscalation": _pod(
        initContainers=[{"name": "first", "image": "x"}]
    ),
    # Who the pod acts as.
    ".spec.serviceAccountName": _pod(serviceAccountName="admin"),
    ".spec.serviceAccount": _pod(serviceAccount="admin"),
    ".spec.automountServiceAccountToken": _pod(automountServiceAccountToken=True),
    ".spec.volumes[0].projected.sources[0].serviceAccountToken": _pod(
        volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    ),
}

ALLOWED: list[dict[str, Any]] = [
    _pod(nodeSelector={"pool": "gpu"}, tolerations=[{"operator": "Exists"}]),
    _pod(imagePullSecrets=[{"name": "registry"}], priorityClassName="high"),
    _pod(volumes=[{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]),
    _container(env=[{"name": "HF_HOME", "value": "/models"}]),
    _container(
        "sidecar", image="x", securityContext={**container_security(), "runAsUser": 1234}
    ),
    _context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    _pod(serviceAccountName="search-retriever", automountServiceAccountToken=True),
    _pod(serviceAccountName=None),
    {"metadata": {"labels": {"team": "a"}}},
]  # fmt: skip


def _refused(plan: Plan) -> str:
    assert told(plan, "Stalled") == ("True", "ForbiddenByPolicy")
    assert plan.hands_off
    assert not plan.objects
    return str(condition(plan, "Stalled")["message"])


@pytest.mark.parametrize("path", FORBIDDEN)
def test_what_the_restricted_standard_forbids_is_refused_with_its_path(path: str) -> None:
    spec = {"serving": {"podTemplate": FORBIDDEN[path]}}
    assert f"{SERVING}{path}" in _refused(plan_retriever(retriever(spec)))


@pytest.mark.parametrize("path", FORBIDDEN)
def test_unrestricted_makes_what_is_asked_for(path: str) -> None:
    spec = {"serving": {"podTemplate": FORBIDDEN[path]}}
    plan = plan_retriever(retriever(spec, settings=UNRESTRICTED))
    assert told(plan, "Stalled")[0] == "False"
    assert "Deployment" in [each["kind"] for each in plan.objects]


@pytest.mark.parametrize("template", ALLOWED)
def test_what_it_allows_is_made(template: dict[str, Any]) -> None:
    plan = plan_retriever(retriever({"serving": {"podTemplate": template}}))
    assert told(plan, "Stalled")[0] == "False"


@pytest.mark.parametrize("path", FORBIDDEN)
def test_ingestion_pods_obey_the_same_policy(path: str) -> None:
    template = copy.deepcopy(FORBIDDEN[path])
    for each in template.get("spec", {}).get("containers", ()):
        each["name"] = each["name"].replace("serving", "ingestion")
    spec = {"ingestion": {"podTemplate": template}}
    said = _refused(plan_collection(collection(EDGE, PHOTOS, spec)))
    assert f"spec.ingestion.podTemplate{path.replace('[serving]', '[ingestion]')}" in said


def _ray(**cluster: Any) -> dict[str, Any]:
    return {"serving": {"runtime": "KubeRay", "rayCluster": cluster}}


@pytest.mark.parametrize("path", [path for path in FORBIDDEN if "[serving]" not in path])
def test_a_ray_cluster_obeys_it_in_every_group(path: str) -> None:
    template = FORBIDDEN[path]
    for cluster, at in (
        ({"headGroupSpec": {"template": template}}, ".headGroupSpec.template"),
        (
            {"workerGroupSpecs": [{"groupName": "serving", "template": template}]},
            ".workerGroupSpecs[0].template",
        ),
    ):
        said = _refused(plan_retriever(retriever(_ray(**cluster))))
        assert f"spec.serving.rayCluster{at}{path}" in said


@pytest.mark.parametrize(
    ("cluster", "path"),
    [
        (
            {"workerGroupSpecs": [{"groupName": "more", "template": _container("x", image="x")}]},
            ".workerGroupSpecs[0].template.spec.containers[0].securityContext.runAsNonRoot",
        ),
        (
            {"autoscalerOptions": {"securityContext": {"privileged": True}}},
            ".autoscalerOptions.securityContext.privileged",
        ),
        ({"headGroupSpec": {"enableIngress": True}}, ".headGroupSpec.enableIngress"),
        (
            {"headGroupSpec": {"headService": {"spec": {"type": "LoadBalancer"}}}},
            ".headGroupSpec.headService",
        ),
    ],
)
def test_what_ray_clusters_have_beside_templates_obeys_it_too(
    cluster: dict[str, Any], path: str
) -> None:
    assert f"spec.serving.rayCluster{path}" in _refused(plan_retriever(retriever(_ray(**cluster))))


@given(
    names=st.lists(st.sampled_from(["serving", "sidecar"]), max_size=2, unique=True),
    paths=st.lists(st.sampled_from(sorted(FORBIDDEN)), max_size=3),
    allowed=st.lists(st.sampled_from(range(len(ALLOWED))), max_size=3),
)
def test_a_pod_that_is_made_is_one_that_the_standard_takes(
    names: list[str], paths: list[str], allowed: list[int]
) -> None:
    template: dict[str, Any] = {"spec": {}}
    for part in (*(FORBIDDEN[p] for p in paths), *(ALLOWED[i] for i in allowed)):
        for key, value in part.items():
            if isinstance(value, dict):
                template[key] = {**template.get(key, {}), **copy.deepcopy(value)}
    if names:
        template["spec"]["containers"] = [
            *template["spec"].get("containers", ()),
            *({"name": name} for name in names if name != "serving"),
        ]
    plan = plan_retriever(retriever({"serving": {"podTemplate": template}}))
    made = [each for each in plan.objects if each["kind"] == "Deployment"]
    for deployment in made:
        assert list(violations(deployment["spec"]["template"])) == []
    base = {
        "spec": {
            "securityContext": pod_security(),
            "containers": [{"name": "serving", "securityContext": container_security()}],
        }
    }
    if not made:
        # Not for nothing: the standard or the ServiceAccounts are behind every refusal.
        whole = with_pod_template(base, template, {})
        spec = whole["spec"]
        assert (
            list(violations(whole))
            or spec.get("serviceAccountName")
            or spec.get("serviceAccount")
            or spec.get("automountServiceAccountToken")
            or any("projected" in each for each in spec.get("volumes", ()))
        )
