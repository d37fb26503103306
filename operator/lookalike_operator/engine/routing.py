"""Which resources have to be reconciled when an object has changed. The whole mapping is here.

- A child concerns the resource that its labels name.
- An ImageCollection concerns the Retrievers that name it: they serve its index.
- A Retriever concerns its collections (an Edge index is filled through it), those that it named
  before, and its rivals: two Retrievers cannot serve one Edge index.

Other resources are only reconciled if something that they read has changed, so a status that counts
documents does not wake a hundred Retrievers.
"""

from __future__ import annotations

from lookalike_operator.engine.queue import SOON_SECONDS
from lookalike_operator.observe.store import Change, Known, Store
from lookalike_operator.plan.model import Key


def concerned(change: Change, store: Store) -> set[Key]:
    keys: set[Key] = set()
    for known in (change.before, change.after):
        if known is not None and known.key is not None:
            keys.add(known.key)
    if _outward(change.before) == _outward(change.after):
        return keys
    for known in (change.before, change.after):
        if known is None or known.key is None or not known.outward:
            continue
        for collection in known.searches:
            keys.add(collection)
            keys.update(store.searching(collection))
        if known.key.kind == "ImageCollection":
            keys.update(store.searching(known.key))
    return keys


def patience(change: Change) -> float:
    """Seconds that the change may wait for others that come with it.

    A person waits for the consequences of a new resource, a changed spec or a deletion. Everything
    else, including our own writes, is an intermediate step.
    """
    before, after = change.before, change.after
    if after is None:
        return 0.0
    ours = bool(after.outward)
    if ours and (before is None or before.generation != after.generation):
        return 0.0
    return SOON_SECONDS


def _outward(known: Known | None) -> str | None:
    return None if known is None else known.outward
