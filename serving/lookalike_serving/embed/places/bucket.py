"""A prefix of a bucket: `s3://models/vit/`.

Beside each object lies `KEY.sha256`, as `sha256sum` writes it: so an upload that was cut is
continued, and each file can also be named alone (`bucket_weights`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from lookalike_serving.embed.bucket_weights import opened, told
from lookalike_serving.embed.fetching import Remote
from lookalike_serving.embed.places import manifest as manifests
from lookalike_serving.embed.places.manifest import LONGEST, NAME, Manifest, WeightsFile
from lookalike_serving.embed.protocol import WeightsNotFound
from lookalike_serving.images import ImageError

_AT_ONCE = 4
_LONGEST_DIGEST = 4096


class BucketFolder:
    def __init__(self, said: str) -> None:
        """Raises ModelError for an address that names no place in a bucket."""
        self.said = said if said.endswith("/") else f"{said}/"
        self._store, self._prefix = opened(self.said)

    async def manifest(self) -> Manifest:
        with told():
            try:
                content = await self._store.read(f"{self._prefix}{NAME}", LONGEST)
            except ImageError:
                raise manifests.missing(self.said) from None
        return manifests.read(content, self.said)

    async def remote(self, file: WeightsFile) -> Remote:
        key = f"{self._prefix}{file.path}"
        where = f"{self.said}{file.path}"

        async def read_range(start: int, length: int) -> bytes:
            with told():
                try:
                    return await self._store.read_range(key, start, length)
                except ImageError as error:
                    raise WeightsNotFound(
                        f"{where} cannot be read ({error.code}), and {NAME} names it: push the "
                        "folder again"
                    ) from None

        return Remote(where, file.sha256, file.bytes, read_range, file.sha256)

    async def store(self, manifest: Manifest, files: Mapping[str, Path]) -> int:
        room = asyncio.Semaphore(_AT_ONCE)
        written = 0

        async def one(file: WeightsFile) -> None:
            nonlocal written
            key = f"{self._prefix}{file.path}"
            async with room:
                if await self._has(key, file):
                    return
                await self._store.write(key, files[file.path])
                # After the object: until then, the old digest does not fit what lies there.
                note = f"{file.sha256}  {Path(file.path).name}\n".encode()
                await self._store.write(f"{key}.sha256", note)
                written += file.bytes

        with told():
            try:
                async with asyncio.TaskGroup() as group:
                    for each in manifest.files:
                        group.create_task(one(each))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
            await self._store.write(f"{self._prefix}{NAME}", manifest.written())
        return written

    async def _has(self, key: str, file: WeightsFile) -> bool:
        try:
            noted = await self._store.read(f"{key}.sha256", _LONGEST_DIGEST)
            size = await self._store.size(key)
        except ImageError:
            return False
        return size == file.bytes and noted.split()[:1] == [file.sha256.encode()]
