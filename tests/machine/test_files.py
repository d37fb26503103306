"""Files are replaced whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lookalike_serving.machine.files import write_atomically, write_together


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "token"
    write_atomically(file, b"old", durable=durable)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    write_atomically(file, b"new", mode=0o600, durable=durable)
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["token"]


def test_what_cannot_be_put_in_its_place_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(folder, b"content")
    assert os.listdir(tmp_path) == ["folder"]


def test_of_several_files_none_is_replaced_if_one_cannot_be_written(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"old")
    with pytest.raises(OSError, match="nowhere"):
        write_together({first: b"new", tmp_path / "nowhere" / "second": b"new"})
    assert first.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["first"]
    second = tmp_path / "second"
    write_together({first: b"new", second: b"too"})
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"too")
    assert sorted(os.listdir(tmp_path)) == ["first", "second"]
