"""A process as a pod's container runs it, without a cluster: Linux namespaces and no rights.

Own mounts and process ids (it is pid 1); user 10001, whom no passwd knows; no capabilities and no
way to gain any; everything read-only but `/tmp`, a /dev/shm of 64 MiB, and the folders said.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lookalike_serving

USER = 10001


def why_not() -> str | None:
    """Why such a process cannot be made here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces like a pod's are made by root on Linux"
    for tool in ("unshare", "setpriv", "mount", "nsenter"):
        if shutil.which(tool) is None:
            return f"there is no {tool} (util-linux)"
    probe = ["unshare", "--mount", "--pid", "--fork", "mount", "--make-rprivate", "/"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"namespaces cannot be made: {tried.stderr.strip()}"
    return None


def start(
    module: str, *arguments: str, writable: tuple[Path, ...], log: Path
) -> subprocess.Popen[bytes]:
    """`python -m module` in its pod; what is returned ends when that does. See `kill`.

    Of what lies in this machine's /tmp it sees the folders in `writable` alone, and Python and the
    checkout where they lie there.
    """
    # Python and this checkout as an image has them: where anybody may read.
    in_tmp = [folder for folder in _needed() if folder.is_relative_to("/tmp")]
    # The outer first: what is mounted into it comes after it.
    closed = {
        folder: top
        for folder in sorted(_needed() - set(in_tmp))
        if (top := _closed(folder)) is not None
    }
    aside = dict.fromkeys([*writable, *closed, *in_tmp])
    places = {folder: f"/mnt/{number}" for number, folder in enumerate(aside)}
    script = ["set -e", "mount -n --make-rprivate /", "mount -n -t tmpfs none /mnt"]
    for folder, place in places.items():
        script += [f"mkdir {place}", f"mount -n --bind {_quoted(folder)} {place}"]
    script += [
        "mount -n -t proc proc /proc",
        "mount -n -t tmpfs -o size=64m none /dev/shm",
        "chmod 1777 /dev/shm",
        "mount -n --bind / /",
        "mount -n -o remount,ro,bind /",
        "mount -n -t tmpfs none /tmp",
        "chmod 1777 /tmp",
        *(f"mount -n -t tmpfs -o mode=755 none {_quoted(top)}" for top in {*closed.values()}),
    ]
    for folder, place in places.items():
        script += [f"mkdir -p {_quoted(folder)}", f"mount -n --move {place} {_quoted(folder)}"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = shlex.join([sys.executable, "-m", module, *arguments])
    script.append(
        f"exec env -i {shlex.join(f'{k}={v}' for k, v in environment.items())} "
        f"setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs "
        f"--bounding-set=-all --inh-caps=-all {command}"
    )
    unshare = ["unshare", "--mount", "--pid", "--fork"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*unshare, "sh", "-c", "\n".join(script)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def first_process(pod: subprocess.Popen[bytes]) -> int:
    """Its pid 1, as this machine counts."""
    children = Path(f"/proc/{pod.pid}/task/{pod.pid}/children").read_text().split()
    return int(children[0])


def kill(pod: subprocess.Popen[bytes]) -> None:
    """End it and everything in it, at once: the kernel clears a namespace whose pid 1 ended.

    unshare's own way (--kill-child) does not outlive the change of user.
    """
    if pod.poll() is None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(first_process(pod), signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        pod.wait(30)
    pod.kill()
    pod.wait()


def _needed() -> set[Path]:
    checkout = Path(lookalike_serving.__path__[0]).parents[1]
    return {Path(sys.base_prefix), Path(sys.prefix), checkout}


def _closed(folder: Path) -> Path | None:
    """The topmost folder above it that others may not pass."""
    above = [*reversed(folder.parents)]
    return next((each for each in above if not each.stat().st_mode & 0o001), None)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
