"""Begins scans: those that somebody asks for, and those of a schedule.

A scan runs where the index is, in a serving process, and so the schedule is kept there too (docs/
adr/0014). The times of a schedule name its scans: two replicas that both see that one is due write
the same record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lookalike_crds import cron
from lookalike_crds.config import CollectionConfig
from lookalike_crds.failures import SCAN_ACTIVE
from lookalike_crds.image_collection import DuplicatesAction, DuplicatesSpec, KeepSpec
from lookalike_crds.moments import utc_text
from lookalike_serving.books.record import Scope
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.problems import Problem
from lookalike_serving.scans.record import (
    METHOD,
    FieldOrder,
    Keep,
    Order,
    Rule,
    Scan,
    ScanState,
)
from lookalike_serving.scans.store import ScanStore

_START_WITHIN = timedelta(hours=1)
"""A time of the schedule that was missed is made up for within this time, as a CronJob does."""


async def begin(
    store: ScanStore, order: Order, config: CollectionConfig, *, full: bool = False
) -> Scan:
    """Record a scan that is to run, unless it is recorded already. Raises Problem 409 while another
    one is active, IndexFailure.

    Unless it is to be `full`, it builds on the last scan that compared the same documents in the
    same way. Within a process, two must not begin at once (`ScanRunner.begin`). If two replicas
    begin one at once, the older one stays.
    """
    compares = _compares(order, config)
    basis = None
    for scan in await store.scans():
        if scan.order.id == order.id:  # another replica saw the same time of the schedule
            return scan
        if scan.state.active:
            raise _active(scan)
        same = scan.state is ScanState.COMPLETED and scan.order.compares == compares
        if same and basis is None and not full:
            basis = scan.order.id
    begun = await store.create(replace(order, compares=compares, basis=basis))
    for scan in await store.scans():
        if scan.state.active and _age(scan.order) < _age(order):
            await store.drop(order.id)
            raise _active(scan)
    return begun


def _age(order: Order) -> tuple[datetime, str]:
    return order.created_at, order.id


def _active(scan: Scan) -> Problem:
    order = scan.order
    by = "was asked for" if order.planned_for is None else "was begun by the schedule"
    at = utc_text(order.created_at, "seconds")
    return Problem(
        SCAN_ACTIVE,
        f"Scan {order.id} of collection {order.collection!r}, which {by} at {at}, is {scan.state}, "
        "and a collection has one scan at a time: wait until it has finished, or cancel it with "
        f"POST /v1/collections/{order.collection}/duplicate-scans/{order.id}/cancel or `lookalike "
        "duplicates --cancel`.",
    )


def due(
    config: CollectionConfig,
    scans: Sequence[Scan],
    since: datetime,
    now: datetime,
    set_at: datetime | None = None,
) -> Order | None:
    """The scan that the schedule of a collection asks for now. Pure.

    `scans`: the last ones. `since`: when this process began to look, before which nothing was
    missed that it knows of. `set_at`: when the schedule was set, if this process saw it.
    """
    spec = config.duplicates
    if spec is None or spec.schedule is None or any(scan.state.active for scan in scans):
        return None
    at = cron.last_time(spec.schedule, now)
    planned = [each.order.planned_for for each in scans if each.order.planned_for is not None]
    if at is None or at <= max(planned, default=since) or now - at > _START_WITHIN:
        return None
    if set_at is not None and at <= set_at:
        return None
    return Order(
        id=_planned_id(config, at),
        collection=config.name,
        created_at=now,
        sensitivity=Sensitivity(spec.sensitivity.value.lower()),
        keep=kept_by(spec.keep),
        planned_for=at,
        delete=_deleted_by(spec),
    )


def kept_by(spec: KeepSpec) -> Keep:
    return Keep(
        Rule(spec.rule.value.lower()),
        spec.field,
        FieldOrder(spec.order.value.lower()),
        spec.folders,
    )


def _deleted_by(spec: DuplicatesSpec) -> tuple[Verdict, ...]:
    if spec.action is not DuplicatesAction.DELETE:
        return ()
    return tuple(Verdict(verdict.value.lower()) for verdict in spec.verdicts)


def _planned_id(config: CollectionConfig, at: datetime) -> str:
    named = f"{Scope.of(config).text}\x00{at.astimezone(UTC).isoformat()}"
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _compares(order: Order, config: CollectionConfig) -> str:
    """Equal for scans of the same documents with the same candidates and verdicts."""
    parts = (METHOD, config.index.name, order.sensitivity, repr(order.filters))
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()[:16]
