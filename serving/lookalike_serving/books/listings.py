"""The pages of listings, kept while the processes of one run share them.

Whichever process lists a source writes each page of keys here, and all read them. A page is found
by the key that it starts after, so that whoever goes from page to page sees each key once, even if
two processes have listed the same part.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.books.store import CHUNK, records_of
from lookalike_serving.index.protocol import Point, PointStore


@dataclass(frozen=True, slots=True)
class Turn:
    """Which process lists a source at present."""

    holder: str
    beat: int
    """Grows every few seconds as long as the process lives."""


class Listings:
    """Those of one run of a collection. `index` is asked for at each use, since it may open late.

    Every write may be repeated. Raises IndexFailure, and what `index` raises.
    """

    def __init__(self, index: Callable[[], PointStore], scope: Scope, run: str) -> None:
        self._index = index
        self._scope = scope
        self._run = run

    async def find(self, place: str, after: str) -> tuple[str | None, Turn | None]:
        """The page of the keys that follow `after`, if it is there, and whose turn it is to list.

        `place`: what is listed.
        """
        page, turn = self._page_id(place, after), self._turn_id(place)
        found = {each.id: each.payload for each in await self._index().retrieve([page, turn])}
        now = found.get(turn)
        return (
            found[page]["page"] if page in found else None,
            None if now is None else Turn(now["holder"], now["beat"]),
        )

    async def write(self, place: str, after: str, page: str) -> None:
        made = Point(self._page_id(place, after), None, {"run": self._run, "page": page})
        await self._index().upsert([made])

    async def turn(self, place: str) -> Turn | None:
        found = await self._index().retrieve([self._turn_id(place)])
        return Turn(found[0].payload["holder"], found[0].payload["beat"]) if found else None

    async def take_turn(self, place: str, turn: Turn) -> None:
        """The last one who takes it has it."""
        told = {"run": self._run, "holder": turn.holder, "beat": turn.beat}
        await self._index().upsert([Point(self._turn_id(place), None, told)])

    async def end_turn(self, place: str) -> None:
        await self._index().delete([self._turn_id(place)])

    async def drop_others(self, runs: Container[str]) -> None:
        """Forget what belongs to no run of these."""
        gone: list[str] = []
        async for id, payload in records_of(self._index(), self._scope, Kind.LISTING, ("run",)):
            if payload.get("run") not in runs:
                gone.append(id)
            if len(gone) == CHUNK:
                await self._index().delete(gone)
                gone = []
        if gone:
            await self._index().delete(gone)

    def _page_id(self, place: str, after: str) -> str:
        return self._scope.id(Kind.LISTING, self._run, "page", place, after)

    def _turn_id(self, place: str) -> str:
        return self._scope.id(Kind.LISTING, self._run, "turn", place)
