"""What pods leave on the machine when nobody manages them any more, and how it is cleared.

Each process of a pod is in the node's own control group, and each mount beneath the state folder,
so that both are found whatever was killed before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CGROUP = "lookalike-e2e"
_ROOT = Path("/sys/fs/cgroup")
_LOGS = Path("/var/log/containers")
_SECONDS = 30.0


def make_control_group() -> None:
    """The kubelet wants the one it is to keep pods in to be there."""
    unified = (_ROOT / "cgroup.controllers").exists()
    if unified:
        wanted = (_ROOT / "cgroup.controllers").read_text().split()
        (_ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    for hierarchy in [_ROOT] if unified else _hierarchies():
        group = hierarchy / CGROUP
        group.mkdir(exist_ok=True)
        if unified:
            (group / "cgroup.subtree_control").write_text(
                " ".join(f"+{name}" for name in (group / "cgroup.controllers").read_text().split())
            )
        # Version 1 starts a set empty, and an empty one takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not unified and (group / file).exists():
                (group / file).write_text((hierarchy / file).read_text())


def clear(state: Path) -> None:
    """End what runs in pods, then their mounts, groups and log links."""
    _end(state)
    for mount in sorted(_mounts(state), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    for group in _groups():
        for folder in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
            if folder.is_dir():
                _remove(folder)
        _remove(group)
    if _LOGS.is_dir():
        for link in _LOGS.iterdir():
            if link.is_symlink() and str(link.readlink()).startswith(f"{state}/"):
                link.unlink()


def leftovers(state: Path) -> list[str]:
    """What of pods is still there, in words."""
    found = [f"process {pid} of a pod" for pid in _processes(state)]
    found += [f"mount {path}" for path in _mounts(state)]
    return found + [f"control group {path}" for path in _groups()]


def _end(state: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while pids := _processes(state):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} of pods outlive SIGKILL")
        time.sleep(0.05)


def _processes(state: Path) -> list[int]:
    """Of pods, and containerd's shims that hold them: those that were told our socket."""
    found = set()
    for group in _groups():
        for file in group.rglob("cgroup.procs"):
            try:
                found |= {int(pid) for pid in file.read_text().split()}
            except OSError:
                continue
    socket = str(state / "containerd.sock")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            ended = (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            continue
        shim = words[0].rpartition(b"/")[2].startswith(b"containerd-shim")
        if shim and socket.encode() in words and not ended:
            found.add(int(process.name))
    return sorted(found)


def _mounts(state: Path) -> list[str]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = line.split()[4].replace("\\040", " ")
        if path.startswith(f"{state}/"):
            found.append(path)
    return found


def _groups() -> list[Path]:
    return [path for h in [_ROOT, *_hierarchies()] if (path := h / CGROUP).is_dir()]


def _hierarchies() -> Iterator[Path]:
    for path in _ROOT.iterdir():
        # cpu and cpuacct may be links to one.
        if path.is_dir() and not path.is_symlink() and (path / "tasks").exists():
            yield path


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # Its last process may not be reaped yet; leftovers() tells of what stays.
        return
