"""`up --watch` applies what was saved, however an editor saves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Command

from lookalike_cli.failure import Failure
from lookalike_cli.watching import Watch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text("first")
    return path


@pytest.fixture
def applied() -> list[str]:
    return []


@pytest.fixture
def watch(file: Path, applied: list[str]) -> Watch:
    return Watch([file], lambda: applied.append(file.read_text()))


def looks(watch: Watch, times: int = 3) -> None:
    for _ in range(times):
        watch.look()


def test_nothing_is_applied_before_something_changes(watch: Watch, applied: list[str]) -> None:
    looks(watch)
    assert applied == []


def test_a_saved_file_is_applied_once(watch: Watch, file: Path, applied: list[str]) -> None:
    file.write_text("second")
    looks(watch)
    assert applied == ["second"]


def test_a_file_that_is_put_in_its_place_is_seen(
    watch: Watch, file: Path, applied: list[str]
) -> None:
    other = file.with_suffix(".tmp")
    other.write_text("second")
    file.unlink()
    looks(watch)
    assert applied == []
    other.rename(file)
    looks(watch)
    assert applied == ["second"]


def test_of_several_quick_saves_the_last_is_applied(
    watch: Watch, file: Path, applied: list[str]
) -> None:
    for text in ("a", "ab", "abc"):
        file.write_text(text)
        watch.look()
    looks(watch)
    assert applied == ["abc"]


def test_a_save_that_is_taken_back_at_once_is_none(
    watch: Watch, file: Path, applied: list[str]
) -> None:
    file.write_text("second")
    watch.look()
    file.write_text("first")
    looks(watch)
    assert applied == []


def test_what_cannot_be_applied_is_told_and_the_next_save_tried(
    lookalike: Command, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def take_over() -> None:
        tried.append(file.read_text())
        if "bad" in tried[-1]:
            raise Failure("the weights are no weights")

    watch = Watch([file], take_over)
    for text in ("bad", "good"):
        file.write_text(text)
        looks(watch)
    assert tried == ["bad", "good"]


def test_watching_goes_without_detaching(lookalike: Command, file: Path) -> None:
    ran = lookalike("up", "-f", file, "--watch", "--detach")
    assert ran.code == 2
    assert "--watch keeps running" in ran.err
