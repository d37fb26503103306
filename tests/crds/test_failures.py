"""The table of failures: each row is whole, and what follows from it is consistent."""

from __future__ import annotations

import re

import pytest

from lookalike_crds.failures import (
    FAILURES,
    UNKNOWN,
    FailureKind,
    Part,
    Retry,
    RunExit,
    by_code,
    by_reason,
)

rows = pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.code)


@rows
def test_each_row_has_every_column(row: FailureKind) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", row.code)
    assert 400 <= row.status < 600
    assert row.means.endswith(".")
    assert row.remedy.endswith(".")
    if row.reason is not None:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", row.reason)


@rows
def test_what_ends_a_run_has_a_reason_and_what_ends_a_request_alone_has_none(
    row: FailureKind,
) -> None:
    assert (row.reason is None) == (row.part in (Part.REQUEST, Part.IMAGE))


@rows
def test_a_caller_is_told_to_wait_exactly_if_waiting_may_help(row: FailureKind) -> None:
    waits = row.retry is Retry.LATER and row.status in (429, 503)
    assert (row.retry_after is not None) == waits


@rows
def test_what_never_passes_is_answered_with_a_status_that_no_client_tries_again(
    row: FailureKind,
) -> None:
    if not row.retryable:
        assert row.status not in (429, 502, 503, 504, 507)


@rows
def test_the_exit_code_says_whether_another_run_may_succeed(row: FailureKind) -> None:
    assert (row.exit_code is RunExit.GIVE_UP) == (not row.retryable)


def test_codes_and_reasons_are_told_apart() -> None:
    assert len({row.code for row in FAILURES}) == len(FAILURES)
    reasons = [row.reason for row in FAILURES if row.reason is not None]
    assert len(set(reasons)) == len(reasons)
    for row in FAILURES:
        assert by_code(row.code) is row
        assert row.reason is None or by_reason(row.reason) is row


@pytest.mark.parametrize("reason", [None, "", "OfALaterVersion", "model weights not found"])
def test_what_is_not_in_the_table_is_unknown(reason: str | None) -> None:
    assert by_reason(reason) is UNKNOWN
