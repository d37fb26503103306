"""A server of Google Cloud Storage's interface: fake-gcs-server, a Go module.

It takes about a minute to build (`go_programs`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from tests.support.emulators import emulator
from tests.support.go_programs import go_program
from tests.support.ports import free_port

VERSION = "v1.52.2"


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
    program = go_program(f"github.com/fsouza/fake-gcs-server@{VERSION}")
    port = free_port()
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    url = f"http://127.0.0.1:{port}"
    with emulator("fake-gcs-server", command, f"{url}/storage/v1/b"):
        yield FakeGcs(url)
