"""The images that a node has from the start – what holds a pod, and a Debian to run things in – and
Prometheus for the tests.

They are archives in the cache, made once. No registry serves images here, and none is asked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from e2e.cluster import archives, binaries
from e2e.cluster.archives import Defaults
from e2e.cluster.binaries import Module
from e2e.cluster.containers import PAUSE
from e2e.cluster.errors import Unavailable
from e2e.cluster.locks import locked
from e2e.cluster.paths import cache

BASE = "lookalike-e2e/base:bookworm"
PROMETHEUS = "lookalike-e2e/prometheus:test"
_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3.11", "wget")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 1800


def pause() -> Path:
    """The archive of the image that holds a pod's namespaces."""
    return _of_program(binaries.PAUSE, PAUSE)


def prometheus() -> Path:
    """The archive of the image PROMETHEUS."""
    return _of_program(binaries.PROMETHEUS, PROMETHEUS)


def base() -> Path:
    """The archive of a small Debian with Python. As root; raises Unavailable."""
    archive = _archive(f"base-{_SUITE}-{'-'.join(_PACKAGES)}.tar")
    with locked(archive.with_suffix(".lock")):
        if not archive.exists():
            print(f"making the image {BASE} (once; a minute)", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
                root, layer = Path(folder) / "root", Path(folder) / "layer.tar"
                _debootstrap(root)
                with tarfile.open(layer, "w") as tar:
                    tar.add(root, arcname=".", filter=_kept)
                archives.write(archive, BASE, layer, Defaults(environment={"PATH": _PATH}))
    return archive


def _of_program(module: Module, tag: str) -> Path:
    """One program, which needs nothing of a system beside it."""
    archive = _archive(f"{module.name}-{module.digest}.tar")
    with locked(archive.with_suffix(".lock")):
        if not archive.exists():
            program = binaries.program(module.name)
            with tempfile.TemporaryDirectory() as folder:
                layer = Path(folder) / "layer.tar"
                with tarfile.open(layer, "w") as tar:
                    tar.add(program, arcname=program.name)
                archives.write(archive, tag, layer, Defaults((f"/{program.name}",)))
    return archive


def _archive(name: str) -> Path:
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _debootstrap(root: Path) -> None:
    program = shutil.which("debootstrap", path=f"{_PATH}")
    if program is None:
        raise Unavailable("debootstrap is missing: as root, apt install debootstrap")
    command = [program, "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE]
    done = subprocess.run(
        [*command, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise Unavailable(f"debootstrap {_SUITE} failed: {done.stdout[-1500:]}")


def _kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Neither devices, which the runtime makes, nor what apt downloaded."""
    downloaded = ("./var/cache/apt/", "./var/lib/apt/lists/", "./dev/")
    if entry.isdev() or (entry.isfile() and entry.name.startswith(downloaded)):
        return None
    return entry
