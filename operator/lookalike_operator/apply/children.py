"""The children of one resource: applied if they differ, created once, deleted if no longer named.

plan/changes.py computes the differences from the snapshot. A snapshot that is older than the
cluster does no harm: an object that it lacks is created only if the server has none of that name,
and the change that it misses leads to another reconcile.

Rules, in the order in which they matter:

1. Objects of others are not touched: an object of the same name that neither carries our owner
   reference nor asks to be adopted is reported, and stays as it is.
2. Nothing is created for a resource that no longer exists. A watch may be late, so before the first
   creation of a reconcile the server is asked, by uid, whether the resource still exists – unless
   it has just accepted one of our writes to that very version of the resource.
3. Nothing is written that exists already. An object that the server stores otherwise than we
   rendered it (because it normalises a field) is applied once; the remaining difference is
   remembered as normal.
4. If applying cannot correct something – a list that merges by keys and would hold one item twice,
   or a field that somebody added – the whole spec is replaced with the rendered one.
5. An object that somebody else keeps changing back is written less and less often.
6. A refused object (invalid, forbidden, over quota) stops the reconcile before anything is deleted.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from lookalike_operator.apply.contest import AT_ONCE, Contests
from lookalike_operator.apply.stamp import stamp_of, stamped
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import SECRET, kind_of
from lookalike_operator.observe.store import Store
from lookalike_operator.plan.changes import Change, differing
from lookalike_operator.plan.compare import Difference
from lookalike_operator.plan.model import Key, Manifest, ObjectRef, Written, ref_of
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.secrets import emptied, filled
from lookalike_operator.plan.surplus import managers, written_by_others

_REMEMBERED = 100_000
_DOUBTED_AFTER_SECONDS = 10.0


class OwnerGone(Exception):
    """The resource was deleted, or deleted and created again, without the watch reporting it
    yet."""


class Refused(Exception):
    """The API server refuses one of the objects."""

    def __init__(self, ref: ObjectRef, error: ApiError) -> None:
        super().__init__(f"{ref}: {error.message}")
        self.ref = ref
        self.error = error


@dataclass(frozen=True, slots=True)
class _Normal:
    """What an object looked like right after it was applied."""

    stamp: str
    differences: tuple[Difference, ...]


class Children:
    """For all resources: remembers across reconciles how the server stores our objects."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        verify_secrets: float,
        token: Callable[[], str] = lambda: secrets.token_urlsafe(32),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._token = token
        self._clock = clock
        self._verify_secrets = verify_secrets
        self._verified: LRUCache[str, float] = LRUCache(_REMEMBERED)
        """uid of the owner and reference of its Secret -> when that was last seen."""
        self._contests = Contests(clock)
        self._normal: LRUCache[str, _Normal] = LRUCache(_REMEMBERED)

    def look(self, key: Key, owner: Owner, *, first: bool = False) -> Look:
        """`first`: the resource has never been reconciled, so it has no children yet."""
        return Look(self, key, owner, first)


class Look:
    """The children of one resource during one reconcile."""

    def __init__(self, children: Children, key: Key, owner: Owner, first: bool) -> None:
        self._all = children
        self._cluster = children._cluster
        self._store = children._store
        self._key = key
        self._owner = owner
        self._first = first
        self._confirmed = False
        self.foreign: list[ObjectRef] = []
        self.written: list[str] = []
        """What was done, in words: `applied Deployment/x`."""
        self.emptied: str | None = None
        """A Secret whose key somebody removed, in words. It may not be written again."""
        self.contested: tuple[str, float] | None = None
        """An object that others keep changing back, in words, and the seconds until it is
        written."""

    def owner_is_there(self) -> None:
        """The server has just accepted a write to the version of the resource that was planned
        for."""
        self._confirmed = True

    async def apply(self, changes: Iterable[Change]) -> None:
        """Raises Refused, OwnerGone, ApiError."""
        for change in changes:
            await self._guarded(change, self._apply(change))

    async def create(self, changes: Iterable[Change], *, doubted: bool = False) -> None:
        """Raises Refused, OwnerGone, ApiError.

        `doubted`: something waits as if it were missing one of them; look for those that cannot be
        watched sooner than else.
        """
        for change in changes:
            await self._guarded(change, self._create(change, doubted))

    async def delete(self, children: Iterable[Manifest]) -> None:
        """Raises ApiError."""
        for live in children:
            ref, uid = ref_of(live), live["metadata"]["uid"]
            kind = kind_of(ref.api_version, ref.kind)
            answer = await self._cluster.delete(kind, ref.namespace, ref.name, uid=uid)
            if answer is None:
                self._store.drop(ref, uid)
            else:
                self._store.put(answer)
            self.written.append(f"deleted {ref}")

    # -- one object --------------------------------------------------------------------------------

    async def _guarded(self, change: Change, work: Awaitable[None]) -> None:
        try:
            await work
        except ApiError as error:
            if error.refused:
                raise Refused(ref_of(change.wanted), error) from error
            raise

    async def _apply(self, change: Change) -> None:
        ref, live = ref_of(change.wanted), change.live
        wanted = stamped(change.wanted)
        if live is None and not change.taken:
            await self._confirm_owner()
            created = await self._cluster.apply_new(wanted)
            if created is not None:
                self._took(wanted, created, self._found(wanted, created), "created")
                return
        if live is None:
            # The snapshot lacks what does not carry our labels.
            live = await self._get(ref)
            if live is None:
                raise ApiError(409, "Conflict", f"{ref} no longer exists")
            change = Change(change.wanted, live, self._found(wanted, live))
        if not self._owner.owns(live):
            self.foreign.append(ref)
            return
        if live["metadata"].get("deletionTimestamp") or self._is_applied(wanted, live, change):
            return
        if self._must_wait(ref, wanted, live, change):
            return
        answer, found = await self._mended(wanted, live)
        self._all._contests.wrote(answer["metadata"]["uid"], stamp_of(wanted) or "")
        self._took(wanted, answer, found, "applied")

    async def _mended(
        self, wanted: Manifest, live: Manifest
    ) -> tuple[Manifest, tuple[Difference, ...]]:
        """The object applied, its spec replaced if that is not enough; what differs still."""
        try:
            answer = await self._cluster.apply(wanted, force=True)
        except ApiError as error:
            if error.status != 422 or "spec" not in wanted:
                raise
            try:
                await self._cluster.replace_spec(live, _whole_spec(wanted, live))
            except ApiError as second:
                # Then it is not for what somebody changed that it is refused.
                raise (error if second.refused else second) from error
            answer = await self._cluster.apply(wanted, force=True)
        found = self._found(wanted, answer)
        if any(each.wanted is None and each.path.startswith("spec.") for each in found):
            # It is in the spec although it is not rendered.
            answer = await self._cluster.replace_spec(answer, _whole_spec(wanted, answer))
            found = self._found(wanted, answer)
        return answer, found

    def _found(self, wanted: Manifest, live: Manifest) -> tuple[Difference, ...]:
        """Of an object as the server has just sent it."""
        return differing(wanted, live, written_by_others(live))

    def _must_wait(self, ref: ObjectRef, wanted: Manifest, live: Manifest, change: Change) -> bool:
        uid, stamp = live["metadata"]["uid"], stamp_of(wanted) or ""
        contests = self._all._contests
        times, wait = contests.times(uid, stamp), contests.wait(uid, stamp)
        if times >= AT_ONCE and self.contested is None:
            # Without values: they change with each edit, and the status would with them.
            paths = dict.fromkeys(each.path for each in change.differences)
            where = ", ".join(list(paths)[:2]) or "its fields"
            self.contested = (f"{ref}: {where}. {_who(self._store.others(ref), times)}", wait)
        return wait > 0

    async def _create(self, change: Change, doubted: bool) -> None:
        manifest, live = change.wanted, change.live
        ref = ref_of(manifest)
        is_secret = (ref.api_version, ref.kind) == (SECRET.api_version, SECRET.kind)
        if is_secret and self._is_verified(ref, doubted):
            return
        # No snapshot has Secrets: those of a new resource alone are known to be missing.
        if live is None and (change.taken or (is_secret and not self._first)):
            live = await self._get(ref)
        if live is None:
            await self._confirm_owner()
            try:
                live = await self._cluster.create(filled(manifest, self._all._token))
                self.written.append(f"created {ref}")
            except ApiError as error:
                if not error.conflict:
                    raise
                live = await self._get(ref)
                if live is None:
                    raise
        if not self._owner.owns(live):
            self.foreign.append(ref)
        elif is_secret and (key := emptied(manifest, live)) is not None:
            self.emptied = (
                f"the key {key} was removed from {ref}: delete {ref} to have it created again"
            )
        elif is_secret:
            # What it holds is nobody's business here, so it does not go to the store.
            self._all._verified[self._seen_as(ref)] = self._all._clock()
        else:
            self._store.put(live)

    async def _get(self, ref: ObjectRef) -> Manifest | None:
        return await self._cluster.get(kind_of(ref.api_version, ref.kind), ref.namespace, ref.name)

    async def _confirm_owner(self) -> None:
        if self._confirmed:
            return
        kind = kind_of(self._owner.reference()["apiVersion"], self._owner.kind)
        live = await self._cluster.get(kind, self._owner.namespace, self._owner.name)
        uid = self._owner.meta.uid
        if live is None or live["metadata"]["uid"] != uid:
            raise OwnerGone(f"{self._key} of uid {uid} no longer exists")
        if live["metadata"].get("deletionTimestamp") and not self._owner.meta.deleting:
            self._store.put(live)
            raise ApiError(409, "Conflict", f"{self._key} is being deleted")
        self._confirmed = True

    # -- memory ------------------------------------------------------------------------------------

    def _is_applied(self, wanted: Manifest, live: Manifest, change: Change) -> bool:
        stamp = stamp_of(wanted) or ""
        if stamp != stamp_of(live):
            return False
        normal = self._all._normal.get(live["metadata"]["uid"])
        return not change.differences or normal == _Normal(stamp, change.differences)

    def _took(
        self, wanted: Manifest, answer: Manifest, found: tuple[Difference, ...], what: str
    ) -> None:
        """The server has stored `answer`, in which `found` differs from what was rendered."""
        uid = answer["metadata"]["uid"]
        self._store.put(answer)
        if found:
            self._all._normal[uid] = _Normal(stamp_of(wanted) or "", found)
        else:
            self._all._normal.pop(uid, None)
        self.written.append(f"{what} {ref_of(wanted)}")

    def _is_verified(self, ref: ObjectRef, doubted: bool) -> bool:
        longest = _DOUBTED_AFTER_SECONDS if doubted else self._all._verify_secrets
        seen = self._all._verified.get(self._seen_as(ref))
        return seen is not None and self._all._clock() - seen < longest

    def _seen_as(self, ref: ObjectRef) -> str:
        """A resource that was deleted and made again has Secrets of its own, of the same names."""
        return f"{self._owner.meta.uid} {ref}"


def _whole_spec(wanted: Manifest, live: Manifest) -> dict[str, Any]:
    """The spec as rendered, with the annotations that others put on its pods."""
    spec = dict(wanted["spec"])
    theirs = _annotations((live.get("spec") or {}).get("template"))
    if "template" in spec and theirs:
        template = dict(spec["template"])
        merged = {**theirs, **_annotations(template)}
        template["metadata"] = {**(template.get("metadata") or {}), "annotations": merged}
        spec["template"] = template
    return spec


def _annotations(template: Manifest | None) -> dict[str, str]:
    return dict(((template or {}).get("metadata") or {}).get("annotations") or {})


def _who(others: tuple[Written, ...], times: int) -> str:
    names = managers(others)
    who = (
        f"Field manager {', '.join(names)} has"
        if names
        else "Another field manager (another release of this operator?) has"
    )
    return (
        f"{who} changed it back {times} times within an hour, so it is now written rarely: stop "
        "the other one, or make the operator leave this resource alone (annotation "
        "lookalike.dev/paused)"
    )
