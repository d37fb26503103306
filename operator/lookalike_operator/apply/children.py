"""The children of one resource: applied where they differ, created once, pruned when not named.

Rules, in the order they matter:

1. What is not ours is not touched: an object of the same name that neither carries our owner
   reference nor asks to be adopted is reported, and stays as it is.
2. Nothing is created for a resource that is gone. A watch may be late, so the first creation of a
   look asks the server whether the resource still is there, by uid.
3. Nothing is written that is there already. An object that the server stores otherwise than we
   rendered it (it normalises a field) is applied once; what differs then is remembered as normal.
4. What applying cannot mend – a list that merges by keys and would hold one item twice, a field
   that somebody added – is replaced: the spec as a whole, as rendered.
5. An object that somebody else changes back again and again is written ever more seldom.
6. A refused object (invalid, forbidden, over quota) stops the look before anything is pruned.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from lookalike_operator.apply.contest import AT_ONCE, Contests
from lookalike_operator.apply.stamp import stamp_of, stamped
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import SECRET, kind_of
from lookalike_operator.observe.store import Store
from lookalike_operator.plan.compare import Difference, differences
from lookalike_operator.plan.model import Key, Manifest, ObjectRef, ref_of
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.secrets import emptied, filled
from lookalike_operator.plan.surplus import Written, managers, surplus, written_by_others

_V = TypeVar("_V")

_REMEMBERED = 100_000
_DOUBTED_AFTER_SECONDS = 10.0


class OwnerGone(Exception):
    """The resource was deleted, or deleted and made anew, behind the watch's back."""


class Refused(Exception):
    """The API server does not want one of the objects."""

    def __init__(self, ref: ObjectRef, error: ApiError) -> None:
        super().__init__(f"{ref}: {error.message}")
        self.ref = ref
        self.error = error


@dataclass(frozen=True, slots=True)
class _Normal:
    """What an object looked like right after it was applied."""

    stamp: str
    differences: list[Difference]


class Children:
    """For all resources: remembers across looks what the server makes of our objects."""

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
        self._verified: OrderedDict[str, float] = OrderedDict()
        """uid of the owner and reference of its Secret -> when that was seen."""
        self._contests = Contests(clock)
        self._normal: OrderedDict[str, _Normal] = OrderedDict()
        self._compared: OrderedDict[str, tuple[str, str]] = OrderedDict()
        """uid -> (resourceVersion, stamp) that were found to agree."""

    def look(self, key: Key, owner: Owner) -> Look:
        return Look(self, key, owner)


class Look:
    """The children of one resource during one look."""

    def __init__(self, children: Children, key: Key, owner: Owner) -> None:
        self._all = children
        self._cluster = children._cluster
        self._store = children._store
        self._key = key
        self._owner = owner
        self._confirmed = False
        self.foreign: list[ObjectRef] = []
        self.written: list[str] = []
        """What was done, in words: `applied Deployment/x`."""
        self.emptied: str | None = None
        """A Secret that somebody took its key out of, in words. It may not be written again."""
        self.contested: tuple[str, float] | None = None
        """An object that others change back, in words, and the seconds until it is written."""

    async def apply(self, manifests: Iterable[Manifest]) -> None:
        """Raises Refused, OwnerGone, ApiError."""
        for manifest in manifests:
            await self._guarded(manifest, self._apply(manifest))

    async def create(self, manifests: Iterable[Manifest], *, doubted: bool = False) -> None:
        """Raises Refused, OwnerGone, ApiError.

        `doubted`: something waits as if it were missing one of them; look for those that cannot be
        watched sooner than else.
        """
        for manifest in manifests:
            await self._guarded(manifest, self._create(manifest, doubted))

    async def prune(self, named: Iterable[ObjectRef]) -> None:
        """Delete what is ours and not named. Raises ApiError."""
        wanted = set(named)
        for live in list(self._store.children(self._key)):
            ref = ref_of(live)
            kind = kind_of(ref.api_version, ref.kind)
            meta = live["metadata"]
            if (
                ref in wanted
                or not kind.pruned
                or meta.get("deletionTimestamp")
                or not self._owner.owns(live)
            ):
                continue
            answer = await self._cluster.delete(kind, ref.namespace, ref.name, uid=meta["uid"])
            if answer is None:
                self._store.drop(ref, meta["uid"])
            else:
                self._store.put(answer)
            self.written.append(f"deleted {ref}")

    # -- one object --------------------------------------------------------------------------------

    async def _guarded(self, manifest: Manifest, work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except ApiError as error:
            if error.refused:
                raise Refused(ref_of(manifest), error) from error
            raise

    async def _apply(self, manifest: Manifest) -> None:
        ref = ref_of(manifest)
        wanted = stamped(manifest)
        live = await self._live(ref)
        if live is None:
            await self._confirm_owner()
            # Not forced: should somebody make one of that name this very moment, it is theirs.
            answer = await self._cluster.apply(wanted, force=False)
        else:
            if not self._owner.owns(live):
                self.foreign.append(ref)
                return
            if live["metadata"].get("deletionTimestamp") or self._is_applied(wanted, live):
                return
            if self._must_wait(ref, wanted, live):
                return
            answer = await self._mended(wanted, live)
            self._all._contests.wrote(answer["metadata"]["uid"], stamp_of(wanted) or "")
        self._store.put(answer)
        self._remember(wanted, answer)
        self.written.append(f"{'created' if live is None else 'applied'} {ref}")

    async def _mended(self, wanted: Manifest, live: Manifest) -> dict[str, Any]:
        """The object applied, and its spec replaced where that is not enough."""
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
        if self._left_over(wanted, answer):
            answer = await self._cluster.replace_spec(answer, _whole_spec(wanted, answer))
        return answer

    def _left_over(self, wanted: Manifest, live: Manifest) -> list[Difference]:
        """What is in the spec although it is not rendered."""
        more = [each for each in differences(wanted, live) if each.wanted is None]
        selecting = [each for each in more if each.path.startswith("spec.")]
        return [*selecting, *surplus(wanted, self._others(live))]

    def _others(self, live: Manifest) -> tuple[Written, ...]:
        if "managedFields" in live["metadata"]:
            return written_by_others(live)
        return self._store.others(ref_of(live))

    def _must_wait(self, ref: ObjectRef, wanted: Manifest, live: Manifest) -> bool:
        uid, stamp = live["metadata"]["uid"], stamp_of(wanted) or ""
        contests = self._all._contests
        times, wait = contests.times(uid, stamp), contests.wait(uid, stamp)
        if times >= AT_ONCE and self.contested is None:
            found = [*differences(wanted, live), *surplus(wanted, self._others(live))]
            # Without values: they change with each edit, and the status would with them.
            paths = dict.fromkeys(each.path for each in found)
            where = ", ".join(list(paths)[:2]) or "its fields"
            self.contested = (f"{ref}: {where}. {_who(self._others(live), times)}", wait)
        return wait > 0

    async def _create(self, manifest: Manifest, doubted: bool) -> None:
        ref = ref_of(manifest)
        is_secret = (ref.api_version, ref.kind) == (SECRET.api_version, SECRET.kind)
        if is_secret and self._is_verified(ref, doubted):
            return
        live = await self._live(ref)
        if live is None:
            await self._confirm_owner()
            try:
                live = await self._cluster.create(filled(manifest, self._all._token))
                self.written.append(f"created {ref}")
            except ApiError as error:
                if not error.conflict:
                    raise
                live = await self._live(ref)
                if live is None:
                    raise
        if not self._owner.owns(live):
            self.foreign.append(ref)
        elif is_secret and (key := emptied(manifest, live)) is not None:
            self.emptied = (
                f"{ref} lacks the key {key} that was made for it: delete it to have another"
            )
        elif is_secret:
            # What it holds is nobody's business here, so it does not go to the store.
            _keep(self._all._verified, self._seen_as(ref), self._all._clock())
        else:
            self._store.put(live)

    async def _live(self, ref: ObjectRef) -> Manifest | None:
        """From the store; from the server where the store has none: it may lack our labels."""
        live = self._store.get(ref)
        if live is None:
            kind = kind_of(ref.api_version, ref.kind)
            live = await self._cluster.get(kind, ref.namespace, ref.name)
        return live

    async def _confirm_owner(self) -> None:
        if self._confirmed:
            return
        kind = kind_of(self._owner.reference()["apiVersion"], self._owner.kind)
        live = await self._cluster.get(kind, self._owner.namespace, self._owner.name)
        uid = self._owner.meta.uid
        if live is None or live["metadata"]["uid"] != uid:
            raise OwnerGone(f"{self._key} of uid {uid} is gone")
        if live["metadata"].get("deletionTimestamp") and not self._owner.meta.deleting:
            self._store.put(live)
            raise ApiError(409, "Conflict", f"{self._key} is being deleted by now")
        self._confirmed = True

    # -- memory ------------------------------------------------------------------------------------

    def _is_applied(self, wanted: Manifest, live: Manifest) -> bool:
        stamp, meta = stamp_of(wanted) or "", live["metadata"]
        if stamp != stamp_of(live):
            return False
        uid, compared = meta["uid"], (meta["resourceVersion"], stamp)
        if self._all._compared.get(uid) == compared:
            return True
        found = [*differences(wanted, live), *surplus(wanted, self._others(live))]
        if found and self._all._normal.get(uid) != _Normal(stamp, found):
            return False
        _keep(self._all._compared, uid, compared)
        return True

    def _remember(self, wanted: Manifest, answer: Manifest) -> None:
        meta, stamp = answer["metadata"], stamp_of(wanted) or ""
        _keep(self._all._compared, meta["uid"], (meta["resourceVersion"], stamp))
        found = [*differences(wanted, answer), *surplus(wanted, self._others(answer))]
        if found:
            _keep(self._all._normal, meta["uid"], _Normal(stamp, found))
        else:
            self._all._normal.pop(meta["uid"], None)

    def _is_verified(self, ref: ObjectRef, doubted: bool) -> bool:
        longest = _DOUBTED_AFTER_SECONDS if doubted else self._all._verify_secrets
        seen = self._all._verified.get(self._seen_as(ref))
        return seen is not None and self._all._clock() - seen < longest

    def _seen_as(self, ref: ObjectRef) -> str:
        """A resource that was deleted and made anew has Secrets of its own, of the same names."""
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
        f"{who} changed it back {times} times within the hour, and it is written seldom now: stop "
        "that, or have this resource left alone (annotation lookalike.dev/paused)"
    )


def _keep(memory: OrderedDict[str, _V], uid: str, value: _V) -> None:
    memory[uid] = value
    memory.move_to_end(uid)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
