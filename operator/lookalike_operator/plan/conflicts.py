"""Objects that the operator cannot have: names that others use, and objects that are refused.

The plan names what is in the way all the same, because applying it finds out whether it still is.
"""

from __future__ import annotations

from collections.abc import Iterable

from lookalike_operator.plan.causes import Cause, last_line
from lookalike_operator.plan.model import Manifest, ObjectRef, Plan, ref_of
from lookalike_operator.plan.names import Owner, strangers


def taken(
    owner: Owner,
    wanted: Iterable[Manifest],
    children: tuple[Manifest, ...],
    foreign: tuple[ObjectRef, ...],
) -> tuple[Manifest, ...]:
    """Those of the wanted objects whose names belong to objects of others."""
    others = strangers(owner, children, foreign)
    return tuple(manifest for manifest in wanted if ref_of(manifest) in others)


def only_these(manifests: tuple[Manifest, ...], children: tuple[Manifest, ...]) -> Plan:
    """Checks again whether the names are free; everything else stays as it is."""
    named = {ref_of(manifest) for manifest in manifests}
    keep = tuple(ref for child in children if (ref := ref_of(child)) not in named)
    return Plan(objects=manifests, keep=keep)


def name_taken(manifests: tuple[Manifest, ...]) -> Cause:
    ref = ref_of(manifests[0])
    return Cause(
        "NameTaken",
        f"{ref} exists and does not belong to this resource: delete it, annotate it "
        'lookalike.dev/adopt: "true" to hand it over, or choose another name',
    )


def refusal(refused: tuple[tuple[ObjectRef, str], ...]) -> Cause | None:
    """What the API server said about the first object that it refused."""
    if not refused:
        return None
    ref, message = refused[0]
    return Cause("Refused", f"the API server refuses {ref}: {last_line(message)}")
