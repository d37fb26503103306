"""The project and its locked requirements, mounted into pods of the base image.

An image with torch and Ray is gigabytes, and each change of the code would make another. For the
end-to-end tests the public `podTemplate` mounts two folders of this machine instead, read-only:

- `/opt/lookalike/venv`: a virtual environment of Debian's own Python, with the versions of
  requirements.lock; made once for each lock file;
- `/opt/lookalike/app`: the project as its wheel installs it; made anew when the code has changed.

    python -m e2e.cluster serving-env     # makes both, prints what to put into a podTemplate

`of_image` is the other way: an image that has it all, built from docker/serving.Dockerfile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import debian
from e2e.cluster.errors import Unavailable
from e2e.cluster.images import BASE
from e2e.cluster.locks import locked
from e2e.cluster.paths import ROOT, cache

PYTHON = "/usr/bin/python3.11"
VENV = "/opt/lookalike/venv"
APP = "/opt/lookalike/app"
_SECONDS = 1800
_FINISHED = ".finished"


@dataclass(frozen=True, slots=True)
class ServingEnvironment:
    """An image, and what is mounted into it: nothing, or two folders of this machine."""

    image: str
    venv: Path | None = None
    app: Path | None = None

    def environment(self) -> list[dict[str, str]]:
        """A container's `env`."""
        if self.app is None:
            return []
        return [
            {"name": "PATH", "value": f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin"},
            {"name": "PYTHONPATH", "value": APP},
            # The folders are read-only: nothing to write bytecode to.
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ]

    def script(self, name: str) -> list[str]:
        """The command of a script of the project: those that are mounted name another Python."""
        return [name] if self.app is None else ["python", f"{APP}/bin/{name}"]

    def volumes(self) -> list[dict[str, Any]]:
        """A pod's `volumes`."""
        folders = (("lookalike-venv", self.venv), ("lookalike-app", self.app))
        return [
            {"name": name, "hostPath": {"path": str(path), "type": "Directory"}}
            for name, path in folders
            if path is not None
        ]

    def volume_mounts(self) -> list[dict[str, Any]]:
        """A container's `volumeMounts`."""
        paths = {"lookalike-venv": VENV, "lookalike-app": APP}
        return [
            {"name": volume["name"], "mountPath": paths[volume["name"]], "readOnly": True}
            for volume in self.volumes()
        ]

    def pod_template(self, container: str, **more: Any) -> dict[str, Any]:
        """A `podTemplate` that gives a container all of it; `more` goes to the container."""
        mounted = {
            "name": container,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "env": self.environment(),
            "volumeMounts": self.volume_mounts(),
            **more,
        }
        return {"spec": {"volumes": self.volumes(), "containers": [mounted]}}


def ensure() -> ServingEnvironment:
    """Make what is missing. Raises Unavailable."""
    debian.ensure(PYTHON)
    with locked(cache() / "serving-env.lock"):
        return ServingEnvironment(BASE, _venv(), _app())


def of_image(image: str) -> ServingEnvironment:
    """Of an image that the cluster has, or can pull."""
    return ServingEnvironment(image)


def _venv() -> Path:
    lock = ROOT / "requirements.lock"
    venv = cache() / f"venv-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not (venv / _FINISHED).exists():
        print("making the pods' virtual environment (once; a minute)", file=sys.stderr, flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        # Relocatable: in pods it lies elsewhere, and its scripts name their interpreter.
        _uv("venv", "--quiet", "--relocatable", "--python", PYTHON, str(venv))
        _uv("pip", "sync", "--quiet", "--python", str(venv / "bin" / "python"), str(lock))
        _compile(venv / "bin" / "python", venv / "lib")
        (venv / _FINISHED).touch()
        _forget_old(venv, 1)
    return venv


def _app() -> Path:
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        _uv("build", "--quiet", "--wheel", "--out-dir", folder, str(ROOT))
        wheel = next(Path(folder).glob("*.whl"))
        app = cache() / f"app-{hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]}"
        if not (app / _FINISHED).exists():
            shutil.rmtree(app, ignore_errors=True)
            _uv(
                *("pip", "install", "--quiet", "--no-deps", "--python", PYTHON),
                *("--target", str(app), str(wheel)),
            )
            _compile(Path(PYTHON), app)
            (app / _FINISHED).touch()
            _forget_old(app, 4)
    return app


def _forget_old(current: Path, kept: int) -> None:
    """All but the newest few of its kind: a pod that runs still reads its own."""
    kind = current.name.split("-")[0]
    others = [each for each in cache().glob(f"{kind}-*") if each != current]
    for old in sorted(others, key=lambda path: -path.stat().st_mtime)[kept:]:
        shutil.rmtree(old, ignore_errors=True)


def _compile(python: Path, folder: Path) -> None:
    """Pods cannot keep bytecode: without it torch takes half a minute to import, each time."""
    command = [str(python), "-m", "compileall", "-q", "-j", "0", str(folder)]
    # Some packages carry templates that are no Python: their errors are theirs.
    subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)


def _uv(*arguments: str) -> None:
    # Of uv's own settings and this environment's nothing may leak into what is made.
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise Unavailable(f"uv {' '.join(arguments[:2])} failed: {done.stderr[-2000:]}")
