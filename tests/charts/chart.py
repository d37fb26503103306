"""The chart as Helm renders it: one call, objects back.

Helm is looked for in LOOKALIKE_HELM, on the PATH, and where `make cluster` builds it; nothing is
built here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from e2e.cluster.binaries import HELM, have

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "lookalike"
VALUES = Path(__file__).parent / "values"
GOLDEN = Path(__file__).parent / "golden"
NAMESPACE = "lookalike-system"
_SECONDS = 300

Object = dict[str, Any]


class Refused(Exception):
    """Helm did not render; the message is what it printed."""


@cache
def find_helm() -> Path | None:
    """A Helm that is there already, or None."""
    if given := os.environ.get("LOOKALIKE_HELM"):
        return Path(given)
    if found := shutil.which("helm"):
        return Path(found)
    return HELM.built / "helm" if have(HELM) else None


@dataclass(frozen=True, slots=True)
class Helm:
    """One Helm program, with a home of its own so that nobody's settings matter."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str) -> str:
        """Standard output. Raises Refused."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "HELM_CACHE_HOME": str(self.home / "cache"),
            "HELM_CONFIG_HOME": str(self.home / "config"),
            "HELM_DATA_HOME": str(self.home / "data"),
            **({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}),
        }
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def template(
        self, *values: Path, settings: Iterable[str] = (), namespace: str = NAMESPACE
    ) -> str:
        """The chart rendered as release `lookalike`. `settings`: `key=value`, as `--set` takes."""
        arguments = ["template", "lookalike", str(CHART), "--namespace", namespace]
        for path in values:
            arguments += ["--values", str(path)]
        for setting in settings:
            arguments += ["--set", setting]
        return self.run(*arguments)

    def objects(self, *values: Path, settings: Iterable[str] = ()) -> list[Object]:
        """What stays installed."""
        return [o for o in parsed(self.template(*values, settings=settings)) if not is_hook(o)]

    def hooks(self, *values: Path, settings: Iterable[str] = ()) -> list[Object]:
        """What is there for a moment when the release is uninstalled."""
        return [o for o in parsed(self.template(*values, settings=settings)) if is_hook(o)]


def parsed(text: str) -> list[Object]:
    return [each for each in yaml.safe_load_all(text) if each]


def is_hook(each: Object) -> bool:
    return "helm.sh/hook" in (each["metadata"].get("annotations") or {})


def one(objects: Iterable[Object], kind: str, name: str | None = None) -> Object:
    """The only object of a kind (and name)."""
    (found,) = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    return found


def kinds(objects: Iterable[Object]) -> set[str]:
    return {each["kind"] for each in objects}


def environment(deployment: Object) -> Mapping[str, str]:
    """Literal variables of the operator's container."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}
