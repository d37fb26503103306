"""Compares a plan with the live objects: what it creates, what it changes and how, what it deletes.

    snapshot, plan -> Changes -> apply/ (carries them out) and plan/diff.py (describes them)

Objects are compared here, once per reconcile. So what a person reads before an apply and what the
operator then does are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookalike_operator.plan.compare import Difference, differences
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    Manifest,
    Plan,
    RetrieverSnapshot,
    Written,
    ref_of,
)
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.surplus import surplus


@dataclass(frozen=True, slots=True)
class Change:
    """One object of a plan with the live object."""

    wanted: Manifest
    live: Manifest | None = None
    """None: the snapshot has no such object."""
    differences: tuple[Difference, ...] = ()
    """What would change. Empty if there is no live object, and for objects that are created once
    and never changed."""
    taken: bool = False
    """Another owner's object had this name at the last reconcile: check before creating it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a plan comes to, in the order in which it is carried out."""

    objects: tuple[Change, ...] = ()
    """One for each of `Plan.objects`, unchanged ones too."""
    once: tuple[Change, ...] = ()
    """One for each of `Plan.once`."""
    deleted: tuple[Manifest, ...] = ()
    """Live children that the plan does not name."""


def differing(
    wanted: Manifest, live: Manifest, others: Iterable[Written]
) -> tuple[Difference, ...]:
    """What is to become otherwise in `live`, of which `others` have written parts."""
    return (*differences(wanted, live), *surplus(wanted, others))


def changes(owner: Owner, snapshot: CollectionSnapshot | RetrieverSnapshot, plan: Plan) -> Changes:
    """Pure. Empty for a plan that leaves all children as they are."""
    if plan.hands_off:
        return Changes()
    live = {ref_of(child): child for child in snapshot.children}

    def change(wanted: Manifest) -> Change:
        ref = ref_of(wanted)
        child = live.get(ref)
        if child is None:
            return Change(wanted, taken=ref in snapshot.foreign)
        others = snapshot.written_by_others.get(ref, ())
        return Change(wanted, child, differing(wanted, child, others))

    named = {ref_of(manifest) for manifest in (*plan.objects, *plan.once)} | set(plan.keep)
    return Changes(
        objects=tuple(map(change, plan.objects)),
        once=tuple(
            Change(wanted, live.get(ref := ref_of(wanted)), taken=ref in snapshot.foreign)
            for wanted in plan.once
        ),
        deleted=tuple(
            live[ref]
            for ref in sorted(live.keys() - named)
            if owner.owns(live[ref]) and not live[ref]["metadata"].get("deletionTimestamp")
        ),
    )
