"""The changes of all collections of a service: lines, and folders that are watched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from lookalike_crds.image_collection import Engine
from lookalike_crds.sources import SourceSpec
from lookalike_serving.ingest.changes.line import Key, Line, Waiting
from lookalike_serving.ingest.changes.watch import watch, watched_folder
from lookalike_serving.service import Service

_LOOK_SECONDS = 2.0

log = logging.getLogger("lookalike.changes")


class Changes:
    """`start` and `close` frame its life. Follows the sources that the service's configuration
    names."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lines: dict[str, Line] = {}
        self._watching: dict[tuple[str, str], tuple[SourceSpec, asyncio.Task[None]]] = {}
        """By collection and source."""
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._follow_now()
        self._following = asyncio.create_task(self._follow(), name="changes")

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        watching = [task for _, task in self._watching.values()]
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        lines = list(self._lines.values())
        await asyncio.gather(*(each.close() for each in lines))

    async def accept(self, collection: str, keys: Sequence[tuple[str, str]]) -> None:
        """Take (source, key)s that were told to have changed: when it returns, they are written
        down. Raises Problem 404, 429 or 503, IndexFailure."""
        await self._line(collection).accept([Key(*each) for each in keys])

    def waiting(self, collection: str) -> Waiting:
        """Raises Problem 404 or 503."""
        return self._line(collection).waiting

    def _line(self, collection: str) -> Line:
        state = self._service.collection(collection)
        if collection not in self._lines:
            alone = state.config.index.engine is Engine.EDGE
            line = self._lines[collection] = Line(self._service, collection, alone=alone)
            line.start()
        return self._lines[collection]

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._follow_now()

    def _follow_now(self) -> None:
        """A line for each collection that is open and has sources, so that what an earlier process
        left is taken up."""
        wanted: dict[tuple[str, str], SourceSpec] = {}
        for each in self._service.config.sources:
            if each.collection in self._service.collections:
                self._line(each.collection)
                wanted |= {
                    (each.collection, source.name): source
                    for source in each.sources
                    if watched_folder(source) is not None
                }
        for place, (source, task) in list(self._watching.items()):
            if wanted.get(place) != source:
                task.cancel()
                del self._watching[place]
        for place in wanted.keys() - self._watching.keys():
            watching = self._watch(place[0], wanted[place])
            self._watching[place] = wanted[place], asyncio.create_task(watching, name="watches")

    async def _watch(self, collection: str, source: SourceSpec) -> None:
        def tell(keys: Iterable[str]) -> None:
            if collection in self._service.collections:
                self._line(collection).hint(Key(source.name, key) for key in keys)

        try:
            await watch(source, tell)
        except Exception:
            log.exception("source %s is not watched any more", source.name)
