"""Of several releases that watch a namespace, one is active there: the one that holds its mark.

The replicas of one release share a lease (lease.py). Two releases cannot see each other's lease:
one may watch the whole cluster and the other a list of namespaces, and neither needs the right to
read anything elsewhere. Both see the namespace, so the active release leaves a mark there, a Lease
called `lookalike-release`, before it writes anything else. It does so in each namespace that has
one of our resources, and removes the mark with the last of them.

A mark is only renewed if somebody asks, so that nothing is written to a cluster at rest:

- The active release reads its marks every `look` seconds, and answers each that has been asked
  about.
- A release that finds the mark of another asks, by an annotation, whether that release still
  exists, and does nothing else. If there is no answer for `answer` seconds, it takes the mark over.
- A release that could not read its marks for `trust` seconds is not active until it has read them.
  This is much shorter than the time after which another may take a mark over, whatever connections,
  pauses and clocks do: all durations are measured here, on the monotonic clock.

A process that ends leaves its marks, and the next pod of its release continues with them.
Uninstalling removes them (release.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lookalike_crds.moments import now_text
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.engine.lease import LEASE_NAME
from lookalike_operator.kinds import LEASE
from lookalike_operator.settings import MarkTimes

log = logging.getLogger(__name__)

Mark = dict[str, Any]

MARK_NAME = "lookalike-release"
ASKED_BY = "lookalike.dev/asked-by"
"""On a mark: another release wants to know whether the holder still exists."""

_RETRY_SECONDS = 2.0
_AT_ONCE = 10
"""Number of marks that are written concurrently."""
_BEING_TERMINATED = "because it is being terminated"
"""How the API server describes a namespace in which nothing can be created any more."""


def release_name(namespace: str) -> str:
    """A release. All its pods share the name: a namespace holds one release, since it holds one
    lease."""
    return f"{namespace}/{LEASE_NAME}"


def holder_of(mark: Mark) -> str:
    return str((mark.get("spec") or {}).get("holderIdentity") or "")


async def read_marks(cluster: Cluster, watched: Sequence[str]) -> dict[str, Mark]:
    """By namespace; `watched`: none means all. Raises ApiError."""
    if not watched:
        listing = await cluster.list(LEASE, None, fields=f"metadata.name={MARK_NAME}")
        return {mark["metadata"]["namespace"]: mark for mark in listing.items}
    found = {namespace: await cluster.get(LEASE, namespace, MARK_NAME) for namespace in watched}
    return {namespace: mark for namespace, mark in found.items() if mark is not None}


async def delete_mark(cluster: Cluster, mark: Mark, release: str) -> bool:
    """Whether the mark belonged to the release and is now removed. Raises ApiError."""
    if holder_of(mark) != release:
        return False
    meta = mark["metadata"]
    await cluster.delete(LEASE, meta["namespace"], MARK_NAME, uid=meta["uid"])
    return True


@dataclass(slots=True)
class _Known:
    """What is known about one namespace."""

    confirmed: float | None = None
    """When the mark was last known to be ours. None: it is not."""
    other: str = ""
    """The release that is active there instead."""
    problem: str = ""
    """Why it is not known whose it is."""
    asked_version: str = ""
    asked_since: float = 0.0
    """The version of another's mark that has been asked about, and since when we know it."""
    ask_at: float = 0.0
    """Not before this time: it has answered recently."""


class Namespaces:
    """In which of the watched namespaces this release is active."""

    def __init__(
        self,
        cluster: Cluster,
        watched: tuple[str, ...],
        release: str,
        times: MarkTimes,
        *,
        wanted: Callable[[], set[str]],
        gained: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`watched`: None means all. `wanted`: those that have our resources. `gained` is called
        whenever this release becomes active in a namespace."""
        if not times.look < times.trust < times.answer:
            raise ValueError("marks need look < trust < answer")
        self._cluster = cluster
        self._watched = watched
        self.release = release
        self._times = times
        self._wanted = wanted
        self._gained = gained
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._wake = asyncio.Event()
        self._problem = ""

    def ours(self, namespace: str) -> bool:
        """Whether this release may write there now."""
        known = self._known.get(namespace)
        if known is None:
            # There is a resource in a namespace that had none.
            self._wake.set()
            return False
        return self._certain(known)

    @property
    def others(self) -> dict[str, str]:
        """Where another release is active, and its name."""
        return {name: known.other for name, known in self._known.items() if known.other}

    def missing(self) -> str | None:
        """Why this release cannot be active anywhere although there are resources, or None."""
        if any(self._certain(known) for known in self._known.values()):
            return None
        if self._known and all(known.other for known in self._known.values()):
            told = "; ".join(f"{at}: {release}" for at, release in sorted(self.others.items())[:5])
            return (
                "another release of the operator is active in every namespace that this one "
                f"watches ({told}): uninstall one of them, or give them different "
                "watchNamespaces"
            )
        problems = [self._problem, *(known.problem for known in self._known.values())]
        told = next(filter(None, problems), "their marks have not been read yet")
        return f"it is not known whether another release is active in its namespaces: {told}"[:1000]

    async def run(self) -> None:
        """Maintain the marks. Never returns."""
        while True:
            self._wake.clear()
            pause = self._times.look
            try:
                if not await self._round():
                    pause = _RETRY_SECONDS
                self._problem = ""
            except ApiError as error:
                if error.message != self._problem:
                    log.warning("cannot read which release is active where: %s", error.message)
                self._problem, pause = error.message, _RETRY_SECONDS
            except Exception as error:
                # A defect must not end this: nothing would be done any more, without a word.
                log.exception("cannot keep the marks of namespaces up to date")
                self._problem = repr(error)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # -- one round ---------------------------------------------------------------------------------

    async def _round(self) -> bool:
        """False if something should be tried again soon. Raises ApiError."""
        began = self._clock()
        marks = await read_marks(self._cluster, self._watched)
        wanted = self._wanted()
        for namespace in self._known.keys() - wanted:
            del self._known[namespace]
        # First what needs no request: what was read grows old while the others are written.
        kept = {n for n in wanted if n in marks and self._is_kept(marks[n])}
        for namespace in kept:
            self._confirm(namespace, self._known.setdefault(namespace, _Known()), began)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def settle(namespace: str) -> bool:
            async with gate:
                try:
                    await self._settle(namespace, marks.get(namespace))
                except ApiError as error:
                    self._failed(namespace, error)
                    return False
            return True

        settled = await asyncio.gather(*(settle(namespace) for namespace in wanted - kept))
        for namespace in marks.keys() - wanted:
            await delete_mark(self._cluster, marks[namespace], self.release)
        return all(settled)

    def _is_kept(self, mark: Mark) -> bool:
        return holder_of(mark) == self.release and not _asked(mark)

    async def _settle(self, namespace: str, mark: Mark | None) -> None:
        """Create the mark, answer it, ask about it, or take it over. Raises ApiError."""
        known = self._known.setdefault(namespace, _Known())
        if mark is None:
            await self._create(namespace, known)
            return
        holder = holder_of(mark)
        if holder == self.release:
            written = self._answered(mark)
        elif not holder or await self._left(namespace, known, mark, holder):
            written = self._taken(mark)
        else:
            known.problem = ""
            return
        began = self._clock()
        await self._cluster.replace(written)
        self._confirm(namespace, known, began)

    async def _create(self, namespace: str, known: _Known) -> None:
        began = self._clock()
        try:
            await self._cluster.create(
                {
                    "apiVersion": LEASE.api_version,
                    "kind": LEASE.kind,
                    "metadata": {"name": MARK_NAME, "namespace": namespace},
                    "spec": self._spec(now_text("microseconds")),
                }
            )
        except ApiError as error:
            # Then only deletions are left to do, which may well be done twice.
            if not (error.status == 403 and _BEING_TERMINATED in error.message):
                raise
        self._confirm(namespace, known, began)

    def _confirm(self, namespace: str, known: _Known, at: float) -> None:
        gained = not self._certain(known)
        known.confirmed, known.other, known.problem, known.ask_at = at, "", "", 0.0
        if gained:
            self._gained(namespace)

    async def _left(self, namespace: str, known: _Known, mark: Mark, holder: str) -> bool:
        """Whether the release that holds the mark has gone. Asks if nobody has asked yet."""
        if holder != known.other:
            log.warning(
                "another release is active in namespace %s: %s; this one, %s, does nothing "
                "there until the other has gone",
                *(namespace, holder, self.release),
            )
        known.confirmed, known.other = None, holder
        now = self._clock()
        if not _asked(mark):
            if now < known.ask_at:
                return False
            known.ask_at = now + self._times.ask
            mark = await self._cluster.replace(self._asking(mark))
            now = self._clock()
        version = mark["metadata"]["resourceVersion"]
        if version != known.asked_version:
            known.asked_version, known.asked_since = version, now
        if now - known.asked_since < self._times.answer:
            return False
        log.warning("release %s has gone: taking over namespace %s", holder, namespace)
        return True

    def _failed(self, namespace: str, error: ApiError) -> None:
        known = self._known.setdefault(namespace, _Known())
        if error.passes:
            # Somebody was quicker, or the server is busy: the next round tells.
            log.debug("mark of namespace %s: %s", namespace, error.message)
        elif error.message != known.problem:
            log.error(
                "cannot mark namespace %s as belonging to this release, and does nothing there: %s",
                *(namespace, error.message),
            )
        known.problem = error.message

    def _certain(self, known: _Known) -> bool:
        confirmed = known.confirmed
        return confirmed is not None and self._clock() - confirmed < self._times.trust

    # -- what is written ---------------------------------------------------------------------------

    def _spec(self, acquired: str) -> dict[str, Any]:
        return {
            "holderIdentity": self.release,
            "leaseDurationSeconds": round(self._times.answer),
            "acquireTime": acquired,
            "renewTime": now_text("microseconds"),
        }

    def _answered(self, mark: Mark) -> Mark:
        """Replacing it fails if anybody has changed it since it was read."""
        acquired = mark["spec"].get("acquireTime") or now_text("microseconds")
        return {**mark, "metadata": _unasked(mark), "spec": self._spec(acquired)}

    def _taken(self, mark: Mark) -> Mark:
        return {**mark, "metadata": _unasked(mark), "spec": self._spec(now_text("microseconds"))}

    def _asking(self, mark: Mark) -> Mark:
        annotations = {**(mark["metadata"].get("annotations") or {}), ASKED_BY: self.release}
        return {**mark, "metadata": {**mark["metadata"], "annotations": annotations}}


def _asked(mark: Mark) -> bool:
    return ASKED_BY in (mark["metadata"].get("annotations") or {})


def _unasked(mark: Mark) -> dict[str, Any]:
    annotations = dict(mark["metadata"].get("annotations") or {})
    annotations.pop(ASKED_BY, None)
    return {**mark["metadata"], "annotations": annotations}
