"""Files of a folder that change: told when they have been quiet for a moment.

A file that is being written changes many times, and one that is copied in a burst has many
neighbours. So a path is told once nothing has happened to it for half a second; if it is written on
after that, it is told again. A folder that was moved in is told as its files. A metadata file that
changes concerns all files.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from lookalike_crds.source_kinds import VolumeSource
from lookalike_crds.sources import SourceSpec

_QUIET_SECONDS = 0.5
_AT_THE_LATEST_SECONDS = 30.0
"""A file that never comes to rest is looked at all the same."""
_AGAIN_SECONDS = 5.0

log = logging.getLogger("lookalike.changes")


def watched_folder(source: SourceSpec) -> Path | None:
    """The folder of a source that is to be watched."""
    kind = source.kind
    return Path(kind.path) if isinstance(kind, VolumeSource) and kind.watch else None


async def watch(source: SourceSpec, tell: Callable[[Iterable[str]], None]) -> None:
    """Until it is cancelled. `tell` is given paths below the folder."""
    folder = watched_folder(source)
    assert folder is not None
    told = ""
    began = False
    while True:
        try:
            root = await asyncio.to_thread(folder.resolve, True)
            if began:  # what happened meanwhile was not seen
                tell(await asyncio.to_thread(files_below, root, root))
            began = True
            await _watch(root, source.metadata.file, tell)
        except OSError as error:
            why = f"{folder} cannot be watched: {error.strerror or error}"
            if why != told:
                log.warning("source %s: %s", source.name, why)
            told = why
        await asyncio.sleep(_AGAIN_SECONDS)


async def _watch(root: Path, table: str | None, tell: Callable[[Iterable[str]], None]) -> None:
    """Until the folder cannot be watched any more."""
    unquiet: dict[str, tuple[float, float]] = {}
    """Path -> when it first and last changed."""
    async for changes in awatch(
        root, watch_filter=None, debounce=200, step=50, rust_timeout=250, yield_on_timeout=True
    ):
        now = time.monotonic()
        for _, path in changes:
            first, _ = unquiet.get(path, (now, now))
            unquiet[path] = first, now
        quiet = [
            path
            for path, (first, last) in unquiet.items()
            if now - last >= _QUIET_SECONDS or now - first >= _AT_THE_LATEST_SECONDS
        ]
        if not quiet:
            continue
        for path in quiet:
            del unquiet[path]
        tell(await asyncio.to_thread(_keys, root, table, quiet))
        if not await asyncio.to_thread(root.is_dir):
            return  # it was removed, or moved away: nothing is told of it from now on


def _keys(root: Path, table: str | None, paths: Iterable[str]) -> list[str]:
    """The keys that changed paths are about."""
    keys: dict[str, None] = {}
    for path in map(Path, paths):
        if not path.is_relative_to(root) or path == root:
            continue
        key = path.relative_to(root).as_posix()
        if key == table:
            keys.update(dict.fromkeys(files_below(root, root)))
        elif path.is_dir() and not path.is_symlink():
            keys.update(dict.fromkeys(files_below(root, path)))
        else:
            keys[key] = None
    return list(keys)


def files_below(root: Path, folder: Path) -> list[str]:
    """Paths, relative to the root, of all files below one of its folders. Hidden ones are left
    out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        at = Path(place).relative_to(root).as_posix()
        prefix = "" if at == "." else f"{at}/"
        found += [f"{prefix}{name}" for name in files if not name.startswith(".")]
    return found
