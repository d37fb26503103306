"""Azure's emulator of Blob Storage, from npm.

It is installed once, outside of the checkout; without npm or a network the tests that need it are
skipped with the reason.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from e2e.cluster.paths import cache
from obstore.store import AzureStore
from tests.support.emulators import emulator
from tests.support.ports import free_port

VERSION = "3.35.0"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of the emulator, the same everywhere and in Microsoft's documentation."""
_INSTALL_SECONDS = 180


@dataclass(frozen=True)
class Azurite:
    url: str
    """With the account, as it is the endpoint of a source."""

    def container(self, name: str) -> AzureStore:
        """A new container, to put blobs into."""
        made = self._request("PUT", f"/{name}", "restype=container")
        assert made.status_code == 201, made.text
        return AzureStore(
            name,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=self.url,
            client_options={"allow_http": True},
        )

    def put(self, container: str, blob: str, data: bytes, **headers: str) -> None:
        """A blob of any name, in a new container. `headers`: without their `x-ms-`."""
        self.container(container)
        given = {"blob-type": "BlockBlob", **headers}
        stored = self._request("PUT", f"/{container}/{blob}", "", data, **given)
        assert stored.status_code == 201, stored.text

    def archive(self, container: str, blob: str) -> None:
        """Move a blob to the archive tier."""
        tier = {"access-tier": "Archive"}
        moved = self._request("PUT", f"/{container}/{blob}", "comp=tier", **tier)
        assert moved.status_code in (200, 202), moved.text

    def _request(
        self, method: str, path: str, query: str, data: bytes = b"", **headers: str
    ) -> httpx.Response:
        """Signed with the account's key."""
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        sent = {"x-ms-date": now, "x-ms-version": "2021-12-02"}
        sent |= {f"x-ms-{name}": value for name, value in headers.items()}
        canonical = "\n".join(f"{name}:{value}" for name, value in sorted(sent.items()))
        name, _, value = query.partition("=")
        resource = f"/{ACCOUNT}/{ACCOUNT}{path}" + (f"\n{name}:{value}" if name else "")
        length = str(len(data)) if data else ""
        text = f"{method}\n\n\n{length}" + "\n" * 9 + f"{canonical}\n{resource}"
        digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        sent["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        return httpx.request(method, f"{self.url}{path}?{query}", headers=sent, content=data)


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    """On loopback, empty, in memory. Skips the test if it cannot be installed."""
    program = _program()
    port = free_port()
    flags = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), *flags]
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    with emulator("azurite", command, url, folder):
        yield Azurite(url)


def _program() -> Path:
    if found := shutil.which("azurite-blob"):
        return Path(found)
    home = cache() / f"azurite-{VERSION}"
    program = home / "node_modules" / ".bin" / "azurite-blob"
    if program.is_file():
        return program
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("azurite needs node and npm, which are not here")
    home.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--silent", f"azurite@{VERSION}"]
    try:
        subprocess.run(command, cwd=home, check=True, timeout=_INSTALL_SECONDS, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"azurite cannot be installed from npm: {error}")
    return program
