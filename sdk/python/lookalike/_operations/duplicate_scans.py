"""Scans for duplicates: start one, wait, look at its groups, delete what is not kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from lookalike._arguments import mapping, plain
from lookalike._exchange import Answer, Call, Operation, Pause, Request, call
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import AppliedScan, DuplicateGroup, DuplicateScan, Filters

_FIRST_POLL_SECONDS = 0.2
_POLL_GROWTH = 1.5
_ACTIVE = ("QUEUED", "RUNNING", "CANCELLING")


def create(
    collection: str,
    *,
    sensitivity: Literal["strict", "balanced", "loose"] = "strict",
    keep: Mapping[str, Any] | None = None,
    filters: Filters | None = None,
    full: bool = False,
) -> Operation[DuplicateScan]:
    """Start a scan of a collection: which documents show the same picture?

    keep: which document of a group is kept: `{"rule": "largest"}` (the default), `oldest`,
        `newest`, `{"rule": "field", "field": "stars", "order": "highest"}`, or
        `{"rule": "folders", "folders": ["originals/"]}`.
    filters: only documents that match, as in a search.
    full: compare all documents again, also those that have not changed since an earlier scan.

    Raises InvalidRequest (409) while another scan of the collection is in progress.
    """
    body: dict[str, Any] = {"sensitivity": sensitivity}
    if keep is not None:
        body["keep"] = mapping(keep, "keep", '{"rule": "largest"}')
    if full:
        body["full"] = True
    if filters is not None:
        body["filters"] = mapping(filters, "filters", '{"status": "active"}')
    request = Request("POST", _scans(collection), json=plain(body, ""))
    return (yield from call(Call(request, _scan)))


def get(collection: str, scan_id: str) -> Operation[DuplicateScan]:
    """How far a scan is. Raises NotFound."""
    return (yield from call(Call(Request("GET", _path(collection, scan_id)), _scan)))


def wait(
    collection: str, scan_id: str, *, timeout: float | None = None, poll_seconds: float = 5.0
) -> Operation[DuplicateScan]:
    """Wait until a scan has ended, however it ended; see `state` of the result.

    timeout: seconds; raises TimeoutError (the scan continues). None waits without limit.
    poll_seconds: the longest pause between two requests; the first pauses are shorter.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = min(_FIRST_POLL_SECONDS, poll_seconds)
    while True:
        scan = yield from get(collection, scan_id)
        if scan.state not in _ACTIVE:
            return scan
        if deadline is not None and time.monotonic() + pause > deadline:
            raise TimeoutError(f"scan {scan_id} is still {scan.state} after {timeout:g} s")
        yield Pause(pause)
        pause = min(poll_seconds, pause * _POLL_GROWTH)


def cancel(collection: str, scan_id: str) -> Operation[DuplicateScan]:
    """Cancel a scan. One that has ended stays as it is."""
    request = Request("POST", f"{_path(collection, scan_id)}/cancel")
    return (yield from call(Call(request, _scan)))


def listing(collection: str) -> Pages[DuplicateScan]:
    """The last 20 scans of a collection, the newest first."""
    return Pages(_scans(collection), {}, lambda item, _: DuplicateScan.model_validate(item))


def groups(collection: str, scan_id: str, *, limit: int | None = None) -> Pages[DuplicateGroup]:
    """The groups that a completed scan has found, page by page as you iterate.

    limit: the number of groups per request, not in total.
    """
    return Pages(
        f"{_path(collection, scan_id)}/groups",
        {} if limit is None else {"limit": str(limit)},
        lambda item, _: DuplicateGroup.model_validate(item),
    )


def apply(
    collection: str,
    scan_id: str,
    report_id: str,
    *,
    dry_run: bool = True,
    verdicts: Iterable[Literal["exact", "copy"]] = ("exact", "copy"),
    spare: Iterable[str] = (),
    only: Iterable[str] | None = None,
) -> Operation[AppliedScan]:
    """Delete the duplicates of a report, never the documents that are kept; a dry run comes first.

    report_id: of the scan, as it was looked at.
    verdicts: delete only documents with these verdicts.
    spare: ids of documents to leave.
    only: ids of the only documents that may be deleted, at most 1,000; None: all of the report.
    """
    body: dict[str, Any] = {
        "report_id": report_id,
        "dry_run": dry_run,
        "verdicts": list(verdicts),
        "spare": list(spare),
    }
    if only is not None:
        body["only"] = list(only)
    request = Request("POST", f"{_path(collection, scan_id)}/apply", json=plain(body, ""))
    return (
        yield from call(Call(request, lambda answer: AppliedScan.model_validate(answer.json())))
    )


def _scans(collection: str) -> str:
    return f"{paths.collection(collection)}/duplicate-scans"


def _path(collection: str, scan_id: str) -> str:
    return paths.duplicate_scan(collection, scan_id)


def _scan(answer: Answer) -> DuplicateScan:
    return DuplicateScan.model_validate(answer.json())
