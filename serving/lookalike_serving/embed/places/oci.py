"""An artifact in a registry: `oci://registry.example/models/vit:1`.

Each file is a layer whose title is its path, and so is the manifest; `oras pull` writes the same
folder. Credentials are those of `docker login`: `config.json` in `~/.docker` or `$DOCKER_CONFIG`.
Only a registry on the machine itself is spoken to without TLS.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import oras.oci
import oras.provider
import requests
from oras.container import Container
from oras.defaults import annotation_title
from oras.logger import setup_logger

from lookalike_serving.embed.fetching import Remote
from lookalike_serving.embed.places import manifest as manifests
from lookalike_serving.embed.places.manifest import LONGEST, NAME, Manifest, WeightsFile
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound, WeightsUnreachable

SCHEME = "oci://"
_FORM = "write oci://registry.example/models/vit:1"
_KIND = "application/vnd.lookalike.weights.v1+json"
_FILE = "application/octet-stream"
_HOST = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+|[\w-]+(?=:)|\[[0-9a-f:]+\])(:\d+)?")
_WITHOUT_TLS = ("localhost", "127.0.0.1", "[::1]")
_CHUNKED = 256 * 1024 * 1024
"""Files from this size on are not read into memory as a whole, and take a request for each part."""
_SECONDS = (10, 60)
"""To connect, and between two bytes."""
_STEP = 1024 * 1024


class _Registry(oras.provider.Registry):  # type: ignore[misc]
    """Answers, or raises at once: its own tries take minutes, and `fetching` has some."""

    def __init__(self, container: Container) -> None:
        host = container.registry.rpartition(":")[0] or container.registry
        local = host in _WITHOUT_TLS
        where = f"{'http' if local else 'https'}://{container.registry}/v2/"
        asked = requests.get(where, timeout=_SECONDS).headers.get("Www-Authenticate", "")
        basic = asked.lower().startswith("basic")
        super().__init__(
            container.registry, insecure=local, auth_backend="basic" if basic else "token"
        )
        self.session.request = _bounded(self.session.request)
        folder = os.environ.get("DOCKER_CONFIG")
        file = Path(folder) / "config.json" if folder else None
        there = [str(file)] if file is not None and file.is_file() else []
        self.auth.load_configs(container, there)

    def do_request(self, *args: Any, **options: Any) -> requests.Response:
        once = oras.provider.Registry.do_request.__wrapped__
        answer: requests.Response = once(self, *args, **options)
        return answer


def _bounded(request: Any) -> Any:
    def bounded(*args: Any, **options: Any) -> Any:
        return request(*args, **{"timeout": _SECONDS, **options})

    return bounded


class Artifact:
    def __init__(self, said: str) -> None:
        """Raises ModelError for an address that names no artifact."""
        self.said = said
        name = said.removeprefix(SCHEME)
        if not _HOST.fullmatch(name.partition("/")[0]):
            raise ModelError(f"{said!r} names no registry: {_FORM}")
        try:
            self._at = Container(name)
        except ValueError:
            raise ModelError(f"{said!r} names no artifact: {_FORM}") from None
        if self._at.uri not in (name, f"{name}:latest"):
            raise ModelError(f"{said!r} names no artifact: {_FORM}")
        self._made: _Registry | None = None
        self._layers: dict[str, dict[str, Any]] = {}

    async def manifest(self) -> Manifest:
        return await asyncio.to_thread(self._manifest)

    async def remote(self, file: WeightsFile) -> Remote:
        digest = f"sha256:{file.sha256}"

        async def read_range(start: int, length: int) -> bytes:
            return await asyncio.to_thread(self._read, digest, start, length)

        return Remote(
            f"{self.said} ({file.path})", file.sha256, file.bytes, read_range, file.sha256
        )

    async def store(self, manifest: Manifest, files: Mapping[str, Path]) -> int:
        return await asyncio.to_thread(self._store, manifest, files)

    def _manifest(self) -> Manifest:
        with self._told() as registry:
            answer = registry.do_request(
                f"{registry.prefix}://{self._at.manifest_url()}",
                headers={"Accept": oras.defaults.default_manifest_media_type},
            )
            if answer.status_code == 404:
                raise WeightsNotFound(
                    f"there is no artifact {self.said}: correct the address, or write it with "
                    f"`lookalike weights push FOLDER --to {self.said}`"
                )
            self._check(answer)
            layers = answer.json().get("layers", [])
        for each in layers:
            if (each.get("annotations") or {}).get(annotation_title) == NAME:
                content = self._read(str(each["digest"]), 0, min(int(each["size"]), LONGEST))
                return manifests.read(content, self.said)
        raise manifests.missing(self.said)

    def _read(self, digest: str, start: int, length: int) -> bytes:
        with self._told() as registry:
            answer = registry.do_request(
                f"{registry.prefix}://{self._at.get_blob_url(digest)}",
                headers={"Range": f"bytes={start}-{start + length - 1}"} if length else {},
                stream=True,
            )
            with answer:
                self._check(answer)
                # A registry need not answer with a part.
                skip = 0 if answer.status_code == 206 else start
                found = bytearray()
                for chunk in answer.iter_content(_STEP):
                    found += chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    if len(found) >= length:
                        break
                return bytes(found[:length])

    def _store(self, manifest: Manifest, files: Mapping[str, Path]) -> int:
        written = 0
        with self._told() as registry, TemporaryDirectory() as scratch:
            own = Path(scratch) / NAME
            own.write_bytes(manifest.written())
            config = Path(scratch) / "config.json"
            config.write_text("{}")
            layers = []
            for each in manifest.files:
                layer = _layer(each.path, _FILE, each.bytes, each.sha256)
                if not registry.blob_exists(layer, self._at):
                    self._upload(registry, files[each.path], layer)
                    written += each.bytes
                layers.append(layer)
            noted, empty = (manifests.described("-", file) for file in (own, config))
            for file, kind, what in ((own, _KIND, noted), (config, _KIND, empty)):
                layer = _layer(NAME, kind, what.bytes, what.sha256)
                self._upload(registry, file, layer)
                layers.append(layer)
            said = oras.oci.NewManifest()
            said["config"] = {k: v for k, v in layers.pop().items() if k != "annotations"}
            said["layers"] = layers
            self._check(registry.upload_manifest(said, self._at))
        return written

    def _upload(self, registry: _Registry, file: Path, layer: dict[str, Any]) -> None:
        self._check(
            registry.upload_blob(str(file), self._at, layer, do_chunked=layer["size"] > _CHUNKED)
        )

    def _check(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status in (401, 403):
            raise self._refused()
        if status == 404:
            raise WeightsNotFound(f"{self.said}: the registry misses a part of it: push it again")
        if status >= 400:
            raise WeightsUnreachable(
                f"{self.said}: the registry answered with status code {status}: try again later"
            )

    def _refused(self) -> ModelError:
        return WeightsNotFound(
            f"the registry refuses {self.said}: log in with `docker login {self._at.registry}`, or "
            "mount a config.json with its credentials, and name its folder in DOCKER_CONFIG"
        )

    @contextmanager
    def _told(self) -> Iterator[_Registry]:
        """What the client raises, in words. Raises WeightsNotFound, WeightsUnreachable."""
        setup_logger(quiet=True)
        try:
            if self._made is None:
                self._made = _Registry(self._at)
            yield self._made
        except requests.RequestException as error:
            raise WeightsUnreachable(
                f"{self.said}: the registry cannot be reached ({type(error).__name__}): check the "
                "address and the network, and try again"
            ) from None
        except (ValueError, AttributeError):  # oras: no credentials, or none that help
            raise self._refused() from None


def _layer(path: str, kind: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "mediaType": kind,
        "size": size,
        "digest": f"sha256:{sha256}",
        "annotations": {annotation_title: path},
    }
