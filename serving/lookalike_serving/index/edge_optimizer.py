"""The process that optimises a copy of an Edge shard: python edge_optimizer.py SOURCE TARGET PARENT

It copies the shard in SOURCE to TARGET, says `copied`, optimises the copy, syncs and closes it and
exits with 0. It dies with its parent, process PARENT, where the kernel can arrange that (Linux),
and works at low priority: queries come first. Run as a file, it imports Edge and nothing else of
the service, so that it starts at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from pathlib import Path

_BLOCK = 8 * 1024 * 1024


def copy_shard(source: Path, target: Path) -> None:
    """Copy a folder with its holes: Edge's files are mostly reserved, unwritten space."""
    for folder, _, names in os.walk(source):
        into = target / Path(folder).relative_to(source)
        into.mkdir(parents=True)
        for name in names:
            _copy_file(Path(folder, name), into / name)


def _copy_file(source: Path, target: Path) -> None:
    if sys.platform != "linux":
        shutil.copyfile(source, target)
        return
    with open(source, "rb", buffering=0) as old, open(target, "wb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        position = 0
        while position < size:
            try:
                position = os.lseek(old.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            end = os.lseek(old.fileno(), position, os.SEEK_HOLE)
            os.lseek(old.fileno(), position, os.SEEK_SET)
            os.lseek(new.fileno(), position, os.SEEK_SET)
            while position < end:
                count = min(_BLOCK, end - position)
                sent = os.sendfile(new.fileno(), old.fileno(), position, count)
                if sent == 0:
                    raise OSError(errno.EIO, f"{source} shrank while it was copied")
                position += sent
        os.ftruncate(new.fileno(), size)


def _sync(folder: Path) -> None:
    for where, _, names in os.walk(folder):
        for path in [*(os.path.join(where, name) for name in names), where]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _die_with(parent: int) -> None:
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def main(source: Path, target: Path, parent: int) -> None:
    _die_with(parent)
    os.nice(10)
    import qdrant_edge as edge

    copy_shard(source, target)
    print("copied", flush=True)
    shard = edge.EdgeShard.load(str(target))
    shard.optimize()
    shard.flush()
    shard.close()
    _sync(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
