"""The plan if no plan could be made: everything stays as it is, and the status says why.

Planning is code, and code has bugs; observing needs permissions, and somebody may remove them.
Neither should be visible only in the log of the operator.
"""

from __future__ import annotations

from datetime import datetime

from lookalike_crds.image_collection import ImageCollectionStatus
from lookalike_crds.retriever import RetrieverStatus
from lookalike_operator.plan.conditions import judged, merged, transitions
from lookalike_operator.plan.model import Meta, Plan, Trouble
from lookalike_operator.plan.who_acts import waits_for_a_person


def plan_unforeseen(
    meta: Meta, status: ImageCollectionStatus | RetrieverStatus, trouble: Trouble, now: datetime
) -> Plan:
    """Conditions about which nothing is known keep what they reported last."""
    stalled = waits_for_a_person(trouble.reason)
    new = (
        judged("Ready", False, trouble.reason, trouble.message),
        judged(
            "Stalled",
            stalled,
            trouble.reason if stalled else "AsExpected",
            trouble.message if stalled else "nobody has to act",
        ),
    )
    conditions = merged(status.conditions, new, meta.generation, now)
    told = {condition.type for condition in conditions}
    kept = tuple(c for c in status.conditions if c.type not in told)
    after = status.model_copy(
        update={"observed_generation": meta.generation, "conditions": (*conditions, *kept)}
    )
    return Plan(
        hands_off=True,
        status=after.model_dump(mode="json", by_alias=True, exclude_none=True),
        events=transitions(status.conditions, new),
    )
