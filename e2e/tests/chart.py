"""The operator, installed as its users install it: by Helm, from charts/lookalike."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from e2e.cluster import binaries
from e2e.cluster.api import Api
from e2e.cluster.paths import ROOT
from e2e.tests.target import SYSTEM, Target

RELEASE = "lookalike"
_CHART = ROOT / "charts" / "lookalike"
_SECONDS = 150


class Chart:
    """One release on one cluster."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._kubeconfig = target.kubeconfig
        self._environment = target.environment
        self._values = folder / "values.json"
        self._more: dict[str, Any] = {}

    def install(self, image: str | None = None, **more: Any) -> None:
        """Install or upgrade; returns when the operator is ready.

        `image`: the operator's own, which the cluster has; None: out of the serving environment.
        `more`: values, as JSON; an upgrade keeps them.
        """
        self._more |= more
        operator = self._mounted() if image is None else {"image": _image(image)}
        serving = {"image": _image(self._environment.image)}
        self._values.write_text(json.dumps({**operator, "serving": serving, **self._more}))
        self._helm(
            *("upgrade", "--install", RELEASE, str(_CHART), "--create-namespace"),
            *("--values", str(self._values), "--wait", "--timeout", f"{_SECONDS}s"),
        )

    def images(self) -> set[str]:
        """Of the operator's containers, as they run."""
        selector = "app.kubernetes.io/component=operator"
        path = f"/api/v1/namespaces/{SYSTEM}/pods"
        listed = Api(self._kubeconfig).get(path, labelSelector=selector)["items"]
        living = [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]
        return {each["image"] for pod in living for each in pod["spec"]["containers"]}

    def uninstall(self) -> None:
        self._helm("uninstall", RELEASE, "--wait", "--ignore-not-found")

    def _mounted(self) -> dict[str, Any]:
        """The operator out of the mounted environment, as the serving pods of these tests are."""
        environment = self._environment
        return {
            "image": _image(environment.image),
            "command": ["python", "-m", "lookalike_operator"],
            "env": environment.environment(),
            "volumes": environment.volumes(),
            "volumeMounts": environment.volume_mounts(),
        }

    def _helm(self, *arguments: str) -> None:
        command = [str(binaries.found("helm")), *arguments, "--namespace", SYSTEM]
        done = subprocess.run(
            command,
            env=os.environ | {"KUBECONFIG": str(self._kubeconfig)},
            capture_output=True,
            text=True,
            timeout=_SECONDS + 60,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(
                f"helm {arguments[0]} failed: {done.stderr}\n{self._operator_log()}"
            )

    def _operator_log(self) -> str:
        done = subprocess.run(
            [
                *(str(binaries.found("kubectl")), "--kubeconfig", str(self._kubeconfig)),
                *("-n", SYSTEM, "describe", "pods"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout[-3000:]


def _image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}
