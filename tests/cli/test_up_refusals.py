"""What `lookalike up` refuses, before it starts anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from command import Command

from lookalike_cli.server_process import claim
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import Phase, RunDirectory, State

COLLECTION = "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: c }\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(COLLECTION)
    return path


def state() -> State:
    """This process, as if it were the server."""
    return State(
        pid=os.getpid(),
        identity=processes.identity(os.getpid()) or "",
        phase=Phase.READY,
        url="http://127.0.0.1:8123",
        started_at="2026-11-23T08:00:00Z",
        config_digest="",
    )


def test_an_invalid_file_is_told_as_validate_does(lookalike: Command, file: Path) -> None:
    file.write_text(COLLECTION + "spec: { modle: {} }\n")
    ran = lookalike("up", "-f", file)
    assert ran.code == 1
    assert "spec.modle: is not known: did you mean model?" in ran.out
    assert not Path(".lookalike").exists()


def test_a_file_without_a_collection_has_nothing_to_serve(lookalike: Command, file: Path) -> None:
    file.write_text("")
    assert lookalike("up", "-f", file).code == 1


def test_an_open_host_needs_api_keys(lookalike: Command, file: Path) -> None:
    ran = lookalike("up", "-f", file, "--host", "0.0.0.0")
    assert ran.code == 2
    assert "--api-keys-file FILE" in ran.err


def test_an_empty_file_of_api_keys_is_refused(
    lookalike: Command, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("# none yet\n\n")
    ran = lookalike("up", "-f", file, "--host", "0.0.0.0", "--api-keys-file", tmp_path / "keys")
    assert ran.code == 1
    assert "contains no API key" in ran.err


def test_missing_api_keys_are_named(lookalike: Command, file: Path) -> None:
    ran = lookalike("up", "-f", file, "--api-keys-file", "nope")
    assert ran.code == 1
    assert "nope: No such file" in ran.err


def test_a_data_directory_that_is_a_file_is_refused(
    lookalike: Command, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").touch()
    ran = lookalike("up", "-f", file, "--data-dir", tmp_path / "data")
    assert ran.code == 1
    assert "is a file" in ran.err


def test_a_data_directory_that_cannot_be_written_is_refused(lookalike: Command, file: Path) -> None:
    ran = lookalike("up", "-f", file, "--data-dir", "/proc/nothing")
    assert ran.code == 1
    assert "--data-dir /proc/nothing cannot be written" in ran.err


def test_a_data_directory_in_use_is_refused_with_pid_and_address(
    lookalike: Command, file: Path, tmp_path: Path
) -> None:
    run = RunDirectory.of(tmp_path / "data")
    with run.lock():
        run.write_state(state())
        ran = lookalike("up", "-f", file, "--data-dir", tmp_path / "data")
    assert ran.code == 1
    assert f"process {os.getpid()} at http://127.0.0.1:8123" in ran.err
    assert "lookalike down" in ran.err


def test_waiting_without_detaching_is_wrong_usage(lookalike: Command, file: Path) -> None:
    assert lookalike("up", "-f", file, "--wait").code == 2


def test_commands_find_the_server_of_a_data_directory(lookalike: Command, tmp_path: Path) -> None:
    run = RunDirectory.of(tmp_path / "data")
    with run.lock():
        run.write_state(replace(state(), url="http://127.0.0.1:9"))
        ran = lookalike("search", "mug", "--retriever", "r", "--data-dir", tmp_path / "data")
    assert "cannot connect to http://127.0.0.1:9" in ran.err


def test_a_server_that_is_starting_is_said_to_be(lookalike: Command, tmp_path: Path) -> None:
    run = RunDirectory.of(tmp_path / "data")
    with run.lock():
        run.write_state(replace(state(), phase=Phase.STARTING))
        ran = lookalike("search", "mug", "--data-dir", tmp_path / "data")
    assert ran.code == 3
    assert "still starting" in ran.err


def test_a_server_that_is_gone_is_said_to_be(lookalike: Command, tmp_path: Path) -> None:
    run = RunDirectory.of(tmp_path / "data")
    run.path.mkdir(parents=True)
    run.write_state(state())
    ran = lookalike("search", "mug", "--data-dir", tmp_path / "data")
    assert ran.code == 3
    assert "is not running" in ran.err
    assert lookalike("status", "--data-dir", tmp_path / "data").code == 3


def test_a_server_whose_command_was_killed_is_waited_for(tmp_path: Path) -> None:
    run = RunDirectory.of(tmp_path / "data")
    gone = subprocess.Popen(["true"])
    gone.wait()
    said: list[str] = []
    with ExitStack() as holder:
        holder.enter_context(run.lock())
        run.write_state(replace(state(), parent_pid=gone.pid, parent_identity="long ago"))

        def waiting(text: str) -> None:
            said.append(text)
            holder.close()  # the server has ended

        assert claim(tmp_path / "data", waiting) == run
    assert said == ["waiting for the previous server to end"]


def test_a_full_disk_is_said_to_be_full(
    lookalike: Command, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=3 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    ran = lookalike("up", "-f", file, "--data-dir", "data")
    assert ran.code == 1
    assert "3 MiB are free on its disk, and a server needs 256" in ran.err
