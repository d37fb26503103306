"""Deletes the documents of a report that are not kept.

A document is deleted only if it and the keeper of its group are as the scan saw them: what has
changed since is left and told. Both are looked at again immediately before the deletion, with the
locks of both. So it may be done again, and does nothing twice. A deletion is noted as every other
one is: ingestion does not bring the document back until its object changes. Only who has the turn
of the collection deletes (`turns.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from lookalike_crds.failures import NOT_FOUND
from lookalike_serving.documents.layout import RESERVED, Origin, split
from lookalike_serving.documents.stored import remove_locked
from lookalike_serving.duplicates.verdicts import Verdict
from lookalike_serving.problems import Problem
from lookalike_serving.scans.deciding import spared
from lookalike_serving.scans.record import Member, Scanned
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.service import Service

MOST = 10_000
"""Documents that one call deletes: about as long as it takes, callers and proxies wait."""
_MOST_TOLD = 1000
_GROUPS = 100


class _Now(Enum):
    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Left:
    """A document that is not deleted, and why."""

    document_id: str
    why: str


@dataclass(slots=True)
class Applied:
    """What was done, or of a dry run what would be."""

    deleted: int = 0
    bytes: int = 0
    gone: int = 0
    """Already deleted."""
    left: int = 0
    more: bool = False
    """There is more to delete: call again."""
    documents: list[str] = field(default_factory=list)
    """The first of those that are deleted."""
    told: list[Left] = field(default_factory=list)
    """The first of those that are left."""

    def leave(self, document: Scanned, why: str) -> None:
        self.left += 1
        if len(self.told) < _MOST_TOLD:
            self.told.append(Left(document.document_id, why))

    def delete(self, document: Scanned) -> None:
        self.deleted += 1
        self.bytes += document.bytes
        if len(self.documents) < _MOST_TOLD:
            self.documents.append(document.document_id)


def version_of(origin: Origin) -> str:
    """Changes whenever the document does."""
    parts = (origin.updated_at, origin.sha256, origin.image)
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which members of the groups are deleted."""

    verdicts: Collection[Verdict] = tuple(Verdict)
    spare: Collection[str] = ()
    """Document ids that are left in any case."""
    only: Collection[str] | None = None
    """Document ids that are looked at; None: all of the report."""


async def tried(
    service: Service, collection: str, store: ScanStore, scan: str, choice: Choice
) -> Applied:
    """What `apply` would do now. Raises IndexFailure and Problem."""
    done = Applied()
    async for member, keeper, now, stays in _chosen(service, collection, store, scan, choice):
        if _goes(member, keeper, choice, now, stays, done):
            done.delete(member.document)
    return done


async def apply(
    service: Service,
    collection: str,
    store: ScanStore,
    scan: str,
    choice: Choice,
    go_on: Callable[[], Awaitable[bool]],
) -> Applied:
    """Delete at most `MOST` documents. To be called by who has the turn.

    `go_on` is asked before each deletion, and ends it by False. Raises IndexFailure and Problem;
    what was deleted until then is deleted.
    """
    done = Applied()
    async for member, keeper, now, stays in _chosen(service, collection, store, scan, choice):
        if not _goes(member, keeper, choice, now, stays, done):
            continue
        if done.deleted >= MOST or not await go_on():
            done.more = True
            return done
        document = member.document
        async with service.document_locks(collection, document.document_id, keeper.document_id):
            now = await _states(service, collection, [document, keeper])
            if _goes(member, keeper, choice, now, stays, done) and await _remove(
                service, collection, document, done
            ):
                done.delete(document)
    return done


async def _chosen(
    service: Service, collection: str, store: ScanStore, scan: str, choice: Choice
) -> AsyncIterator[tuple[Member, Scanned, Mapping[str, _Now], str | None]]:
    """The members that are looked at, with the keepers of their groups, what became of both, and
    why a member stays in any case."""
    first = 0
    while groups := await store.groups(scan, first, _GROUPS):
        first += _GROUPS
        seen = [d for g in groups for d in (g.keeper, *(m.document for m in g.members))]
        now = await _states(service, collection, seen)
        stay = await spared(service, collection, store, scan, groups)
        for group in groups:
            for member in group.members:
                id = member.document.document_id
                if choice.only is None or id in choice.only:
                    yield member, group.keeper, now, stay.get(id)


def _goes(
    member: Member,
    keeper: Scanned,
    choice: Choice,
    now: Mapping[str, _Now],
    stays: str | None,
    done: Applied,
) -> bool:
    """Whether a member is to be deleted; what becomes of it otherwise is noted."""
    document = member.document
    if now[document.point] is _Now.GONE:
        done.gone += 1
    elif document.document_id in choice.spare:
        done.leave(document, "spared, as asked")
    elif stays is not None:
        done.leave(document, stays)
    elif member.verdict not in choice.verdicts:
        done.leave(document, f"its verdict is {member.verdict}")
    elif now[document.point] is _Now.CHANGED:
        done.leave(document, "it has changed since the scan: scan again")
    elif now[keeper.point] is not _Now.SAME:
        what = "was deleted" if now[keeper.point] is _Now.GONE else "has changed"
        told = f"{keeper.document_id!r}, which is to be kept instead, {what} since the scan"
        done.leave(document, f"{told}: scan again")
    else:
        return True
    return False


async def _states(
    service: Service, collection: str, documents: Iterable[Scanned]
) -> dict[str, _Now]:
    """What became of documents since the scan, by point id."""
    seen = {each.point: each for each in documents}
    index = service.collection(collection).index
    found = await index.retrieve(list(seen), with_payload=(RESERVED,))
    there = {record.id: record.payload for record in found if RESERVED in record.payload}
    return {point: _now(there.get(point), document) for point, document in seen.items()}


def _now(payload: Mapping[str, object] | None, seen: Scanned) -> _Now:
    if payload is None:
        return _Now.GONE
    _, origin = split(dict(payload))
    return _Now.SAME if version_of(origin) == seen.version else _Now.CHANGED


async def _remove(service: Service, collection: str, document: Scanned, done: Applied) -> bool:
    try:
        await remove_locked(service, collection, document.document_id)
    except Problem as problem:
        if problem.failure_kind is not NOT_FOUND:
            raise
        done.gone += 1  # somebody else was faster
        return False
    return True
