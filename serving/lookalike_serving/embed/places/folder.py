"""A folder on this machine, or on a volume."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lookalike_serving.embed.places import manifest as manifests
from lookalike_serving.embed.places.manifest import NAME, Manifest, WeightsFile
from lookalike_serving.machine.files import write_atomically


@dataclass(frozen=True, slots=True)
class Folder:
    path: Path

    @property
    def said(self) -> str:
        return str(self.path)

    def described(self) -> Manifest:
        """Its manifest. Raises WeightsNotFound, or ModelError."""
        try:
            content = (self.path / NAME).read_bytes()
        except OSError:
            raise manifests.missing(self.said) from None
        return manifests.read(content, self.said)

    def verified(self) -> tuple[Manifest, dict[str, Path]]:
        """Its manifest and files, each of which is read and compared. Raises Damaged."""
        manifest = self.described()
        files = {each.path: self.path / each.path for each in manifest.files}
        for each in manifest.files:
            manifests.check(each, files[each.path])
        return manifest, files

    async def store(self, manifest: Manifest, files: Mapping[str, Path]) -> int:
        written = 0
        for each in manifest.files:
            to = self.path / each.path
            if not await asyncio.to_thread(has, to, each):
                await asyncio.to_thread(_copy, files[each.path], to)
                written += each.bytes
        self.finish(manifest)
        return written

    def finish(self, manifest: Manifest) -> None:
        """After the files: a manifest says that they are there."""
        write_atomically(self.path / NAME, manifest.written())


def has(path: Path, file: WeightsFile) -> bool:
    """Whether the whole file is there already."""
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    return manifests.described(file.path, path) == file


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    scratch = to.with_name(f"{to.name}.part")
    shutil.copyfile(source, scratch)
    scratch.replace(to)
