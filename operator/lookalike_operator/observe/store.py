"""The latest known version of every object that concerns us, filled by watches and our own writes.

Observing a resource costs no API call, because everything about it is here. Two writers race: a
watch may deliver an older version than the answer to an earlier write. So the newer resourceVersion
wins, and a deleted object stays deleted even if a late answer still contains it.

Objects are stored as JSON, not as dicts, which takes a tenth of the memory, and each reader gets
its own copy.

Listeners are notified of every change, whatever its origin: our own writes are news to the
resources that wait for them, and the watch that delivers them later changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from cachetools import LRUCache

from lookalike_crds.base import API_VERSION
from lookalike_operator.plan.causes import DOWNLOADING
from lookalike_operator.plan.model import Key, Manifest, ObjectRef, Written, ref_of
from lookalike_operator.plan.names import KIND, NAME
from lookalike_operator.plan.surplus import written_by_others

_K = TypeVar("_K")
_V = TypeVar("_V")

_SEEN_OF_COLLECTIONS = ("indexName", "activeModel", "activeModelSpec", "previous")
"""Of a collection's status: what planning a Retriever reads, beside the condition IndexReady."""
_TOMBSTONES = 20_000
"""Deleted objects that are remembered: more than can be under way at a time."""


@dataclass(frozen=True, slots=True)
class Known:
    """What routing needs of one version of an object."""

    ref: ObjectRef
    uid: str
    version: int
    key: Key | None
    """The resource it is, or belongs to by its labels."""
    searches: tuple[Key, ...] = ()
    """Of a Retriever: the collections it names."""
    outward: str = ""
    """Of our resources: a digest of all that other resources look at."""
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One step of one object. `before` None: it is new; `after` None: it is gone."""

    before: Known | None
    after: Known | None


class Store:
    def __init__(self) -> None:
        self._known: dict[ObjectRef, Known] = {}
        self._data: dict[ObjectRef, bytes] = {}
        self._others: dict[ObjectRef, tuple[Written, ...]] = {}
        """What others have written of our objects: seldom anything."""
        self._children: dict[Key, dict[ObjectRef, None]] = {}
        self._searched_by: dict[Key, dict[Key, None]] = {}
        self._deleted: LRUCache[str, int] = LRUCache(_TOMBSTONES)
        self._listener: Callable[[Change], None] | None = None

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Be told of each change, once it is in."""
        self._listener = listener

    def put(self, manifest: Manifest) -> Change | None:
        """Take a version in; None if it is no news."""
        known = _known(manifest)
        before = self._known.get(known.ref)
        if known.version <= self._deleted.get(known.uid, -1):
            return None
        if before is not None and known.version <= before.version:
            return None
        self._forget(known.ref)
        meta = {k: v for k, v in manifest["metadata"].items() if k != "managedFields"}
        slim = {**manifest, "metadata": meta}
        self._data[known.ref] = json.dumps(slim, separators=(",", ":")).encode()
        self._known[known.ref] = known
        if known.key is not None and known.ref != _own_ref(known.key):
            self._children.setdefault(known.key, {})[known.ref] = None
            if known.ref.kind != "Pod" and (others := written_by_others(manifest)):
                self._others[known.ref] = others
        for collection in known.searches:
            self._searched_by.setdefault(collection, {})[known.key or collection] = None
        return self._told(Change(before, known))

    def remove(self, manifest: Manifest) -> Change | None:
        """Take in that this version was the last, or that the object left what is watched."""
        known = _known(manifest)
        self._bury(known.uid, known.version)
        before = self._known.get(known.ref)
        if before is None or before.uid != known.uid or before.version > known.version:
            return None
        self._forget(known.ref)
        return self._told(Change(before, None))

    def drop(self, ref: ObjectRef, uid: str) -> Change | None:
        """The object of that uid is known to be gone (an answer 404, a list without it)."""
        before = self._known.get(ref)
        if before is None or before.uid != uid:
            return None
        self._bury(uid, before.version)
        self._forget(ref)
        return self._told(Change(before, None))

    def drop_resource(self, key: Key, uid: str) -> Change | None:
        return self.drop(_own_ref(key), uid)

    def relisted(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        found: Iterable[Manifest],
        version: int,
    ) -> None:
        """A list of one kind as of `version`: takes it in, and drops what it lacks."""
        names = set()
        for manifest in found:
            names.add(ref_of(manifest))
            self.put(manifest)
        for ref, known in list(self._known.items()):
            if (
                (ref.api_version, ref.kind) == (api_version, kind)
                and namespace in (None, ref.namespace)
                and ref not in names
                and known.version <= version
            ):
                self.drop(ref, known.uid)

    # -- reading -----------------------------------------------------------------------------------

    def get(self, ref: ObjectRef) -> Manifest | None:
        data = self._data.get(ref)
        return None if data is None else json.loads(data)

    def others(self, ref: ObjectRef) -> tuple[Written, ...]:
        """What others than us have written of an object."""
        return self._others.get(ref, ())

    def resource(self, key: Key) -> Manifest | None:
        """One of our own resources."""
        return self.get(_own_ref(key))

    def children(self, key: Key) -> Iterator[Manifest]:
        """Everything labelled as the resource's, pods too, in a stable order."""
        for ref in sorted(self._children.get(key, ())):
            yield json.loads(self._data[ref])

    def searching(self, collection: Key) -> list[Key]:
        """The Retrievers that name the collection."""
        return sorted(self._searched_by.get(collection, ()))

    def known(self, ref: ObjectRef) -> Known | None:
        return self._known.get(ref)

    def known_resource(self, key: Key) -> Known | None:
        return self._known.get(_own_ref(key))

    def resources(self) -> list[Key]:
        """Every resource of ours."""
        return [k.key for ref, k in self._known.items() if k.key and ref == _own_ref(k.key)]

    def __len__(self) -> int:
        return len(self._known)

    # -- inside ------------------------------------------------------------------------------------

    def _told(self, change: Change) -> Change:
        if self._listener is not None:
            self._listener(change)
        return change

    def _bury(self, uid: str, version: int) -> None:
        self._deleted[uid] = max(version, self._deleted.get(uid, -1))

    def _forget(self, ref: ObjectRef) -> None:
        self._others.pop(ref, None)
        known = self._known.pop(ref, None)
        self._data.pop(ref, None)
        if known is None or known.key is None:
            return
        _discard(self._children, known.key, ref)
        for collection in known.searches:
            _discard(self._searched_by, collection, known.key)


def own_key(manifest: Manifest) -> Key | None:
    """The key of a resource of ours; None for anything else."""
    kind = manifest["kind"]
    if manifest["apiVersion"] != API_VERSION or kind not in ("ImageCollection", "Retriever"):
        return None
    meta = manifest["metadata"]
    return Key(kind, meta["namespace"], meta["name"])


def _own_ref(key: Key) -> ObjectRef:
    return ObjectRef(API_VERSION, key.kind, key.namespace, key.name)


def _known(manifest: Manifest) -> Known:
    meta = manifest["metadata"]
    ref = ref_of(manifest)
    uid, version = meta["uid"], int(meta["resourceVersion"])
    generation = int(meta.get("generation") or 0)
    own = own_key(manifest)
    if own is None:
        labels = meta.get("labels") or {}
        kind, name = labels.get(KIND), labels.get(NAME)
        if name is None or kind not in ("ImageCollection", "Retriever"):
            return Known(ref, uid, version, None, generation=generation)
        return Known(ref, uid, version, Key(kind, ref.namespace, name), generation=generation)
    searches: tuple[Key, ...] = ()
    if own.kind == "Retriever":
        named = (manifest.get("spec") or {}).get("collections") or ()
        searches = tuple(
            Key("ImageCollection", own.namespace, each["name"])
            for each in named
            if isinstance(each, dict) and isinstance(each.get("name"), str)
        )
    return Known(ref, uid, version, own, searches, _outward(own, manifest), generation)


def _outward(key: Key, manifest: Manifest) -> str:
    meta = manifest["metadata"]
    status = manifest.get("status") or {}
    seen: Any
    if key.kind == "Retriever":
        seen = [
            (c.get("status"), c.get("message") if c.get("reason") == DOWNLOADING else None)
            for c in status.get("conditions") or ()
            if c["type"] == "Available"
        ]
    else:
        # How far an ingestion run is changes twice a minute, and is nothing to a Retriever.
        seen = {name: status.get(name) for name in _SEEN_OF_COLLECTIONS}
        seen["index"] = [
            (c.get("status"), c.get("reason"), c.get("message"))
            for c in status.get("conditions") or ()
            if c["type"] == "IndexReady"
        ]
    what = [
        meta["uid"],
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        meta.get("annotations"),
        seen,
    ]
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=12).hexdigest()


def _discard(index: dict[_K, dict[_V, None]], key: _K, value: _V) -> None:
    members = index.get(key)
    if members is None:
        return
    members.pop(value, None)
    if not members:
        del index[key]
