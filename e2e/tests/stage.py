"""A namespace for the tests of one module, furnished and cleared away.

Pods in it are held to the restricted pod security standard. On this machine's node the serving
environment – Python with Ray, torch and the project – may come into pods as a read-only volume,
through the public `podTemplate` of both kinds, instead of an image of some gigabytes that would be
built anew for each change of the code.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import restricted
from e2e.cluster.api import Api, Object, Refused
from e2e.cluster.paths import ROOT
from e2e.cluster.serving_env import ServingEnvironment
from e2e.tests.endpoint import Endpoint
from e2e.tests.target import Target
from e2e.tests.waiting import story, until
from lookalike_serving.demo.catalogue import METADATA_FILE, render_catalogue

EXAMPLES = ROOT / "examples" / "cluster"
_STAND_IN = ROOT / "tests" / "qdrant_server"
_SEED = 11
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

    target: Target
    namespace: str
    pictures: Path
    """The folder of this machine for the same pictures as in the cluster."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """What the catalogue's file says of each picture."""

    @property
    def api(self) -> Api:
        return self.target.api

    @property
    def environment(self) -> ServingEnvironment:
        return self.target.environment

    # -- where things are --------------------------------------------------------------------------

    def collection(self, name: str) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}/imagecollections/{name}"

    def retriever(self, name: str) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}/retrievers/{name}"

    def pod(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"

    def pods(self, selector: str, *, ending: bool = False) -> list[Object]:
        """Of these labels; `ending`: those on their way out, too."""
        listed = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)
        pods = listed["items"]
        return [pod for pod in pods if ending or "deletionTimestamp" not in pod["metadata"]]

    def serving_pod(self, retriever: str) -> Object:
        """The one pod that serves."""
        selector = f"app.kubernetes.io/component=serving,lookalike.dev/name={retriever}"
        [pod] = self.pods(selector)
        return pod

    def endpoint(self, retriever: str) -> Endpoint:
        """As it is now: a Service that was made anew has another address."""
        service = self.api.get(f"/api/v1/namespaces/{self.namespace}/services/{retriever}")
        secret = self.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{retriever}-api-keys")
        keys = base64.b64decode(secret["data"]["keys"]).decode().split()
        route = self.target.route
        return Endpoint(retriever, route.to(service), keys[0], route)

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
        for document in self.example(name, **changes):
            if document["kind"] != "Namespace":
                self.apply(document)

    def example(self, name: str, **changes: Object) -> list[Object]:
        """The resources of a file of examples/cluster, as they are applied."""
        documents: list[Object] = []
        for document in yaml.safe_load_all((EXAMPLES / name).read_text()):
            if document["apiVersion"].startswith("lookalike.dev/"):
                document = _merged(document, changes.get(document["kind"], {}))
                document = self.with_environment(document)
            documents.append(document)
        return documents

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

    def evict(self, pod: str) -> None:
        """As `kubectl drain` does."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        path = f"{self.pod(pod)}/eviction"

        def allowed() -> bool:
            try:
                self.api.create(path, eviction)
            except Refused as refusal:
                if refusal.status == 429:  # its disruption budget does not allow it yet
                    return False
                raise
            return True

        until(f"eviction of {pod}", lambda: allowed() or None, 60, lambda: "its budget forbids it")

    def with_environment(self, document: Object) -> Object:
        """The resource with the serving environment in its podTemplate."""
        part = "serving" if document["kind"] == "Retriever" else "ingestion"
        template = {
            "spec": {
                "volumes": self.environment_volumes(),
                "containers": [
                    {
                        "name": part,  # the container is called as its part of the spec
                        "env": self.environment.environment(),
                        "volumeMounts": self.environment.volume_mounts(),
                    }
                ],
            }
        }
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

    def catalogue(self, count: int) -> None:
        """The claim `product-images` of the examples, with pictures that a Job draws into it."""
        render_catalogue(self.pictures, count, seed=_SEED)
        lines = (self.pictures / METADATA_FILE).read_text().splitlines()
        self.entries = [json.loads(line) for line in lines]
        for document in yaml.safe_load_all((EXAMPLES / "images.yaml").read_text()):
            if document["kind"] == "Job":
                self._with_serving_image(document["spec"]["template"]["spec"])
                [container] = document["spec"]["template"]["spec"]["containers"]
                script, *arguments = container["command"]
                assert script == "lookalike"
                arguments[arguments.index("--count") + 1] = str(count)
                more = ["--seed", str(_SEED)]
                container["command"] = [*self.environment.script(script), *arguments, *more]
            self.apply(document)
        job = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/draw-product-images"
        until(
            "catalogue",
            lambda: self.api.get(job)["status"].get("succeeded"),
            300,
            lambda: story(self.api, job),
        )

    def picture(self, entry: dict[str, Any]) -> Path:
        return self.pictures / str(entry["file"])

    def start_qdrant(self, name: str) -> None:
        """A Qdrant server if the target has one, else what speaks its protocol; its Service."""
        labels = {"app": name}
        container = {
            "image": self.target.qdrant_image or self.environment.image,
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 6333}, "periodSeconds": 2},
        }
        pod = restricted.pod(name, container, labels=labels, automountServiceAccountToken=False)
        if self.target.qdrant_image:
            self._hold_data(pod["spec"])
        else:
            self._stand_in(pod["spec"])
        self.apply(pod)
        ports = [{"name": n, "port": p} for n, p in (("http", 6333), ("grpc", 6334))]
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"selector": labels, "ports": ports},
            }
        )

    def run(self, script: Path, *arguments: str, seconds: float = 120) -> str:
        """What a Python file prints in a pod of the serving image, without rights and keys."""
        name = script.stem
        code = {"name": "code", "configMap": {"name": name}}
        content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        self.apply({**content, "data": {script.name: script.read_text()}})
        container = {
            "command": ["python", f"/code/{script.name}", *arguments],
            "volumeMounts": [{"name": "code", "mountPath": "/code"}],
        }
        pod = restricted.pod(
            name,
            container,
            automountServiceAccountToken=False,
            restartPolicy="Never",
            volumes=[code],
        )
        self._with_serving_image(pod["spec"])
        self.apply(pod)
        path = self.pod(name)

        def ended() -> bool | None:
            return self.api.get(path)["status"]["phase"] in {"Succeeded", "Failed"} or None

        until(f"end of {name}", ended, seconds, lambda: story(self.api, path))
        printed = self.api.text(f"{path}/log")
        assert self.api.get(path)["status"]["phase"] == "Succeeded", printed
        self.api.delete(path)
        return printed

    def _hold_data(self, pod: Object) -> None:
        """Where a Qdrant server that is nobody's root may write."""
        [container] = pod["containers"]
        container["env"] = [
            {"name": "QDRANT_INIT_FILE_PATH", "value": "/qdrant/storage/.qdrant-initialized"},
            {"name": "QDRANT__STORAGE__SNAPSHOTS_PATH", "value": "/qdrant/storage/snapshots"},
        ]
        container["volumeMounts"] = [{"name": "storage", "mountPath": "/qdrant/storage"}]
        pod["volumes"] = [{"name": "storage", "emptyDir": {}}]

    def _stand_in(self, pod: Object) -> None:
        """The server of tests/qdrant_server, out of the serving environment."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "qdrant-stand-in"},
                "data": {file.name: file.read_text() for file in _STAND_IN.glob("*.py")},
            }
        )
        self._with_serving_image(pod)
        [container] = pod["containers"]
        container |= {
            "command": ["python", "-m", "tests.qdrant_server", "--host", "0.0.0.0"],
            "workingDir": "/checkout",
        }
        mount = {"name": "stand-in", "mountPath": "/checkout/tests/qdrant_server"}
        container["volumeMounts"].append(mount)
        pod["volumes"].append({"name": "stand-in", "configMap": {"name": "qdrant-stand-in"}})

    def _with_serving_image(self, pod: Object) -> None:
        """Give a pod of ours, of one container, what serving pods run."""
        [container] = pod["containers"]
        container["image"] = self.environment.image
        environment, mounts = self.environment.environment(), self.environment.volume_mounts()
        container["env"] = [*container.get("env", ()), *environment]
        container["volumeMounts"] = [*container.get("volumeMounts", ()), *mounts]
        pod["volumes"] = [*pod.get("volumes", ()), *self.environment_volumes()]

    def until_gone(self, path: str, seconds: float) -> None:
        until(
            f"end of {path}",
            lambda: True if self.api.find(path) is None else None,
            seconds,
            lambda: f"it is still there: {self.api.find(path)}",
        )

    def furnish(self) -> None:
        """The namespace, restricted, and the serving environment's claims."""
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
            self._bind(volume["name"], Path(volume["hostPath"]["path"]))

    def clear(self) -> None:
        """Everything away, our resources first, since the operator has to see them go. Pods do not
        wait for clients that they no longer have."""
        going = [
            f"{_GROUP}/namespaces/{self.namespace}/{plural}/{each['metadata']['name']}"
            for plural in ("retrievers", "imagecollections")
            for each in self.api.get(f"{_GROUP}/namespaces/{self.namespace}/{plural}")["items"]
        ]
        for path in going:
            self.api.delete(path)
        for path in going:
            self.until_gone(path, 180)
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        self.api.delete(f"/api/v1/namespaces/{self.namespace}/pods", grace_seconds=1)
        self.until_gone(f"/api/v1/namespaces/{self.namespace}", 180)
        for volume in self.api.get("/api/v1/persistentvolumes")["items"]:
            if volume["spec"].get("claimRef", {}).get("namespace") == self.namespace:
                self.api.delete(f"/api/v1/persistentvolumes/{volume['metadata']['name']}")

    def _bind(self, claim: str, folder: Path) -> None:
        """A claim bound to a folder of this machine, to read."""
        capacity, mode = {"storage": "1Gi"}, "ReadOnlyMany"
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

    target: Target
    folder: Path

    @contextmanager
    def open(self, name: str) -> Iterator[Stage]:
        stage = Stage(self.target, f"e2e-{name}", self.folder / name)
        stage.furnish()
        try:
            yield stage
        finally:
            stage.clear()


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
