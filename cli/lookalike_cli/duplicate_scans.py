"""`lookalike duplicates --scan` and `--apply`: the duplicates of a whole collection."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import Output
from lookalike_cli.printing import counted, size

if TYPE_CHECKING:
    from lookalike import DuplicateGroup, DuplicateScan, Lookalike

_ACTIVE = ("QUEUED", "RUNNING", "CANCELLING")


class Keep(StrEnum):
    LARGEST = "largest"
    OLDEST = "oldest"
    NEWEST = "newest"
    FIELD = "field"
    FOLDERS = "folders"


class Only(StrEnum):
    EXACT = "exact"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Scanning:
    """What a scan is asked for."""

    sensitivity: Literal["strict", "balanced", "loose"]
    keep: Keep
    field: str | None
    lowest: bool
    folders: list[str]
    filters: list[str]
    full: bool


@dataclass(frozen=True, slots=True)
class Applying:
    """What of a report is applied."""

    only: Only | None
    spare: list[str]
    yes: bool


def of_collection(
    client: Lookalike,
    collection: str,
    *,
    scan: Scanning | None,
    apply: Applying | None,
    cancel: bool,
    limit: int,
    output: Output,
) -> None:
    """Scan a collection, apply the newest report, cancel the newest scan, or show its report."""
    found = _scan(client, collection, scan) if scan is not None else _newest(client, collection)
    if cancel:
        if found.state not in _ACTIVE:
            raise Failure(
                f"no scan of {collection} is running: the newest, {found.scan_id}, is {found.state}"
            )
        found = client.duplicate_scans.cancel(collection, found.scan_id)
    if apply is not None:
        _apply(client, collection, found, apply, output)
    else:
        _show(client, collection, found, limit, output)
    if found.state == "FAILED":
        raise Failure(f"the scan failed: {found.failure}")


def _keep(asked: Scanning) -> dict[str, Any]:
    rule = asked.keep
    if (rule is Keep.FIELD) != (asked.field is not None):
        raise Failure("--keep field and --field KEY go together", ExitCode.USAGE)
    if (rule is Keep.FOLDERS) != bool(asked.folders):
        raise Failure("--keep folders and --folder FOLDER go together", ExitCode.USAGE)
    if rule is Keep.FIELD:
        order = "lowest" if asked.lowest else "highest"
        return {"rule": "field", "field": asked.field, "order": order}
    return {"rule": rule.value, **({"folders": asked.folders} if asked.folders else {})}


def _scan(client: Lookalike, collection: str, asked: Scanning) -> DuplicateScan:
    """Starts a scan and waits for it; what is interrupted goes on in the server."""
    from lookalike_cli.filters import parse_filters
    from lookalike_cli.printing import notices

    found = client.duplicate_scans.create(
        collection,
        sensitivity=asked.sensitivity,
        keep=_keep(asked),
        filters=parse_filters(asked.filters),
        full=asked.full,
    )
    told = time.monotonic()
    while found.state in _ACTIVE:
        time.sleep(0.5)
        found = client.duplicate_scans.get(collection, found.scan_id)
        if time.monotonic() - told > 5 and found.state == "RUNNING":
            told = time.monotonic()
            left = "" if found.eta_seconds is None else f", about {found.eta_seconds:,.0f} s left"
            line = f"{_how_far(found)}{left}"
            notices().print(line, markup=False)
    return found


def _how_far(scan: DuplicateScan) -> str:
    if scan.candidates is None:
        return f"{scan.done:,} of {counted(scan.documents, 'document')} read"
    return f"{scan.compared:,} of {counted(scan.candidates, 'pair')} compared"


def _newest(client: Lookalike, collection: str) -> DuplicateScan:
    found = next(iter(client.duplicate_scans.list(collection)), None)
    if found is None:
        raise Failure(f"no scan of {collection} yet: start one with --scan")
    return found


def _show(
    client: Lookalike, collection: str, scan: DuplicateScan, limit: int, output: Output
) -> None:
    from lookalike_cli.printing import console, print_json

    groups: list[DuplicateGroup] = []
    if scan.state == "COMPLETED":
        listing = client.duplicate_scans.groups(collection, scan.scan_id, limit=min(limit, 1000))
        groups = list(islice(listing, limit))
    if output is Output.JSON:
        print_json(
            {
                "scan": scan.model_dump(mode="json"),
                "groups": [each.model_dump(mode="json") for each in groups],
            }
        )
        return
    say = console().print
    if scan.state != "COMPLETED":
        say(f"The scan {scan.scan_id} is {scan.state}: {_how_far(scan)}.", markup=False)
        return
    say(
        f"{counted(scan.documents, 'document')}, {counted(scan.groups, 'group')}: "
        f"{counted(scan.duplicates, 'duplicate')} of {size(scan.bytes)}.",
        markup=False,
    )
    if scan.unreadable:
        unread = counted(scan.unreadable, "document")
        say(f"The image of {unread} could not be read.", markup=False)
    if scan.deleted is not None:
        say(f"{counted(scan.deleted, 'document')} deleted, as the spec says.", markup=False)
    if groups:
        say(_table(groups))
        deleted = "Nothing was deleted. " if not scan.deleted else ""
        say(
            f"{deleted}{client.base_url}/review shows them side by side; `lookalike duplicates "
            "--apply` deletes all but those that are kept, after a confirmation.",
            markup=False,
            soft_wrap=True,
        )
    if scan.groups > len(groups):
        say(f"There are more: --limit {limit * 10}", markup=False)


def _table(groups: list[DuplicateGroup]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table("group", "", "document", "verdict", "size", "why it is kept", right=("group",))
    for group in groups:
        kept = group.keeper
        size = f"{kept.width} × {kept.height}"
        number = str(group.group)
        made.add_row(number, "keep", shown(kept.document_id), "", size, shown(group.why))
        for each in group.members:
            size = f"{each.width} × {each.height}"
            made.add_row("", "", shown(each.document_id), each.verdict, size, "")
    return made


def _apply(
    client: Lookalike, collection: str, scan: DuplicateScan, asked: Applying, output: Output
) -> None:
    from lookalike_cli.asking import confirm
    from lookalike_cli.printing import console, print_json

    if scan.report_id is None:
        raise Failure(f"the scan {scan.scan_id} is {scan.state}: only a COMPLETED one has a report")
    verdicts: tuple[Literal["exact", "copy"], ...] = ("exact", "copy")
    if asked.only is not None:
        verdicts = ("exact",) if asked.only is Only.EXACT else ("copy",)

    def applied(*, dry_run: bool) -> Any:
        return client.duplicate_scans.apply(
            collection,
            scan.scan_id,
            scan.report_id or "",
            dry_run=dry_run,
            verdicts=verdicts,
            spare=asked.spare,
        )

    would = applied(dry_run=True)
    if not would.deleted:
        _nothing(scan, would, output)
        return
    what = f"{counted(would.deleted, 'duplicate')} of {size(would.bytes)}"
    confirm(f"Delete {what} from {collection}, as the report says?", yes=asked.yes)
    done = applied(dry_run=False)
    deleted, freed, left = done.deleted, done.bytes, done.told
    while done.more:
        done = applied(dry_run=False)
        deleted, freed, left = deleted + done.deleted, freed + done.bytes, done.told
    if output is Output.JSON:
        told = {"deleted": deleted, "bytes": freed, "left": [each.model_dump() for each in left]}
        print_json(told)
        return
    say = console().print
    say(f"{counted(deleted, 'document')} deleted, {size(freed)}.", markup=False)
    _say_left(left)


def _nothing(scan: DuplicateScan, would: Any, output: Output) -> None:
    from lookalike_cli.printing import console, print_json

    if output is Output.JSON:
        left = [each.model_dump() for each in would.told]
        print_json({"deleted": 0, "bytes": 0, "left": left})
        return
    if not scan.duplicates:
        why = "the scan found no duplicates"
    elif would.gone == scan.duplicates:
        why = f"{counted(would.gone, 'duplicate')} of the report are deleted already"
    else:
        why = f"{counted(would.gone, 'duplicate')} are deleted already, {would.left:,} stay"
    console().print(f"Nothing to delete: {why}.", markup=False)
    _say_left(would.told)


def _say_left(left: Sequence[Any]) -> None:
    from lookalike_cli.printing import console

    say = console().print
    for each in left[:20]:
        say(f"  left {each.document_id}: {each.why}", markup=False, soft_wrap=True)
    if len(left) > 20:
        say(f"  and {len(left) - 20:,} more", markup=False)
