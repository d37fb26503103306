"""What the status and an event report of duplicate scans, and of what is called similar: both are
known to the serving pods."""

from __future__ import annotations

from lookalike_crds.image_collection import (
    DuplicateScanStatus,
    ImageCollectionSpec,
    SimilarityStatus,
)
from lookalike_operator.plan.model import CollectionSnapshot, Event

AWAITED_SECONDS = 60.0
"""How often collections with spec.duplicates are reconciled for the end of a scan."""
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def is_awaited(spec: ImageCollectionSpec) -> bool:
    return spec.duplicates is not None


def reported(snapshot: CollectionSnapshot) -> DuplicateScanStatus | None:
    """What the status says: what was told last."""
    return snapshot.report.last_duplicate_scan or snapshot.status.last_duplicate_scan


def similarity(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> SimilarityStatus | None:
    """What was told last; nothing if nobody looks for duplicates any more."""
    if spec.duplicates is None:
        return None
    return snapshot.report.similarity or snapshot.status.similarity


def event(snapshot: CollectionSnapshot) -> Event | None:
    """The end of a scan, once."""
    scan, before = snapshot.report.last_duplicate_scan, snapshot.status.last_duplicate_scan
    if scan is None or (before is not None and before.id == scan.id):
        return None
    if scan.state == "Failed":
        return Event("Warning", "DuplicateScanFailed", f"duplicate scan {scan.id}: {scan.message}")
    if scan.state == "Cancelled":
        return Event("Normal", "DuplicateScanCancelled", f"duplicate scan {scan.id} was cancelled")
    return Event("Normal", "DuplicateScanCompleted", _told(scan))


def _told(scan: DuplicateScanStatus) -> str:
    found = (
        f"duplicate scan {scan.id} of {scan.scanned:,} documents: {scan.groups:,} groups with "
        f"{scan.documents:,} duplicates of {_size(scan.bytes)}"
    )
    if scan.deleted is not None:
        return f"{found}; {scan.deleted:,} documents were deleted, as spec.duplicates asks"
    return f"{found}; `lookalike duplicates` shows them" if scan.groups else found


def _size(count: int) -> str:
    value = float(count)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
