"""containerd of our own, and the images in it."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.processes import Processes

PAUSE = "localhost/lookalike/pause:1"
_SECONDS = 300


class Containerd:
    """One with its own root, state and socket, so that no other on the machine is touched."""

    def __init__(self, state: Path, processes: Processes) -> None:
        self._state = state
        self._processes = processes
        self.socket = state / "containerd.sock"

    def start(self, cni: Path) -> None:
        run = self._state / "containerd"
        run.mkdir(parents=True, exist_ok=True)
        config = run / "config.toml"
        config.write_text(
            textwrap.dedent(
                f"""\
                version = 2
                root = "{run / "root"}"
                state = "{run / "state"}"
                [grpc]
                  address = "{self.socket}"
                [plugins."io.containerd.internal.v1.opt"]
                  path = "{run / "opt"}"
                [plugins."io.containerd.grpc.v1.cri"]
                  sandbox_image = "{PAUSE}"
                  # Without CAP_SYS_RESOURCE a lower oom_score_adj is refused, and runc with it.
                  restrict_oom_score_adj = true
                  [plugins."io.containerd.grpc.v1.cri".containerd]
                    snapshotter = "overlayfs"
                    default_runtime_name = "runc"
                  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
                    runtime_type = "io.containerd.runc.v2"
                  [plugins."io.containerd.grpc.v1.cri".cni]
                    bin_dir = "/usr/lib/cni"
                    conf_dir = "{cni}"
                """
            )
        )
        self._processes.start("containerd", ["containerd", "--config", config])
        self._processes.wait(
            "containerd", "answer", lambda: self._ctr("version").returncode == 0, 120
        )

    def load(self, archive: Path) -> None:
        """Import an image archive (OCI or docker). Raises RuntimeError."""
        done = self._ctr("images", "import", str(archive))
        if done.returncode != 0:
            raise RuntimeError(f"{archive} was not imported: {done.stderr.strip()}")

    def end_everything(self) -> None:
        """End every container and sandbox."""
        if tasks := self._ctr("tasks", "list", "-q").stdout.split():
            self._ctr("tasks", "delete", "--force", *tasks)
        if containers := self._ctr("containers", "list", "-q").stdout.split():
            self._ctr("containers", "delete", *containers)

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = (
            *("ctr", "--address", str(self.socket), "--namespace", "k8s.io"),
            *arguments,
        )
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer within {_SECONDS} s")
