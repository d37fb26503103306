"""The operator, installed as its users install it: by Helm, from charts/lookalike."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from e2e.cluster import binaries
from e2e.cluster.paths import ROOT
from e2e.cluster.serving_env import ServingEnvironment

NAMESPACE = "lookalike-system"
RELEASE = "lookalike"
_CHART = ROOT / "charts" / "lookalike"
_SECONDS = 150


class Chart:
    """One release on one cluster."""

    def __init__(self, kubeconfig: Path, environment: ServingEnvironment, folder: Path) -> None:
        self._kubeconfig = kubeconfig
        self._environment = environment
        self._values = folder / "values.json"
        self._more: dict[str, Any] = {}

    def install(self, **more: Any) -> None:
        """Install; returns when the operator is ready. `more`: values, as JSON."""
        self._more = more
        self._apply({**self._mounted(), **more})

    def upgrade_to_image(self, image: str) -> None:
        """Upgrade to an operator out of its own image, which the node has."""
        self._apply({"image": _image(image), "serving": self._serving(), **self._more})

    def _apply(self, values: dict[str, Any]) -> None:
        self._values.write_text(json.dumps(values))
        self._helm(
            *("upgrade", "--install", RELEASE, str(_CHART), "--create-namespace"),
            *("--values", str(self._values), "--wait", "--timeout", f"{_SECONDS}s"),
        )

    def uninstall(self) -> None:
        self._helm("uninstall", RELEASE, "--wait", "--ignore-not-found")

    def _serving(self) -> dict[str, Any]:
        return {"image": _image(self._environment.image)}

    def _mounted(self) -> dict[str, Any]:
        """The operator out of the mounted environment, as the serving pods of these tests are."""
        environment = self._environment
        return {
            "image": _image(environment.image),
            "serving": self._serving(),
            "command": ["python", "-m", "lookalike_operator"],
            "env": environment.environment(),
            "volumes": environment.volumes(),
            "volumeMounts": environment.volume_mounts(),
        }

    def _helm(self, *arguments: str) -> None:
        command = [str(binaries.program("helm")), *arguments, "--namespace", NAMESPACE]
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
                *(str(binaries.program("kubectl")), "--kubeconfig", str(self._kubeconfig)),
                *("-n", NAMESPACE, "describe", "pods"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout[-3000:]


def _image(name: str) -> dict[str, str]:
    repository, _, tag = name.partition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "Never"}
