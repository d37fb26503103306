"""What the node needs of Debian, installed where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.errors import Unavailable

PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "/usr/bin/python3.11": "python3.11",
}
"""Program or file -> the package that has it."""
CONTROL_PLANE = ("etcd", "openssl")
_POLICY = Path("/usr/sbin/policy-rc.d")


class Missing(Unavailable):
    """Packages are missing and cannot be installed by this user."""


def ensure(*programs: str) -> None:
    """Install the packages of the programs named (all of them where none is). Raises Missing."""
    wanted = [PACKAGES[p] for p in (programs or PACKAGES) if not _there(p)]
    if not wanted:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(f"these packages are needed: as root, apt install {' '.join(wanted)}")
    print(f"installing {' '.join(wanted)}", file=sys.stderr, flush=True)
    with _no_services():
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", "--no-install-recommends", *wanted)


def _there(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


@contextmanager
def _no_services() -> Iterator[None]:
    """Packages start their services when they are installed; these are to lie still."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _apt(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        # Another installation may hold the lock.
        ["apt-get", "-o", "DPkg::Lock::Timeout=600", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Missing(f"apt-get {' '.join(arguments)} failed: {done.stderr[-1000:]}")
