"""A server of Google Cloud Storage's interface: fake-gcs-server, a Go module.

It is built once, outside of the checkout (about a minute); without Go or a network the tests that
need it are skipped with the reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from e2e.cluster.paths import cache
from tests.support.emulators import emulator
from tests.support.ports import free_port

VERSION = "v1.52.2"
_BUILD_SECONDS = 600


@dataclass(frozen=True)
class FakeGcs:
    """Takes requests with and without credentials."""

    url: str

    def bucket(self, name: str) -> str:
        made = httpx.post(f"{self.url}/storage/v1/b", params={"project": "p"}, json={"name": name})
        made.raise_for_status()
        return name

    def put(self, bucket: str, key: str, data: bytes, **metadata: str) -> None:
        """`metadata`: the object's custom metadata."""
        where = f"{self.url}/upload/storage/v1/b/{bucket}/o"
        asked = {"uploadType": "media", "name": key}
        httpx.post(where, params=asked, content=data).raise_for_status()
        if metadata:
            self.describe(bucket, key, **metadata)

    def describe(self, bucket: str, key: str, **metadata: str) -> None:
        where = f"{self.url}/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        httpx.patch(where, json={"metadata": metadata}).raise_for_status()

    def delete(self, bucket: str, key: str) -> None:
        httpx.delete(f"{self.url}/storage/v1/b/{bucket}/o/{key}").raise_for_status()


@contextlib.contextmanager
def fake_gcs() -> Iterator[FakeGcs]:
    """On loopback, empty, in memory. Skips the test if it cannot be built."""
    program = _program()
    port = free_port()
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    url = f"http://127.0.0.1:{port}"
    with emulator("fake-gcs-server", command, f"{url}/storage/v1/b"):
        yield FakeGcs(url)


def _program() -> Path:
    if found := shutil.which("fake-gcs-server"):
        return Path(found)
    program = cache() / f"fake-gcs-server-{VERSION}" / "fake-gcs-server"
    if program.is_file():
        return program
    go = shutil.which("go")
    if go is None:
        pytest.skip("fake-gcs-server needs Go, which is not here")
    program.parent.mkdir(parents=True, exist_ok=True)
    # Into a folder of its own: another process may build it at the same time.
    building = program.parent / f"building-{os.getpid()}"
    command = [go, "install", f"github.com/fsouza/fake-gcs-server@{VERSION}"]
    settings = {**os.environ, "GOBIN": str(building), "CGO_ENABLED": "0"}
    try:
        subprocess.run(
            command, env=settings, check=True, timeout=_BUILD_SECONDS, capture_output=True
        )
        (building / program.name).replace(program)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"fake-gcs-server cannot be built: {error}")
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return program
