"""Reading and writing a collection's records. Every write may be repeated without harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from lookalike_serving.books.record import (
    KEPT_RUNS,
    Changed,
    Deletion,
    FailedEntry,
    KeptFeatures,
    Kind,
    Rejection,
    Run,
    RunPart,
    Scope,
    decode_changed,
    decode_deletion,
    decode_failure,
    decode_part,
    encode,
    encode_changed,
    runs_of,
)
from lookalike_serving.index.filters.equality import Equals
from lookalike_serving.index.protocol import Point, PointStore

_T = TypeVar("_T")

CHUNK = 1000
"""Records of one read or write."""


@dataclass(frozen=True, slots=True)
class Records(Generic[_T]):
    """One page."""

    items: tuple[_T, ...]
    next: str | None
    """The id after which the next page begins; None at the end."""


class Books:
    """One collection's. `index` is asked for at each use, since it may open late.

    Raises IndexFailure, and what `index` raises.
    """

    def __init__(self, index: Callable[[], PointStore], scope: Scope) -> None:
        self._index = index
        self._scope = scope

    # -- failures ----------------------------------------------------------------------------------

    def failure_id(self, source: str, key: str) -> str:
        return self._scope.id(Kind.FAILURE, source, key)

    async def failures(
        self, *, code: str | None = None, after: str | None = None, limit: int = CHUNK
    ) -> Records[FailedEntry]:
        """In an order that stays the same. `after`: `Records.next` of the page before."""
        page = await self._page(Kind.FAILURE, after, limit, code=code)
        return Records(tuple(decode_failure(payload) for _, payload in page.items), page.next)

    async def failure_ids(self) -> AsyncIterator[tuple[str, str, str]]:
        """(id, source, code) of every failure."""
        async for id, payload in self._all(Kind.FAILURE, ("source", "code")):
            yield id, payload["source"], payload["code"]

    async def failures_by_code(self) -> dict[str, int]:
        """Most frequent first."""
        found: Counter[str] = Counter()
        async for _, _, code in self.failure_ids():
            found[code] += 1
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    async def note_failures(self, entries: Sequence[FailedEntry]) -> None:
        """Note that these failed. One that is known has failed once more."""
        ids = [self.failure_id(entry.source, entry.key) for entry in entries]
        fresh = dict(zip(ids, entries, strict=True))
        for some in _chunks(list(fresh)):
            known = {record.id: record.payload for record in await self._index().retrieve(some)}
            points = []
            for id in some:
                told = encode(fresh[id])
                if before := known.get(id):
                    told["attempts"] += before.get("attempts", 0)
                    told["first_at"] = before.get("first_at", told["first_at"])
                points.append(Point(id, None, told))
            await self._index().upsert(points)

    async def settle(self, ids: Iterable[str]) -> None:
        """Forget failures: the image is in, or its entry is gone."""
        for some in _chunks(list(ids)):
            await self._index().delete(some)

    # -- deletions ---------------------------------------------------------------------------------

    async def deletions(self, *, after: str | None = None, limit: int = CHUNK) -> Records[Deletion]:
        page = await self._page(Kind.DELETION, after, limit)
        return Records(tuple(decode_deletion(payload) for _, payload in page.items), page.next)

    async def deletions_of(self, points: Sequence[str]) -> dict[str, Deletion]:
        """Of documents, by their point id; those that nobody deleted are left out."""
        if not points:
            return {}
        ids = {self._scope.id(Kind.DELETION, point): point for point in points}
        found: dict[str, Deletion] = {}
        for some in _chunks(list(ids)):
            for record in await self._index().retrieve(some):
                found[ids[record.id]] = decode_deletion(record.payload)
        return found

    async def note_deletions(self, deletions: dict[str, Deletion]) -> None:
        """By the point id of each document."""
        points = [
            Point(self._scope.id(Kind.DELETION, point), None, encode(deletion))
            for point, deletion in deletions.items()
        ]
        for some in _chunks(points):
            await self._index().upsert(some)

    async def lift(self, points: Sequence[str]) -> None:
        """Forget that documents were deleted, by their point ids."""
        for some in _chunks([self._scope.id(Kind.DELETION, point) for point in points]):
            await self._index().delete(some)

    # -- rejections --------------------------------------------------------------------------------

    async def rejections_of(self, points: Sequence[str]) -> dict[str, Rejection]:
        """Of images that were left out as copies, by the point id that each would have."""
        ids = {self._scope.id(Kind.REJECTION, point): point for point in points}
        found: dict[str, Rejection] = {}
        for some in _chunks(list(ids)):
            for record in await self._index().retrieve(some):
                found[ids[record.id]] = Rejection(**record.payload)
        return found

    async def note_rejection(self, point: str, rejection: Rejection) -> None:
        id = self._scope.id(Kind.REJECTION, point)
        await self._index().upsert([Point(id, None, asdict(rejection))])

    # -- features ----------------------------------------------------------------------------------

    async def note_features(self, features: Mapping[str, KeptFeatures]) -> None:
        """By the point id of each document."""
        points = [Point(self._features_id(id), None, asdict(each)) for id, each in features.items()]
        await self._index().upsert(points)

    async def features_of(self, point: str, image: str | None) -> str | None:
        """Those of a document's image; None if there are none, or of an earlier image only."""
        for record in await self._index().retrieve([self._features_id(point)]):
            if record.payload.get("image") == image:
                return str(record.payload["features"])
        return None

    async def forget_features(self, points: Iterable[str]) -> None:
        for some in _chunks([self._features_id(point) for point in points]):
            await self._index().delete(some)

    def _features_id(self, point: str) -> str:
        return self._scope.id(Kind.FEATURES, point)

    # -- runs --------------------------------------------------------------------------------------

    async def save_run(self, part: RunPart) -> None:
        id = self._scope.id(Kind.RUN, part.run, str(part.part))
        await self._index().upsert([Point(id, None, encode(part))])

    async def run_part(self, run: str, part: int) -> RunPart | None:
        found = await self._index().retrieve([self._scope.id(Kind.RUN, run, str(part))])
        return decode_part(found[0].payload) if found else None

    async def runs(self) -> list[Run]:
        """The newest first; at most `KEPT_RUNS`, and as many that looked at changed keys."""
        return _kept(await self._runs())[0]

    async def _runs(self) -> list[Run]:
        return runs_of([decode_part(payload) async for _, payload in self._all(Kind.RUN, True)])

    async def drop_old_runs(self) -> None:
        """Keep those that `runs` tells."""
        old = [
            self._scope.id(Kind.RUN, part.run, str(part.part))
            for run in _kept(await self._runs())[1]
            for part in run.parts
        ]
        for some in _chunks(old):
            await self._index().delete(some)

    # -- changes -----------------------------------------------------------------------------------

    async def note_changed(self, changed: dict[str, Changed]) -> None:
        """By a name that the caller chooses for each record."""
        points = [
            Point(self._scope.id(Kind.CHANGE, name), None, {**encode_changed(each), "name": name})
            for name, each in changed.items()
        ]
        for some in _chunks(points):
            await self._index().upsert(some)

    async def changed(self) -> AsyncIterator[tuple[str, Changed]]:
        """(name, record) of every one."""
        async for _, payload in self._all(Kind.CHANGE, True):
            yield payload["name"], decode_changed(payload)

    async def forget_changed(self, names: Iterable[str]) -> None:
        for some in _chunks([self._scope.id(Kind.CHANGE, name) for name in names]):
            await self._index().delete(some)

    # ----------------------------------------------------------------------------------------------

    async def _page(
        self, kind: Kind, after: str | None, limit: int, *, code: str | None = None
    ) -> Records[tuple[str, dict[str, Any]]]:
        """Records of a kind from the id `after` on."""
        if after is None or not self._scope.has(kind, after):
            after = self._scope.id_of_first(kind)
        page = await self._index().scroll(
            filter=None if code is None else Equals("code", code), limit=limit, after=after
        )
        mine = [(r.id, r.payload) for r in page.records if self._scope.has(kind, r.id)]
        more = page.next is not None and self._scope.has(kind, page.next)
        return Records(tuple(mine), page.next if more else None)

    def _all(
        self, kind: Kind, keys: bool | tuple[str, ...]
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        return records_of(self._index(), self._scope, kind, keys)


async def records_of(
    index: PointStore, scope: Scope, kind: Kind, keys: bool | tuple[str, ...] = True
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """(id, payload) of each record of a kind, in the order of ids. `keys`: of the payload.

    What has been yielded may be deleted meanwhile. Raises IndexFailure.
    """
    after: str | None = scope.id_of_first(kind)
    while after is not None:
        page = await index.scroll(limit=CHUNK, after=after, with_payload=keys)
        for record in page.records:
            if not scope.has(kind, record.id):
                return
            yield record.id, record.payload
        after = page.next


async def delete_all(index: PointStore, scope: Scope) -> int:
    """Delete everything that is recorded of a collection; the number of records.

    May be repeated, and goes on where it was interrupted. Raises IndexFailure.
    """
    deleted = 0
    for kind in Kind:
        if kind is Kind.CALIBRATION:  # of a retriever
            continue
        some: list[str] = []
        async for id, _ in records_of(index, scope, kind, keys=False):
            some.append(id)
            if len(some) == CHUNK:
                await index.delete(some)
                deleted += len(some)
                some = []
        if some:
            await index.delete(some)
            deleted += len(some)
    return deleted


def _kept(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """(those that are kept, those that are too old), each in the order that they came in."""
    seen: Counter[bool] = Counter()
    kept: list[Run] = []
    old: list[Run] = []
    for run in runs:
        (kept if seen[run.of_changes] < KEPT_RUNS else old).append(run)
        seen[run.of_changes] += 1
    return kept, old


def _chunks(things: list[_T]) -> list[list[_T]]:
    return [things[low : low + CHUNK] for low in range(0, len(things), CHUNK)]
