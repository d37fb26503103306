"""Each exception of the service has one row of the table, and every consumer reads that row."""

from __future__ import annotations

import errno
import importlib
import pkgutil

import pytest
from starlette.requests import Request

import lookalike_serving
from lookalike_crds.failures import FAILURES, INTERNAL, STORAGE_FAILED, STORAGE_FULL, FailureKind
from lookalike_serving.failures import kind_of
from lookalike_serving.gateway.errors import problem_of
from lookalike_serving.images import Code, ImageError
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch
from lookalike_serving.problems import Problem

_NOT_OF_THE_SERVICE = {
    # Never reach a caller or end a run: who calls catches them.
    "lookalike_serving.gateway.notices.NotUnderstood",
    "lookalike_serving.gateway.wanted.CallerLeft",
    "lookalike_serving.images.exif._Bad",
    "lookalike_serving.images.fetch._Forbidden",
    "lookalike_serving.images.isolated._WentIdle",
    "lookalike_serving.index.bulk._Refusal",
    "lookalike_serving.index.filters.values.WrongFilter",
    "lookalike_serving.ingest.sources.archives.BadArchive",
    "lookalike_serving.ingest.sources.csv_rows._TooLong",
    "lookalike_serving.ingest.sources.rows.BadRow",
    "lookalike_serving.ingest.sources.rows.SkippedRow",
    "lookalike_serving.parquet.child._Refused",
    "lookalike_serving.parquet.process.Damaged",
    "lookalike_serving.parquet.process.NoImages",
    "lookalike_serving.parquet.process.TooLarge",
    "lookalike_serving.search.buckets.TooMany",
    "lookalike_serving.batches.work.Halted",
    "lookalike_serving.index.edge_optimizer.Shrank",
    "lookalike_serving.documents.ids.BadDocumentId",
    # Of commands on this machine, which the command line tells.
    "lookalike_serving.indexes.left_behind.Kept",
    "lookalike_serving.machine.rundir.DataDirInUse",
}


_COMMANDS = {"app", "demo", "kuberay", "local"}
"""What only commands on this machine raise; Ray takes long to import."""


def exceptions() -> dict[str, type[BaseException]]:
    """Every exception class that the package defines, by its full name."""
    found: dict[str, type[BaseException]] = {}
    for part in pkgutil.iter_modules(lookalike_serving.__path__, "lookalike_serving."):
        if part.name.rpartition(".")[2] in _COMMANDS:
            continue
        module = importlib.import_module(part.name)
        inner = getattr(module, "__path__", ())
        names = [each.name for each in pkgutil.walk_packages(inner, f"{part.name}.")]
        for name in (part.name, *names):
            if name.endswith("__main__"):
                continue
            for value in vars(importlib.import_module(name)).values():
                if (
                    isinstance(value, type)
                    and issubclass(value, BaseException)
                    and value.__module__ == name
                ):
                    found[f"{name}.{value.__name__}"] = value
    return found


def test_each_exception_that_ends_a_request_or_a_run_has_one_row() -> None:
    rows = {name: getattr(value, "failure_kind", None) for name, value in exceptions().items()}
    lacking = {name for name, row in rows.items() if row is None}
    # `Problem` is given its row when it is made.
    assert lacking - _NOT_OF_THE_SERVICE == {"lookalike_serving.problems.Problem"}
    assert lacking >= _NOT_OF_THE_SERVICE, "an exception has gone, or has a row now"
    for name, row in rows.items():
        assert row is None or isinstance(row, property) or row in FAILURES, name


def test_each_code_of_an_image_has_its_row() -> None:
    for code in Code:
        assert kind_of(ImageError(code, "told")).code == f"image-{code.replace('_', '-')}"


@pytest.mark.parametrize(
    ("number", "row"),
    [
        (errno.ENOSPC, STORAGE_FULL),
        (errno.EDQUOT, STORAGE_FULL),
        (errno.EROFS, STORAGE_FAILED),
        (errno.EIO, STORAGE_FAILED),
        (errno.EPERM, INTERNAL),
    ],
)
def test_a_disk_that_fails_is_told_by_its_number(number: int, row: FailureKind) -> None:
    assert kind_of(OSError(number, "told")) is row


@pytest.mark.parametrize("row", FAILURES, ids=str)
def test_the_gateway_answers_with_the_row(row: FailureKind) -> None:
    class Failing(Exception):
        failure_kind = row

    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    for failure in (Failing("told"), Problem(row, "told")):
        problem = problem_of(failure, request)
        assert (problem.status, problem.code) == (row.status, row.code)
        assert problem.headers.get("Retry-After") == (
            None if row.retry_after is None else str(row.retry_after)
        )


def test_an_index_of_other_settings_is_a_conflict_that_no_retry_mends() -> None:
    row = kind_of(IndexMismatch("made for another model"))
    assert (row.status, row.retryable, row.retry_after) == (409, False, None)
    assert issubclass(IndexMismatch, IndexFailure)
