"""A namespace for the tests of one module, furnished and cleared away.

Pods in it are held to the restricted pod security standard. The serving environment – Python with
Ray, torch and the project – comes into pods as a read-only volume, through the public
`podTemplate` of both kinds, instead of an image of some gigabytes that would be built anew for each
change of the code.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.api import Api, Object
from e2e.cluster.paths import ROOT
from e2e.cluster.serving_env import ServingEnvironment
from e2e.tests.endpoint import Endpoint
from e2e.tests.waiting import story, until
from lookalike_serving.demo.catalogue import METADATA_FILE, render_catalogue

EXAMPLES = ROOT / "examples" / "cluster"
_GROUP = "/apis/lookalike.dev/v1alpha1"
_OURS = "app.kubernetes.io/managed-by=lookalike-operator"
_LISTED = (
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/services",
    "/api/v1/namespaces/{}/configmaps",
    "/api/v1/namespaces/{}/secrets",
    "/api/v1/namespaces/{}/persistentvolumeclaims",
    "/apis/apps/v1/namespaces/{}/deployments",
    "/apis/batch/v1/namespaces/{}/jobs",
    "/apis/batch/v1/namespaces/{}/cronjobs",
    "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
)


@dataclass(slots=True)
class Stage:
    """One namespace."""

    api: Api
    namespace: str
    environment: ServingEnvironment
    folder: Path
    """For files of this stage on this machine."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    _pictures: Path | None = None

    # -- where things are --------------------------------------------------------------------------

    def collection(self, name: str) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}/imagecollections/{name}"

    def retriever(self, name: str) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}/retrievers/{name}"

    def pod(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"

    def pods(self, selector: str) -> list[Object]:
        listed = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)
        return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]

    def serving_pod(self, retriever: str) -> Object:
        """The one pod that serves."""
        selector = f"app.kubernetes.io/component=serving,lookalike.dev/name={retriever}"
        [pod] = self.pods(selector)
        return pod

    def children(self) -> list[str]:
        """Everything of the operator's in this namespace."""
        found: list[str] = []
        for path in _LISTED:
            listed = self.api.get(path.format(self.namespace), labelSelector=_OURS)
            kind = listed["kind"].removesuffix("List")
            found += [f"{kind}/{each['metadata']['name']}" for each in listed["items"]]
        return found

    # -- what is done ------------------------------------------------------------------------------

    def apply(self, manifest: Object) -> Object:
        return self.api.apply(manifest, self.namespace)

    def apply_example(self, name: str, **changes: Object) -> None:
        """Apply a file of examples/cluster as it stands, but for the serving environment.

        `changes`: kind -> a merge patch for its resources.
        """
        for document in yaml.safe_load_all((EXAMPLES / name).read_text()):
            if document["apiVersion"].startswith("lookalike.dev/"):
                document = _merged(document, changes.get(document["kind"], {}))
                document = self.with_environment(document)
            if document["kind"] != "Namespace":
                self.apply(document)

    def change_default(self, endpoint: Endpoint, top_k: int) -> None:
        """Change `search.topK` of a Retriever; returns once answers have so many results."""
        retriever = self.retriever(endpoint.retriever)
        self.api.patch(retriever, {"spec": {"search": {"topK": top_k}}})
        until(
            f"answer of {top_k} results",
            lambda: len(endpoint.search_by_words("a mug")) == top_k or None,
            180,
            lambda: story(self.api, retriever),
        )

    def with_environment(self, document: Object) -> Object:
        """The resource with the serving environment in its podTemplate."""
        container = "serving" if document["kind"] == "Retriever" else "ingestion"
        template = {
            "spec": {
                "volumes": self.environment_volumes(),
                "containers": [
                    {
                        "name": container,
                        "env": self.environment.environment(),
                        "volumeMounts": self.environment.volume_mounts(),
                    }
                ],
            }
        }
        part = "serving" if document["kind"] == "Retriever" else "ingestion"
        return _merged(document, {"spec": {part: {"podTemplate": template}}})

    def environment_volumes(self) -> list[Object]:
        """As claims: the restricted standard allows no hostPath."""
        return [
            {
                "name": volume["name"],
                "persistentVolumeClaim": {"claimName": volume["name"], "readOnly": True},
            }
            for volume in self.environment.volumes()
        ]

    def catalogue(self, claim: str, count: int) -> None:
        """A claim with a rendered catalogue in its folder `catalogue`, as the examples expect."""
        self._pictures = self.folder / claim / "catalogue"
        render_catalogue(self._pictures, count, seed=11)
        _readable(self._pictures.parent)
        lines = (self._pictures / METADATA_FILE).read_text().splitlines()
        self.entries = [json.loads(line) for line in lines]
        self._bind(claim, self._pictures.parent, "ReadOnlyMany")

    def picture(self, entry: dict[str, Any]) -> Path:
        assert self._pictures is not None
        return self._pictures / str(entry["file"])

    def start_qdrant_stand_in(self, name: str) -> None:
        """A pod that speaks Qdrant's protocol, and its Service."""
        labels = {"app": name}
        environment = self.environment
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "qdrant",
                            "image": environment.image,
                            "imagePullPolicy": "Never",
                            "command": ["python", "-m", "tests.qdrant_server"],
                            "args": ["--host", "0.0.0.0"],
                            "workingDir": "/checkout",
                            "env": environment.environment(),
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "readinessProbe": {
                                "httpGet": {"path": "/readyz", "port": 6333},
                                "periodSeconds": 2,
                            },
                            "volumeMounts": [
                                *environment.volume_mounts(),
                                {"name": "tests", "mountPath": "/checkout/tests"},
                            ],
                        }
                    ],
                    "volumes": [
                        *self.environment_volumes(),
                        {"name": "tests", "persistentVolumeClaim": {"claimName": "tests"}},
                    ],
                },
            }
        )
        self._bind("tests", ROOT / "tests", "ReadOnlyMany")
        ports = [{"name": n, "port": p} for n, p in (("http", 6333), ("grpc", 6334))]
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"selector": labels, "ports": ports},
            }
        )

    def until_gone(self, path: str, seconds: float) -> None:
        until(
            f"end of {path}",
            lambda: True if self.api.find(path) is None else None,
            seconds,
            lambda: f"it is still there: {self.api.find(path)}",
        )

    def furnish(self) -> None:
        """The namespace, restricted, and the serving environment's claim."""
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": self.namespace,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }
        )
        until(
            "default ServiceAccount",
            lambda: self.api.find(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"),
            60,
            lambda: "the controller manager makes it",
        )
        for volume in self.environment.volumes():
            self._bind(volume["name"], Path(volume["hostPath"]["path"]), "ReadOnlyMany")

    def clear(self) -> None:
        """Everything away, our resources first, since the operator has to see them go."""
        for plural in ("retrievers", "imagecollections"):
            path = f"{_GROUP}/namespaces/{self.namespace}/{plural}"
            for each in self.api.get(path)["items"]:
                self.api.delete(f"{path}/{each['metadata']['name']}")
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        self.until_gone(f"/api/v1/namespaces/{self.namespace}", 180)
        for volume in self.api.get("/api/v1/persistentvolumes")["items"]:
            if volume["spec"].get("claimRef", {}).get("namespace") == self.namespace:
                self.api.delete(f"/api/v1/persistentvolumes/{volume['metadata']['name']}")

    def _bind(self, claim: str, folder: Path, mode: str) -> None:
        """A claim bound to a folder of this machine."""
        capacity = {"storage": "1Gi"}
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{self.namespace}-{claim}"},
                "spec": {
                    "capacity": capacity,
                    "accessModes": [mode],
                    "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(folder), "type": "Directory"},
                    "claimRef": {"namespace": self.namespace, "name": claim},
                },
            }
        )
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim},
                "spec": {
                    "accessModes": [mode],
                    "storageClassName": "",
                    "volumeName": f"{self.namespace}-{claim}",
                    "resources": {"requests": capacity},
                },
            }
        )


@dataclass(frozen=True, slots=True)
class Stages:
    """Opens namespaces on the cluster under test."""

    api: Api
    environment: ServingEnvironment
    folder: Path

    @contextmanager
    def open(self, name: str) -> Iterator[Stage]:
        stage = Stage(self.api, f"e2e-{name}", self.environment, self.folder / name)
        stage.furnish()
        try:
            yield stage
        finally:
            stage.clear()


def _readable(folder: Path) -> None:
    """For pods, which run as somebody else; folders above are not in their sight."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _merged(document: Object, change: Object) -> Object:
    """A JSON merge patch, as RFC 7396 has it."""
    result = copy.deepcopy(document)
    for key, value in change.items():
        if isinstance(value, dict):
            inner = result.get(key)
            result[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result
