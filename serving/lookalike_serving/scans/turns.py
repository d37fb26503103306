"""Whose turn it is to apply a report: one at a time in a collection.

Two reports may keep different documents of one group. If they were applied at the same time, each
could delete what the other one keeps, and nothing of the group would be left.

Within a process, a turn is an entry of a dictionary. Between the replicas of a Qdrant server it is
a note in the record of the scan: whoever has written one reads those of all scans, and withdraws if
there is another. Of two that come at the same moment both may withdraw, but never do both go on. A
note that has not been renewed for a while is that of a killed process.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from lookalike_crds.failures import APPLY_ACTIVE
from lookalike_serving.problems import Problem
from lookalike_serving.scans.record import Turn
from lookalike_serving.scans.store import ScanStore

LEASE = timedelta(seconds=60)
_BEAT_SECONDS = 5.0


class HeldTurn:
    """A turn that is taken. To be renewed every few seconds as long as it is held."""

    def __init__(self, store: ScanStore, scan: str, owner: str, *, alone: bool) -> None:
        self._store = store
        self._scan = scan
        self._owner = owner
        self._alone = alone
        self._beaten = 0.0

    async def renew(self) -> None:
        """Raises IndexFailure."""
        if self._alone or time.monotonic() - self._beaten < _BEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        await self._store.save_turn(self._scan, Turn(self._owner, datetime.now(UTC)))


class Turns:
    """Those of one process. `alone`: there are no replicas."""

    def __init__(self, owner: str, *, alone: bool, lease: timedelta = LEASE) -> None:
        self._owner = owner
        self._alone = alone
        self._lease = lease
        self._held: dict[str, str] = {}
        """The scan whose report is applied, by collection."""

    @asynccontextmanager
    async def turn(self, store: ScanStore, collection: str, scan: str) -> AsyncIterator[HeldTurn]:
        """Held while the report of a scan is applied. Raises Problem 409 if another one is applied,
        and IndexFailure."""
        if (other := self._held.get(collection)) is not None:
            raise _active(collection, other)
        self._held[collection] = scan
        held = HeldTurn(store, scan, self._owner, alone=self._alone)
        try:
            if not self._alone:
                await self._refuse_others(store, collection)
                await held.renew()
            try:
                if not self._alone:
                    await self._refuse_others(store, collection)
                yield held
            finally:
                if not self._alone:
                    await store.save_turn(scan, None)
        finally:
            del self._held[collection]

    async def _refuse_others(self, store: ScanStore, collection: str) -> None:
        for scan in await store.scans():
            turn = scan.turn
            if turn is None or turn.owner == self._owner:
                continue
            if datetime.now(UTC) - turn.held_at < self._lease:
                raise _active(collection, scan.order.id)


def _active(collection: str, scan: str) -> Problem:
    return Problem(
        APPLY_ACTIVE,
        f"The report of scan {scan} of collection {collection!r} is being applied: apply yours "
        "when that has finished. What it deletes is left out then.",
    )
