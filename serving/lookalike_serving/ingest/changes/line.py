"""The changed keys of one collection: told, kept until they have been looked at, looked at.

What is accepted is written down first, so that it is looked at even if the process is killed: the
next one, or another replica, takes it up. A key that is told again while it waits waits once.

    waiting --looked at, brought in--> settled
                |           |
                |           +-- it changed meanwhile, or an ingestion run wrote meanwhile: once more
                |           +-- its image cannot be read, which may pass: a few times more
                +-- the source or the index does not answer: later, with growing pauses

An ingestion run that goes on beside may write what it has read before a key changed. So a key that
was looked at during a run is looked at once more when the run has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import CollectionSources
from lookalike_crds.failures import TOO_MANY_REQUESTS
from lookalike_crds.sources import SourceSpec
from lookalike_serving.books.record import Changed
from lookalike_serving.books.store import Books
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.ingest.changes.matching import of_collection
from lookalike_serving.ingest.changes.session import Brought, Session
from lookalike_serving.ingest.sources import KeyedSource, SourceError
from lookalike_serving.ingest.sources.manifest import ManifestSource
from lookalike_serving.ingest.sources.named import Named
from lookalike_serving.problems import Problem
from lookalike_serving.service import Service
from lookalike_serving.together import woken

MOST_WAITING = 100_000
"""Keys; more are refused, and whoever sends them tries again later."""
_KEYS_OF_A_RECORD = 500
_AT_ONCE = 64
_IDLE = timedelta(seconds=5)
"""A session ends when nothing has come for so long."""
_LONGEST = timedelta(minutes=10)
_TICK_SECONDS = 1.0
_HOLD_EVERY = timedelta(seconds=30)
_LEFT_AFTER = timedelta(minutes=2)
"""Keys of another process are taken over when it has been silent for so long."""
_SKEW = timedelta(seconds=5)
"""Of the clocks of two processes, at most."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_PAUSES = Backoff(base=1.0, cap=60.0)
_MOST_ATTEMPTS = 8
"""With one image that cannot be read, over some four minutes. The next run tries it again."""

_MAY_PASS = (IndexFailure, ModelError, Problem, OSError)

log = logging.getLogger("lookalike.changes")


class Key(NamedTuple):
    source: str
    key: str


@dataclass(slots=True)
class _Record:
    """Keys that were accepted together, of which some are still to be looked at."""

    accepted_at: datetime
    left: set[Key]
    keys: tuple[Key, ...]


@dataclass(slots=True)
class _Pause:
    attempts: int = 0
    until: datetime = _LONG_AGO


@dataclass(slots=True)
class _Later:
    """A key whose image could not be read."""

    names: set[str]
    """Of the records that it is of."""
    attempts: int
    until: datetime
    waits: bool = True
    """False while it is looked at again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is told of a line."""

    keys: int
    oldest: datetime | None
    problem: str | None
    """Why keys wait, if they wait for something."""


class Line:
    """`start` and `close` frame its life. `alone`: no other process has the collection."""

    def __init__(self, service: Service, collection: str, *, alone: bool) -> None:
        self._service = service
        self._collection = collection
        self._alone = alone
        self._waiting: dict[Key, set[str]] = {}
        """In the order in which they came, with the records that they are of."""
        self._after_run: dict[Key, tuple[set[str], datetime]] = {}
        """Looked at while an ingestion run went on, and since when."""
        self._later: dict[Key, _Later] = {}
        """Looked at, and their image could not be read."""
        self._looking: set[Key] = set()
        self._records: dict[str, _Record] = {}
        self._pauses: dict[str, _Pause] = {}
        self._named: dict[str, tuple[SourceSpec, Named | None]] = {}
        """Which objects the manifests name that were gone through, by source."""
        self._problem: str | None = None
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self._held_at = _LONG_AGO
        self._looked = False
        """Whether this process has looked for what another one left."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name=f"changes of {self._collection}")

    async def close(self) -> None:
        """What waits stays written down."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def accept(self, keys: Sequence[Key]) -> None:
        """Take keys that were told to have changed. When it returns, none is lost any more.

        Raises Problem 429 or 503, IndexFailure: then none was accepted.
        """
        keys = tuple(dict.fromkeys(keys))
        if not keys:
            return
        if len(self._waiting) + len(keys) > MOST_WAITING:
            raise Problem(
                TOO_MANY_REQUESTS,
                f"{len(self._waiting):,} changes of collection {self._collection!r} wait to be "
                "looked at: send the events again later.",
                headers={"Retry-After": "30"},
            )
        books = await self._service.books(self._collection)
        now = datetime.now(UTC)
        parts = [keys[i : i + _KEYS_OF_A_RECORD] for i in range(0, len(keys), _KEYS_OF_A_RECORD)]
        made = {uuid.uuid4().hex: Changed(now, now, part) for part in parts}
        await books.note_changed(made)
        for name, record in made.items():
            self._take(name, record)

    def hint(self, keys: Iterable[Key]) -> None:
        """Take keys without writing them down: whoever tells them does so again after a restart."""
        for key in keys:
            self._waiting.setdefault(key, set())
        self._wake.set()

    @property
    def waiting(self) -> Waiting:
        later = {key for key, each in self._later.items() if each.waits}
        left = self._waiting.keys() | self._after_run.keys() | self._looking | later
        oldest = min((record.accepted_at for record in self._records.values()), default=None)
        return Waiting(len(left), oldest, self._problem)

    def _take(self, name: str, record: Changed) -> None:
        keys = tuple(Key(*each) for each in record.keys)
        self._records[name] = _Record(record.accepted_at, set(keys), keys)
        for key in keys:
            self._waiting.setdefault(key, set()).add(name)
        self._wake.set()

    # -- looking at them ---------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while True:
                self._wake.clear()
                try:
                    await self._step()
                except asyncio.CancelledError:
                    raise
                except _MAY_PASS as failure:
                    await self._put_off("", failure)
                except Exception as failure:
                    log.exception("changes of %s could not be looked at", self._collection)
                    await self._put_off("", failure)
                if not self._ready():
                    await woken(self._wake, _TICK_SECONDS)
        finally:
            await self._end_session()

    async def _step(self) -> None:
        """Look for what was left, look at some keys, end what is idle."""
        if self._is_paused(""):
            return
        now = datetime.now(UTC)
        if not self._looked or now - self._held_at > _HOLD_EVERY:
            await self._hold(now)
        if self._after_run:
            await self._take_up_after_runs()
        self._take_up_later(now)
        batch = self._ready()
        if batch:
            for source, keys in _by_source(batch).items():
                await self._look_at(source, keys)
            self._pauses.pop("", None)
        elif self._session is not None and now - self._session.used_at > _IDLE:
            await self._end_session()

    def _ready(self) -> list[Key]:
        """Keys to look at now, the first ones."""
        found: list[Key] = []
        if self._is_paused(""):
            return found
        for key in self._waiting:
            if not self._is_paused(key.source):
                found.append(key)
                if len(found) == _AT_ONCE:
                    break
        return found

    def _is_paused(self, source: str) -> bool:
        pause = self._pauses.get(source)
        return pause is not None and datetime.now(UTC) < pause.until

    async def _look_at(self, source: str, keys: list[Key]) -> None:
        """Of one source."""
        taken = {key: self._waiting.pop(key) for key in keys if key in self._waiting}
        self._looking = set(taken)
        try:
            again = await self._brought(source, taken)
        except BaseException as failure:
            self._looking = set()
            # They were the first, and are so again.
            self._waiting = {
                key: taken.get(key, set()) | self._waiting.get(key, set())
                for key in (*taken, *self._waiting)
            }
            if isinstance(failure, SourceError):
                await self._put_off(source, failure)
            elif isinstance(failure, _MAY_PASS) or not isinstance(failure, Exception):
                raise
            elif len(keys) > 1:
                for key in keys:
                    await self._look_at(source, [key])
            else:
                log.exception("%s of source %s is left to the next run", keys[0].key, source)
                await self._end_session(failure)
                await self._settle({keys[0]: self._waiting.pop(keys[0])})
            return
        self._pauses.pop(source, None)
        self._problem = None
        for key in again:
            self._waiting.setdefault(key, set()).update(taken.pop(key, set()))
        for key in list(taken):
            if key in self._later and not self._later[key].waits:
                del self._later[key]  # it was looked at again, and does not fail any more
        self._looking = set()
        await self._settle(taken)

    async def _brought(self, source: str, taken: dict[Key, set[str]]) -> set[Key]:
        """Bring documents to what is there; keys that have changed meanwhile.

        Raises SourceError, IndexFailure, ModelError, Problem, OSError.
        """
        began = datetime.now(UTC)
        session = await self._open_session()
        found = session.source(source)
        if found is None:
            log.warning("collection %s has no source %s any more", self._collection, source)
            return set()
        spec, opened = found
        again: set[Key] = set()
        through_all = any(opened.goes_through_all(key.key) for key in taken)
        named = await self._still_named(spec, opened, taken) if through_all else None
        if named is not None and not named.any_of(key.key for key in taken):
            return set()
        if through_all and (named is None or not named.few):
            brought = await self._go_through(session, spec, taken)
            looked_at = [key.key for key in taken]
        else:
            seen = await opened.look([key.key for key in taken])
            brought = await session.bring(spec, opened, seen)
            looked_at = [each.key for each in seen]
            if brought.wrote:
                now = {each.key: each.version for each in await opened.look(looked_at)}
                again = {Key(source, s.key) for s in seen if now.get(s.key, s.version) != s.version}
        for key in [Key(source, each) for each in brought.may_pass]:
            if key in taken:
                self._try_later(key, taken)
        if await self._a_run_wrote_since(began):
            for key in [Key(source, each) for each in looked_at]:
                if key not in again and key not in self._later:
                    self._after_run[key] = (taken.pop(key, set()), began)
        return again

    async def _still_named(
        self, spec: SourceSpec, source: KeyedSource, taken: Iterable[Key]
    ) -> Named | None:
        """Which objects a manifest names, if that is known and the manifest has not changed."""
        of, named = self._named.get(spec.name, (None, None))
        if named is None or of != spec or not isinstance(source, ManifestSource):
            return None
        return named if await source.still_named(named, [key.key for key in taken]) else None

    async def _go_through(
        self, session: Session, spec: SourceSpec, taken: dict[Key, set[str]]
    ) -> Brought:
        """Look at keys that take going through the whole source, with all others of the source
        that wait, so that it is done once. Meanwhile these keys stay this process's own."""
        for key in [key for key in self._waiting if key.source == spec.name]:
            taken[key] = self._waiting.pop(key)
        self._looking = set(taken)
        going = asyncio.ensure_future(session.go_through(spec, [key.key for key in taken]))
        try:
            while not going.done():
                await asyncio.wait({going}, timeout=_HOLD_EVERY.total_seconds())
                if not going.done():
                    await self._hold(datetime.now(UTC))
            brought = going.result()
            self._named[spec.name] = spec, brought.named
            return brought
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)

    def _try_later(self, key: Key, taken: dict[Key, set[str]]) -> None:
        """Keep a key whose image could not be read, unless it was tried often enough."""
        before = self._later.get(key)
        attempts = 1 if before is None else before.attempts + 1
        if attempts >= _MOST_ATTEMPTS:
            return
        until = datetime.now(UTC) + timedelta(seconds=_PAUSES.after(attempts))
        self._later[key] = _Later(taken.pop(key), attempts, until)

    def _take_up_later(self, now: datetime) -> None:
        for key, each in self._later.items():
            if each.waits and now >= each.until:
                each.waits = False
                self._waiting.setdefault(key, set()).update(each.names)

    async def _settle(self, done: dict[Key, set[str]]) -> None:
        """These were looked at for the last time."""
        ended = []
        for key, names in done.items():
            for name in names:
                record = self._records.get(name)
                if record is not None:
                    record.left.discard(key)
                    if not record.left:
                        del self._records[name]
                        ended.append(name)
        if ended:
            books = await self._service.books(self._collection)
            await books.forget_changed(ended)

    async def _put_off(self, source: str, failure: Exception) -> None:
        """Try again later. Of one source; of all, if it is no source's failure."""
        told = " ".join(str(failure).split()) or type(failure).__name__
        if told != self._problem:
            log.warning("changes of %s wait: %s", self._collection, told)
        self._problem = told
        pause = self._pauses.setdefault(source, _Pause())
        pause.attempts += 1
        pause.until = datetime.now(UTC) + timedelta(seconds=_PAUSES.after(pause.attempts))
        await self._end_session(failure)

    # -- runs beside -------------------------------------------------------------------------------

    async def _a_run_wrote_since(self, began: datetime) -> bool:
        """Whether an ingestion run may have written since then. Clocks may differ a little."""
        books = await self._service.books(self._collection)
        now = datetime.now(UTC)
        return any(
            run.may_write(now) or run.updated_at >= began - _SKEW
            for run in await books.runs()
            if not run.of_changes
        )

    async def _take_up_after_runs(self) -> None:
        now = datetime.now(UTC)
        if await self._a_run_wrote_since(now):
            return
        for key, (names, _) in self._after_run.items():
            self._waiting.setdefault(key, set()).update(names)
        self._after_run.clear()

    # -- sessions ----------------------------------------------------------------------------------

    async def _open_session(self) -> Session:
        state = self._service.collection(self._collection)
        declared = self._declared()
        session = self._session
        if session is not None and (
            session.state is not state
            or session.declared != declared
            or datetime.now(UTC) - session.started_at > _LONGEST
        ):
            await self._end_session()
            session = None
        if session is None:
            books = await self._service.books(self._collection)
            session = Session(self._service, state, declared, books)
            await session.__aenter__()
            self._session = session
        return session

    def _declared(self) -> CollectionSources:
        return of_collection(self._service.config.sources, self._collection)

    async def _end_session(self, failure: Exception | None = None) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        try:
            told = (None, None, None) if failure is None else (type(failure), failure, None)
            await session.__aexit__(*told)
        except Exception as error:
            log.warning("the record of looked at changes could not be ended: %s", error)

    # -- what is written down ----------------------------------------------------------------------

    async def _hold(self, now: datetime) -> None:
        """Say that this process still looks at its keys, and take over what others left."""
        books = await self._service.books(self._collection)
        mine = {
            name: Changed(record.accepted_at, now, tuple(record.keys))
            for name, record in self._records.items()
        }
        if mine and not self._alone:
            await books.note_changed(mine)
        await self._take_over(books, now)
        self._looked = True
        self._held_at = now

    async def _take_over(self, books: Books, now: datetime) -> None:
        async for name, record in books.changed():
            if name in self._records:
                continue
            if self._alone or now - record.held_at > _LEFT_AFTER:
                log.info("took up %d changes of %s", len(record.keys), self._collection)
                if not self._alone:
                    await books.note_changed({name: Changed(record.accepted_at, now, record.keys)})
                self._take(name, record)


def _by_source(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key.source, []).append(key)
    return found
