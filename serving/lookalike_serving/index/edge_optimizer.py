"""The process that optimises a copy of an Edge shard: python edge_optimizer.py SOURCE TARGET PARENT

It copies the shard in SOURCE to TARGET while it is written to, again and again what has changed
in the meantime, until that is little, and says `nearly`. Then it waits for a line, the word that
nothing is written for now, copies the rest and says `copied`: writes wait only for that. It then
optimises the copy and measures search settings with it as the rest of its input says, syncs
and closes it and exits with 0. It dies with its parent, process PARENT,
where the kernel can arrange that (Linux), and optimises at low priority: queries come first. Run
as a file, it imports nothing of the service before the copy is made, so that it starts at once.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import signal
import sys
import time
from pathlib import Path

_BLOCK = 8 * 1024 * 1024
_WRITTEN_ONCE = {"matrix.dat", "quantized.data", "links.bin", "links_compressed.bin"}
"""Files of a segment that has a graph: its vectors, quantised vectors and links. Edge makes them
when it builds the graph, and only ever maps them to read; most bytes of a large shard are there."""
_FEW_BYTES = 64 * 1024 * 1024
"""What is copied while writes wait: some 50 ms. Edge's files grow by 32 MiB at a time, and two or
three of them are being written to."""
_ROUNDS = 6
_TICK_NS = 1_000_000_000
"""What changed so shortly before it was copied may change again without its time of change doing
so: a file system's clock ticks every few milliseconds, or every second."""


class ShardCopy:
    """A folder's copy, brought up to date by `update` while programs write to the folder.

    What has changed is known by size and time of change. Edge writes to mapped files, for which the
    kernel notes the time when a page that was clean is written to: so a file is synced, and with
    that clean, before it is copied. Where that does not hold (`notices_mapped_writes`), such as on
    tmpfs, only a copy that nobody disturbs is right.

    Files that are never written to again are no copies but second names (hard links), so that what
    is copied of a shard that grows is little beside its size.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._copied: dict[Path, tuple[int, int, int]] = {}
        """What each file was when it was copied; only for those whose next change will show."""

    def update(self, *, last: bool = False) -> int:
        """Copy what has changed since the last time; how many bytes. `last`: nobody writes now."""
        folders, files = _inside(self._source)
        old_folders, old_files = _inside(self._target)
        for name in old_files - files:
            (self._target / name).unlink()
            self._copied.pop(name, None)
        for name in sorted(old_folders - folders, reverse=True):
            (self._target / name).rmdir()
        for name in sorted(folders - old_folders):
            (self._target / name).mkdir()
        changed = 0
        for name in sorted(files):
            try:
                changed += self._update_file(name, last)
            except (FileNotFoundError, Shrank):
                if last:
                    raise
        return changed

    def _update_file(self, name: Path, last: bool) -> int:
        with open(self._source / name, "rb", buffering=0) as file:
            if _state(os.fstat(file.fileno())) == self._copied.get(name):
                return 0
            self._copied.pop(name, None)
            if self._is_linked(name):
                self._copied[name] = _state(os.fstat(file.fileno()))
                return 0
            # Before the sync: what is written during it may leave pages that are not clean.
            began = time.time_ns()
            if not last:
                os.fsync(file.fileno())
            stat = os.fstat(file.fileno())
        _copy_file(self._source / name, self._target / name)
        if stat.st_mtime_ns < began - _TICK_NS:
            self._copied[name] = _state(stat)
        return stat.st_blocks * 512

    def _is_linked(self, name: Path) -> bool:
        """Whether the file is written to no more, and the target has it by a second name now."""
        if name.name not in _WRITTEN_ONCE:
            return False
        segment = self._source / Path(*name.parts[:2])
        if not any(segment.glob("vector_storage*/matrix.dat")):
            return False
        try:
            (self._target / name).unlink(missing_ok=True)
            os.link(self._source / name, self._target / name)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            return False
        return True


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _inside(folder: Path) -> tuple[set[Path], set[Path]]:
    """The folders and the files in a folder, relative to it."""
    folders, files = set(), set()
    for where, below, names in os.walk(folder):
        here = Path(where).relative_to(folder)
        folders |= {here / name for name in below}
        files |= {here / name for name in names}
    return folders, files


class Shrank(OSError):
    """A file became shorter while it was copied."""


def notices_mapped_writes(folder: Path) -> bool:
    """Whether a write to a mapped file that was synced changes the file's time of change."""
    probe = folder / "probe"
    with open(probe, "w+b") as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as page:
            page[0] = 1
            os.fsync(file.fileno())
            before = os.fstat(file.fileno()).st_mtime_ns
            time.sleep(0.05)
            page[0] = 2
            after = os.fstat(file.fileno()).st_mtime_ns
    probe.unlink()
    return after > before


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


def copy_beside_writes(source: Path, target: Path) -> None:
    """Copy the shard; returns while writes wait. Exits where the parent gives up."""
    copy = ShardCopy(source, target)
    target.mkdir()
    if notices_mapped_writes(target):
        for _ in range(_ROUNDS):
            if copy.update() <= _FEW_BYTES:
                break
    print("nearly", flush=True)
    if not sys.stdin.buffer.readline():
        sys.exit(1)
    copy.update(last=True)
    print("copied", flush=True)


def main(source: Path, target: Path, parent: int) -> None:
    _die_with(parent)
    copy_beside_writes(source, target)
    os.nice(10)
    told = None
    if words := sys.stdin.buffer.read():
        # Not before: the service's modules take a second to import.
        from lookalike_serving.index.edge_tuning import load, read, tune

        told = read(words)
        shard = load(told)
    else:
        import qdrant_edge as edge

        shard = edge.EdgeShard.load(str(target))
    shard.optimize()
    shard.flush()
    if told is not None:
        tune(shard, told)
    shard.close()
    _sync(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
