"""A running service continues with another configuration; unchanged parts answer throughout.

    open what is new beside what answers  ->  swap  ->  close what is no longer used, after a while

Until the swap, a failure leaves everything as it was. A collection with a different model has a
different index, which has to be filled before it is searched. It is kept in `Service.filling`,
where ingestion finds it, and the former index answers until `finish` – unless it holds nothing.
What is stored in the former index while ingestion fills the new one is carried over by `finish`,
which knows the time from which on ingestion may have missed it. `lookalike_crds.config_changes`
defines which change requires what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from lookalike_crds.config import CollectionConfig, ServingConfig, light_of, with_light
from lookalike_crds.config_changes import Work, needs_restart, place_of, work_of
from lookalike_crds.failures import INDEX_UNAVAILABLE
from lookalike_serving.catching_up import CatchingUp
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch, IndexUnavailable
from lookalike_serving.machine.edge_places import MANIFEST
from lookalike_serving.service import CollectionState, Failure, Service
from lookalike_serving.together import to_its_end

log = logging.getLogger("lookalike.service")

_MOST_NAMED = 5


class Adoption:
    """Changes the configuration of one service, one change at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._changing = asyncio.Lock()

    async def take(self, wanted: ServingConfig, *, leave_behind: bool = False) -> ServingConfig:
        """Continue with `wanted`; returns the configuration that is then in force.

        They differ in the collections whose new index is still to be filled: `Service.filling`.
        `leave_behind`: even if documents that no source can provide again stay in an index that is
        no longer used. Raises ValueError, ModelError, IndexFailure, OSError: then nothing has
        changed.
        """
        async with self._changing:
            service = self._service
            if (reason := needs_restart(service.config, wanted)) is not None:
                raise ValueError(reason)
            with_light(wanted, light_of(wanted))  # raises where a retriever names what is not there
            await service.closing.until_free(each.index.path for each in wanted.collections)
            change = _Change(service, wanted, leave_behind)
            try:
                await change.open()
            except BaseException:
                await to_its_end(self._undo(change))
                raise
            # Runs to its end, whether or not the caller still waits for it.
            await to_its_end(self._swap(change))
            return service.config

    async def finish(
        self, collection: str, *, since: str, leave_behind: bool = False
    ) -> ServingConfig:
        """The new index is filled: it answers from now on. The configuration that is in force.

        `since`: the moment before the run that filled it (RFC 3339, UTC): what was stored, changed
        or deleted from then on is carried over here. `leave_behind`: even if a document cannot be
        embedded again. Raises IndexMismatch if one cannot and that is not meant, IndexUnavailable
        if one of the indexes is not open, KeyError if nothing is being filled.
        """
        async with self._changing:
            service = self._service
            state = await service.being_filled(collection)
            before = service.collections.get(collection)
            if before is None and not leave_behind:
                raise IndexUnavailable(
                    f"what was stored in the former index of collection {collection} in the "
                    f"meantime cannot be carried over: {service.failures.get(collection)}"
                )
            if before is not None:
                lost = await CatchingUp(service, before, state).until_level(since)
                if lost and not leave_behind:
                    raise _cannot_carry(collection, lost)
            service.config = without_filling(
                _with_collection(service.config, state.config), collection
            )
            service.answer_from(service.filling.pop(collection))
            if before is not None:
                # Requests that began before this moment still write into the former index.
                service.closing.later(
                    self._closed_level(before, state, since), before.config.index.path
                )
            self._close_unused(())
            return service.config

    async def _closed_level(
        self, before: CollectionState, state: CollectionState, since: str
    ) -> None:
        """Carry over what arrived at the last moment, and close the former index."""
        try:
            lost = await CatchingUp(self._service, before, state).what_arrived(since)
            if lost:
                log.error("%s", _cannot_carry(before.name, lost))
        finally:
            await before.index.close()

    async def abandon(self, collection: str) -> None:
        """Stop filling the index; what it contains stays on disk."""
        async with self._changing:
            state = self._service.filling.pop(collection, None)
            self._service.config = without_filling(self._service.config, collection)
            self._close_unused(() if state is None else (state,))

    async def _swap(self, change: _Change) -> None:
        try:
            left = await change.swap()
        except BaseException:
            await self._undo(change)
            raise
        self._service.images.take_roots(self._service.config.image_roots)
        self._service.buckets.take(self._service.config.buckets)
        self._close_unused(left)

    async def _undo(self, change: _Change) -> None:
        await change.undo()
        self._close_unused(())

    def _close_unused(self, states: Iterable[CollectionState]) -> None:
        """Close these indexes, and models that nothing uses any more, in a while."""
        service = self._service
        service.leave(*states)
        for ending in service.forget_models(service.models.values()):
            service.closing.later(ending)


class _Change:
    """The change from the service's configuration to `wanted`."""

    def __init__(self, service: Service, wanted: ServingConfig, leave_behind: bool) -> None:
        self._service = service
        self._wanted = wanted
        self._leave_behind = leave_behind
        self._states: dict[str, CollectionState] = {}
        """What is to answer."""
        self._filling: dict[str, CollectionState] = {}
        self._opened: list[tuple[CollectionState, bool]] = []
        """What this has opened, and whether it made the index."""
        self._in_place: list[tuple[CollectionState, CollectionConfig]] = []
        """Edge indexes, which one handle at a time has open: changed at the swap."""

    async def open(self) -> None:
        """Open everything that can be opened beside what answers. Raises what that raises."""
        for config in self._wanted.collections:
            await self._open(config)

    async def _open(self, config: CollectionConfig) -> None:
        name, service = config.name, self._service
        live = service.collections.get(name)
        if live is None:
            is_as_it_was = any(
                each.name == name and work_of(each, config) is Work.NOTHING
                for each in service.config.collections
            )
            if not is_as_it_was:  # else it is tried again, as before
                self._states[name] = await self._opening(config)
            return
        match work_of(live.config, config):
            case Work.ANOTHER_INDEX:
                await self._beside(live, config)
            case Work.FIELDS | Work.REOPENING if isinstance(live.index, EdgeIndex):
                self._states[name] = await self._service.over_same_index(live, config)
                self._in_place.append((live, config))
            case Work.FIELDS | Work.REOPENING:
                self._states[name] = await self._opening(config)
            case _:
                self._states[name] = await self._service.over_same_index(live, config)

    async def _beside(self, live: CollectionState, config: CollectionConfig) -> None:
        """Another index: it answers once it is filled; at once where nothing can fill it."""
        under_way = self._service.filling.get(config.name)
        if under_way is not None and place_of(under_way.config.index) == place_of(config.index):
            if work_of(under_way.config, config) is not Work.NOTHING:
                raise ValueError(
                    f"collection {config.name} is being embedded again: change its fields and "
                    "vector settings when that is complete (`lookalike status`)"
                )
            state = replace(under_way, config=config)
        else:
            # Nothing is left behind: every document is carried over before it answers.
            state = await self._opening(config, leave_behind=True)
        if config.sources or await live.index.count():
            self._filling[config.name] = state
            self._states[config.name] = live
        else:
            self._states[config.name] = state

    async def _opening(
        self, config: CollectionConfig, *, leave_behind: bool | None = None
    ) -> CollectionState:
        path = config.index.path
        makes = path is not None and not (path / MANIFEST).exists()
        if leave_behind is None:
            leave_behind = self._leave_behind
        state = await self._service.open(config, leave_behind=leave_behind)
        self._opened.append((state, makes))
        return state

    async def swap(self) -> list[CollectionState]:
        """From now on `wanted` answers. What answered and does no longer, to be closed.

        Raises IndexFailure if an index in use cannot be changed: it is as it was then.
        """
        done: list[CollectionState] = []
        try:
            for live, config in self._in_place:
                done.append(live)
                await self._change_in_place(live.config, config)
        except BaseException:
            for live in done:
                with suppress(IndexFailure, OSError):
                    await self._change_in_place(None, live.config)
            raise
        service = self._service
        before = (*service.collections.values(), *service.filling.values())
        in_force = self._wanted
        for name in self._filling:
            in_force = _with_collection(in_force, service.collections[name].config)
        filling = tuple(state.config for state in self._filling.values())
        in_force = in_force.model_copy(update={"filling": filling})
        service.config = in_force
        service.collections.clear()
        service.collections.update(self._states)
        service.filling.clear()
        service.filling.update(self._filling)
        for name in list(service.failures):
            if name in self._states or all(name != each.name for each in in_force.collections):
                del service.failures[name]
        return list(before)

    async def _change_in_place(self, was: CollectionConfig | None, now: CollectionConfig) -> None:
        """Of an open Edge index: payload indexes while it answers; other settings open it again,
        and requests of this collection are told to come again in the meantime."""
        service = self._service
        index = service.collections[now.name].index if now.name in service.collections else None
        if was is not None and work_of(was, now) is Work.FIELDS and isinstance(index, EdgeIndex):
            await index.take_fields(now.fields)
            return
        service.reopening.add(now.name)
        service.failures[now.name] = Failure(
            "its index is opened with other settings", INDEX_UNAVAILABLE
        )
        try:
            if index is not None:
                del service.collections[now.name]
                await index.close()
            opened = await service.open(now, leave_behind=True)
        finally:
            service.reopening.discard(now.name)
        self._states[now.name] = service.collections[now.name] = opened
        del service.failures[now.name]

    async def undo(self) -> None:
        """Close what was opened; an index that was made for it goes again."""
        for state, made in self._opened:
            with suppress(IndexFailure, OSError):
                await (state.index.drop() if made else state.index.close())


def _with_collection(config: ServingConfig, collection: CollectionConfig) -> ServingConfig:
    """A copy in which this one replaces the one with the same name."""
    collections = tuple(
        collection if each.name == collection.name else each for each in config.collections
    )
    return config.model_copy(update={"collections": collections})


def without_filling(config: ServingConfig, collection: str) -> ServingConfig:
    """A copy in which no index is filled for the collection."""
    filling = tuple(each for each in config.filling if each.name != collection)
    return config.model_copy(update={"filling": filling})


def _cannot_carry(collection: str, lost: list[str]) -> IndexMismatch:
    some = ", ".join(lost[:_MOST_NAMED]) + (", …" if len(lost) > _MOST_NAMED else "")
    return IndexMismatch(
        f"{len(lost)} documents of collection {collection} ({some}) that were stored while it was "
        "being embedded again cannot be embedded by its new model: delete them, or leave them "
        f"behind with `lookalike switch {collection}`"
    )
