"""The lock and the state file of a data directory, and who may open it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.run_states import READY

from lookalike_serving.machine.rundir import (
    DataDirInUse,
    IngestionPhase,
    IngestionState,
    RunDirectory,
)

STATE = replace(
    READY,
    ingestions=(IngestionState("shoes"), IngestionState("mugs", IngestionPhase.DONE)),
)

Start = Callable[..., "subprocess.Popen[str]"]
SLEEPER = "import signal\nprint('up', flush=True)\nsignal.pause()"


def test_the_lock_keeps_others_out_and_is_given_back(run: RunDirectory) -> None:
    with run.lock():
        assert run.is_locked()
        with pytest.raises(DataDirInUse), run.lock():
            pass
    assert not run.is_locked()


def test_a_successor_waits_for_the_lock(run: RunDirectory) -> None:
    held, leave = threading.Event(), threading.Event()

    def predecessor() -> None:
        with run.lock():
            held.set()
            leave.wait(60)

    thread = threading.Thread(target=predecessor)
    thread.start()
    assert held.wait(60)
    threading.Timer(0.5, leave.set).start()
    with run.lock(patience=60):
        assert leave.is_set()
    thread.join()


def test_the_lock_is_gone_with_a_killed_holder(run: RunDirectory, start: Start) -> None:
    holder = start(
        "from lookalike_serving.machine.rundir import RunDirectory\nfrom pathlib import Path\n"
        f"with RunDirectory.of(Path({str(run.data_dir)!r})).lock():\n"
        "    import signal\n    print('up', flush=True)\n    signal.pause()"
    )
    assert run.is_locked()
    holder.kill()
    holder.wait()
    assert not run.is_locked()


def test_the_lock_is_not_inherited_by_child_processes(run: RunDirectory, start: Start) -> None:
    with run.lock():
        start(SLEEPER)
    assert not run.is_locked()


def test_looking_for_a_lock_makes_nothing(tmp_path: Path) -> None:
    assert not RunDirectory.of(tmp_path / "none").is_locked()
    assert not (tmp_path / "none").exists()


def test_the_state_is_read_as_it_was_written(run: RunDirectory) -> None:
    run.write_state(STATE)
    assert run.read_state() == STATE


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1}', '{"phase": "x"}', "null"])
def test_an_unreadable_state_is_none(run: RunDirectory, content: str) -> None:
    run.state_file.write_text(content)
    assert run.read_state() is None


def test_a_change_of_one_ingestion_leaves_the_others() -> None:
    changed = STATE.with_ingestion(IngestionState("shoes", IngestionPhase.FAILED, error="e"))
    assert [each.phase for each in changed.ingestions] == ["failed", "done"]
    assert changed.ingestions_ended
    assert not STATE.ingestions_ended


def test_the_folder_of_sockets_has_a_short_path(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    assert len(str(RunDirectory.of(deep).ray_dir)) < 40


def test_two_data_directories_share_no_folder_of_sockets(tmp_path: Path) -> None:
    one, other = RunDirectory.of(tmp_path / "a"), RunDirectory.of(tmp_path / "b")
    assert one.ray_dir != other.ray_dir


def test_a_data_directory_is_the_same_by_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert RunDirectory.of(Path("link")) == RunDirectory.of(tmp_path / "x" / ".." / "data")


@pytest.mark.parametrize("mode", [None, 0o755, 0o777, 0o770, 0o700])
def test_a_data_directory_is_its_owners_alone(tmp_path: Path, mode: int | None) -> None:
    run = RunDirectory.of(tmp_path / "data")
    if mode is not None:
        run.data_dir.mkdir()
        run.data_dir.chmod(mode)
    run.make_private()
    assert stat.S_IMODE(run.data_dir.stat().st_mode) == 0o700
    assert run.path.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two other users")
def test_a_data_directory_that_another_user_left_open_is_refused(tmp_path: Path) -> None:
    code = (
        "import os\nfrom pathlib import Path\n"
        "from lookalike_serving.machine.rundir import RunDirectory\n"
        f"run = RunDirectory.of(Path({str(tmp_path / 'data')!r}))\n"
        "os.umask(0)\nrun.data_dir.mkdir()\nrun.data_dir.chmod(0o777)\n"
        "os.chown(run.data_dir, 12345, 12345)\n"
        "for path in run.data_dir.parents: path.stat().st_mode & 1 or os.chmod(path, 0o755)\n"
        "os.setgroups([])\nos.setgid(54321)\nos.setuid(54321)\n"
        "try:\n    run.make_private()\n"
        "except PermissionError:\n    print('refused')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "refused\n"
