"""The copy of a shard that is written to while it is copied is the shard in the end."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from lookalike_serving.index.edge_optimizer import ShardCopy, notices_mapped_writes
from lookalike_serving.machine.disk import size_on_disk

LONG_AGO = 1_000_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "segments" / "one").mkdir(parents=True)
    (folder / "empty").mkdir()
    for number in range(3):
        (folder / "segments" / "one" / f"chunk_{number}.mmap").write_bytes(os.urandom(20_000))
    return folder


def content(folder: Path) -> dict[Path, bytes | None]:
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def aged(folder: Path) -> None:
    """As if all of it had been written long ago."""
    for path in folder.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def write_mapped(path: Path, at: int) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[at] ^= 255


def copy_of(source: Path) -> tuple[ShardCopy, Path]:
    target = source.with_name("target")
    target.mkdir()
    return ShardCopy(source, target), target


def test_a_copy_keeps_content_and_holes(source: Path) -> None:
    with open(source / "sparse", "wb") as file:
        file.write(b"head")
        file.seek(50_000_000)
        file.write(b"tail")
        file.truncate(60_000_000)
    copy, target = copy_of(source)
    copy.update(last=True)
    assert content(target) == content(source)
    assert size_on_disk(target) < 1_000_000


def test_what_has_not_changed_is_copied_once(source: Path) -> None:
    copy, target = copy_of(source)
    aged(source)
    assert copy.update() > 0
    assert copy.update() == 0
    assert copy.update(last=True) == 0
    assert content(target) == content(source)


def test_a_file_is_copied_again_where_the_clock_may_not_show_its_next_change(source: Path) -> None:
    copy, _ = copy_of(source)
    assert copy.update() > 0  # all was written just now
    assert copy.update() > 0


@pytest.mark.parametrize("seed", range(8))
def test_whatever_changes_between_two_updates_is_in_the_copy(source: Path, seed: int) -> None:
    if not notices_mapped_writes(source):
        pytest.skip("this file system does not tell of writes to mapped files")
    rng = np.random.default_rng(seed)
    copy, target = copy_of(source)
    aged(source)
    copy.update()
    for step in range(6):
        files = sorted(path for path in source.rglob("*") if path.is_file())
        path = files[rng.integers(len(files))]
        match rng.integers(6):
            case 0 | 1:
                write_mapped(path, int(rng.integers(path.stat().st_size)))
            case 2:
                with open(path, "ab") as file:
                    file.write(os.urandom(100))
            case 3:
                (source / f"new-{step}").write_bytes(os.urandom(500))
            case 4 if len(files) > 1:
                path.unlink()
            case _:  # as a log is closed, and another opened in its place
                path.rename(path.with_name(f"closed-{step}"))
                path.write_bytes(os.urandom(300))
        if rng.integers(2):
            copy.update()
    copy.update(last=True)
    assert content(target) == content(source)


def test_a_folder_that_goes_is_gone_from_the_copy(source: Path) -> None:
    copy, target = copy_of(source)
    copy.update()
    for path in (source / "segments" / "one").iterdir():
        path.unlink()
    (source / "segments" / "one").rmdir()
    copy.update(last=True)
    assert content(target) == content(source)


def test_a_page_that_stays_mapped_and_dirty_is_noticed_when_it_is_written_again(
    source: Path,
) -> None:
    if not notices_mapped_writes(source):
        pytest.skip("this file system does not tell of writes to mapped files")
    copy, target = copy_of(source)
    path = source / "segments" / "one" / "chunk_0.mmap"
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[10] ^= 255
        aged(source)
        copy.update()
        mapped[10] ^= 255
        copy.update(last=True)
        assert content(target) == content(source)
