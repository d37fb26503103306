"""A real API server as tests of the chart use it, and the operator as the chart lets it in."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from chart import ROOT, Object

_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Server:
    kubectl: Path
    kubeconfig: Path

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.kubectl, *arguments],
            input=text,
            capture_output=True,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "KUBECONFIG": str(self.kubeconfig),
                # What it caches goes with the server.
                "HOME": str(self.kubeconfig.parent),
            },
            timeout=_SECONDS,
            check=False,
        )

    def must(self, *arguments: str, text: str = "") -> str:
        done = self.run(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, objects: list[Object], *options: str) -> None:
        text = yaml.safe_dump_all(objects)
        options = ("--server-side", "--force-conflicts", "--validate=strict", *options)
        done = self.run("apply", *options, "-f", "-", text=text)
        assert done.returncode == 0, done.stderr
        # An unknown field is only a warning where it is not strict.
        assert "warning" not in done.stderr.lower(), done.stderr

    def get(self, *arguments: str) -> Object:
        found: Object = json.loads(self.must("get", *arguments, "-o", "json"))
        return found

    def established(self, *crds: str) -> None:
        # `kubectl wait` fails for a CRD that has no conditions yet.
        until(f"use of {', '.join(crds)}", lambda: all(map(self._is_established, crds)), 60)

    def _is_established(self, crd: str) -> bool:
        conditions = self.get("crd", crd).get("status", {}).get("conditions") or ()
        return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)

    def as_account(self, namespace: str, name: str, folder: Path) -> Path:
        """A kubeconfig of a ServiceAccount."""
        token = self.must("create", "token", name, "-n", namespace, "--duration=1h").strip()
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["users"] = [{"name": "admin", "user": {"token": token}}]
        path = folder / f"{namespace}-{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        return path


def until(what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Running:
    """An operator's process."""

    port: int
    log: Path

    def metrics(self) -> str:
        address = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())

    def ready(self) -> bool:
        try:
            address = f"http://127.0.0.1:{self.port}/readyz"
            with urllib.request.urlopen(address, timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def operator(
    kubeconfig: Path, environment: dict[str, str], port: int, log: Path
) -> Iterator[Running]:
    """The operator with the environment that the chart gives it, on a port of 127.0.0.1.

    Started again whenever it ends, as a kubelet does: on a busy machine it may lose its lease.
    """
    command = [
        *(sys.executable, "-m", "lookalike_operator", "--kubeconfig", str(kubeconfig)),
        *("--metrics-host", "127.0.0.1", "--metrics-port", str(port)),
    ]
    with log.open("w") as file:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"while :; do {shlex.join(command)}; sleep 1; done"],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Running(port, log)
        except BaseException:
            # Pytest shows it with the failure.
            print("\n".join(log.read_text().splitlines()[-40:]))
            raise
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
            _end(process.pid)


def _end(group: int, seconds: float = 60) -> None:
    """Until none of a process group is left; by force where it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.killpg(group, 0 if time.monotonic() < deadline else signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.1)
