"""What keeps a collection from being ingested: it is told, and its children are left."""

from __future__ import annotations

import pytest
from tests.operator.plan.known import (
    EDGE,
    PHOTOS,
    collection,
    condition,
    meta,
    told,
)
from tests.operator.plan.moments import status_of

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import (
    CollectionSnapshot,
)
from lookalike_operator.plan.names import PAUSED


@pytest.mark.parametrize(
    ("snapshot", "reason", "says"),
    [
        (collection(EDGE, spec=None, problems=("spec.index.engine: is Edgee: write Edge",)),
         "InvalidSpec", "write Edge"),
        (collection({"index": {"engine": "Qdrant"}}), "NoQdrantAddress", "write url, urls or"),
        (collection(EDGE, {"sources": [{"name": "a", "volume": {"path": "images"}}]}),
         "InvalidSpec", "claimName: is missing"),
        (collection(EDGE, {"sources": [{"name": "a", "volume": {"path": "../x",
                                                                "claimName": "c"}}]}),
         "InvalidSpec", "leads out of the claim"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_told_and_children_are_left(
    snapshot: CollectionSnapshot, reason: str, says: str
) -> None:
    plan = plan_collection(snapshot)
    assert plan.hands_off
    assert told(plan, "Stalled") == ("True", reason)
    assert told(plan, "Ready") == ("False", reason)
    assert says in condition(plan, "Stalled")["message"]


def test_a_paused_collection_is_left_alone_and_says_so() -> None:
    paused = meta("catalogue", annotations={PAUSED: "true"})
    plan = plan_collection(collection(EDGE, PHOTOS, meta=paused))
    assert plan.hands_off
    assert told(plan, "Paused") == ("True", "Annotated")
    on = plan_collection(collection(EDGE, PHOTOS, status=status_of(plan)))
    assert "Paused" not in [c["type"] for c in on.status["conditions"]]
