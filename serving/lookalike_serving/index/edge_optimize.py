"""Optimising an Edge shard in another process, on a copy.

`EdgeShard.optimize()` builds HNSW graphs and quantised storage and holds Python's interpreter
lock all the while (measured, Edge 0.9: 13 s for 40,000 x 128 on 2 cores, during which no other
thread of the process runs; 4 min for 1M x 512). A server that calls it stops answering. So a
child process copies the shard, optimises the copy, and the server then swaps it in
(`EdgeStore.optimize`). This module is both sides: `ShardOptimizer` in the server, and a
`__main__` that the child runs, which imports nothing heavier than Edge.

The child says `copied` once it has what it needs of the source, and exits with 0 when the copy
is optimised, synced and closed. It dies with its parent where the kernel can arrange that
(Linux), and works at the lowest priority: queries come first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from lookalike_serving.index.protocol import IndexFailure

_COPIED = b"copied\n"
_BLOCK = 8 * 1024 * 1024


class ShardOptimizer:
    """A child process that optimises a copy of a shard. Its methods block: use a thread."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(source), str(target), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_copied(self) -> None:
        """Returns when the source may change again. Raises IndexFailure."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != _COPIED:
            self.wait_finished()
            raise self._failure("ended early")

    def wait_finished(self) -> None:
        """Returns when the target is optimised, on disk and closed. Raises IndexFailure."""
        _, errors = self._process.communicate()
        if self._process.returncode != 0:
            raise self._failure(errors.decode(errors="replace").strip().rpartition("\n")[2])

    def kill(self) -> None:
        """End it at once; whoever waits for it gets an IndexFailure. Does not block."""
        self._process.kill()

    def _failure(self, why: str) -> IndexFailure:
        code = self._process.returncode
        cause = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
        return IndexFailure(
            f"optimising the index in {self._source.parent} failed "
            f"({cause}: {why or 'no message'}); searches go on without; "
            "free memory or disk and call optimize() again"
        )


def size_on_disk(folder: Path) -> int:
    """Bytes that the folder's files occupy, holes left out."""
    return sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())


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
    print(_COPIED.decode(), end="", flush=True)
    shard = edge.EdgeShard.load(str(target))
    shard.optimize()
    shard.flush()
    shard.close()
    _sync(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
