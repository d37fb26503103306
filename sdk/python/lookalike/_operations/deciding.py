"""What a person decided about the documents of a scan's report, and acting on that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from lookalike._arguments import mapping, plain
from lookalike._exchange import Call, Operation, Request, call
from lookalike._operations import duplicate_scans, paths
from lookalike.types import AppliedScan, DuplicateGroup

Decision = Literal["delete", "keep", "dismissed"]
_AT_ONCE = 1000
"""Documents that one request may name."""


def decide(
    collection: str,
    scan_id: str,
    group: DuplicateGroup,
    decisions: Mapping[str, Decision | None],
) -> Operation[DuplicateGroup]:
    """Note what was decided about members of a group; nothing is deleted. Others keep their
    decisions, and the review page shows all of them.

    group: one of `groups(collection, scan_id)`.
    decisions: by document id: `delete`; `keep`; `dismissed`, which also says that it and the keeper
        are not duplicates, as `client.collections.dismiss` does; None takes a decision back. A
        decision that takes the place of `dismissed` lifts what was said with it.

    Raises InvalidRequest for a document that is no member of the group, before anything is noted.
    """
    given = mapping(decisions, "decisions", '{"a.jpg": "delete"}')
    path = f"{paths.duplicate_scan(collection, scan_id)}/groups/{group.group}/decisions"
    request = Request("PUT", path, json=plain({"decisions": dict(given)}, ""))
    return (
        yield from call(Call(request, lambda answer: DuplicateGroup.model_validate(answer.json())))
    )


def apply_decisions(
    collection: str, scan_id: str, report_id: str, *, dry_run: bool = True
) -> Operation[AppliedScan]:
    """Delete the documents of a report that were decided to be deleted, and no others; a dry run
    comes first.

    report_id: of the scan, as it was looked at.

    Returns what was deleted in all, or would be. Documents that have changed since the scan are
    left. May be repeated. Raises InvalidRequest (409) if there was no dry run.
    """
    wanted: list[str] = []
    cursor: str | None = None
    while True:
        page = yield from duplicate_scans.groups(collection, scan_id, limit=_AT_ONCE).page(cursor)
        for group in page.items:
            wanted += [each.document_id for each in group.members if each.decision == "delete"]
        cursor = page.next_cursor
        if cursor is None:
            break
    done: list[AppliedScan] = []
    # Also nothing is applied: it says whether this is the report, and whether there was a dry run.
    for start in range(0, max(1, len(wanted)), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        applied = yield from duplicate_scans.apply(
            collection, scan_id, report_id, dry_run=dry_run, only=some
        )
        done.append(applied)
    return _together(done, dry_run)


def _together(done: list[AppliedScan], dry_run: bool) -> AppliedScan:
    counts: dict[str, Any] = {
        name: sum(getattr(each, name) for each in done)
        for name in ("deleted", "bytes", "gone", "left")
    }
    return AppliedScan(
        dry_run=dry_run,
        more=any(each.more for each in done),
        documents=tuple(id for each in done for id in each.documents),
        told=tuple(one for each in done for one in each.told),
        **counts,
    )
