"""The end of a collection: its runs stop, its index goes, and it is let go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operator.plan.known import (
    EDGE,
    NOW,
    OTHER,
    PHOTOS,
    QDRANT,
    VIT,
    collection,
    meta,
    pod,
)
from tests.operator.plan.moments import after, ingested, on_server

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.collection_deletion import GIVE_UP_SECONDS
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    Deletion,
    IndexAction,
    IndexFacts,
)
from lookalike_operator.plan.names import FINALIZER, PAUSED


def _deleting(snapshot: CollectionSnapshot, seconds: float = 1) -> CollectionSnapshot:
    going = replace(
        snapshot.meta,
        deleting=True,
        finalizers=(FINALIZER,),
        deletion_started=NOW - timedelta(seconds=seconds),
    )
    return replace(snapshot, meta=going)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ((QDRANT, PHOTOS), True),
        ((QDRANT, PHOTOS, {"deletionPolicy": "Retain"}), False),
        ((EDGE, PHOTOS), False),
    ],
)
def test_a_finalizer_is_set_only_where_data_outside_is_to_go(
    parts: tuple[dict[str, Any], ...], wanted: bool
) -> None:
    assert plan_collection(collection(*parts)).add_finalizer == wanted
    has = meta("catalogue", finalizers=(FINALIZER,))
    assert plan_collection(collection(*parts, meta=has)).remove_finalizer != wanted


def test_deletion_stops_ingestion_then_deletes_the_index_then_lets_go() -> None:
    running = after(on_server(), plan_collection(on_server()), pod("p"))
    plan = plan_collection(_deleting(running))
    assert (plan.hands_off, plan.objects, plan.keep, plan.remove_finalizer) == (
        False, (), (), False,
    )  # fmt: skip
    assert plan.index_ops == ()
    plan = plan_collection(_deleting(replace(running, children=(), pods=())))
    assert [op.action for op in plan.index_ops] == [IndexAction.DELETE]
    assert plan.remove_finalizer


def test_deletion_of_a_changed_model_deletes_both_indexes() -> None:
    full = ingested(on_server(PHOTOS, VIT))
    changed = replace(full, spec=on_server(PHOTOS, OTHER).spec, children=(), pods=())
    plan = plan_collection(_deleting(changed))
    assert len({op.index for op in plan.index_ops}) == 2


def _held_up(snapshot: CollectionSnapshot, **seconds: float) -> CollectionSnapshot:
    since = {f"{what}_since": NOW - timedelta(seconds=passed) for what, passed in seconds.items()}
    return replace(snapshot, deletion=Deletion(**since))


def test_a_server_that_never_answers_keeps_the_index_and_an_event_says_which() -> None:
    dead = _deleting(replace(on_server(), index=IndexFacts("x", error="connection refused")))
    plan = plan_collection(dead)
    assert not plan.remove_finalizer
    assert plan.deletion == Deletion(failing_since=NOW)
    plan = plan_collection(_held_up(dead, failing=GIVE_UP_SECONDS - 1))
    assert not plan.remove_finalizer
    assert plan.requeue_after == pytest.approx(1)
    plan = plan_collection(_held_up(dead, failing=GIVE_UP_SECONDS))
    assert plan.remove_finalizer
    assert [event.reason for event in plan.events] == ["IndexOrphaned"]
    assert "failed for 300 s (connection refused)" in plan.events[0].message
    assert plan.index_ops == ()


@pytest.mark.parametrize("away", [1, GIVE_UP_SECONDS, 86_400])
def test_however_long_the_operator_was_away_deleting_is_tried_first(away: float) -> None:
    plan = plan_collection(_deleting(on_server(), away))
    assert [op.action for op in plan.index_ops] == [IndexAction.DELETE]
    assert plan.events == ()
    assert plan.giving_up is None
    dead = replace(on_server(), index=IndexFacts("x", error="connection refused"))
    assert not plan_collection(_deleting(dead, away)).remove_finalizer
    busy = after(on_server(), plan_collection(on_server()), pod("p"))
    assert not plan_collection(_deleting(busy, away)).remove_finalizer


def test_a_server_that_is_back_at_the_last_moment_loses_the_index() -> None:
    late = _held_up(_deleting(on_server()), failing=GIVE_UP_SECONDS)
    plan = plan_collection(late)
    assert [op.action for op in plan.index_ops] == [IndexAction.DELETE]
    assert plan.remove_finalizer
    assert plan.events == ()
    assert plan.giving_up is not None, "should that fail once more"


def test_pods_that_never_end_do_not_hold_a_deletion_for_ever() -> None:
    busy = _deleting(after(on_server(), plan_collection(on_server()), pod("p")))
    plan = plan_collection(busy)
    assert plan.deletion == Deletion(stopping_since=NOW)
    plan = plan_collection(_held_up(busy, stopping=GIVE_UP_SECONDS))
    assert [op.action for op in plan.index_ops] == [IndexAction.DELETE]
    assert [event.reason for event in plan.events] == ["PodsRemain"]


def test_a_paused_collection_can_still_be_deleted() -> None:
    snapshot = _deleting(on_server())
    paused = replace(snapshot, meta=replace(snapshot.meta, annotations={PAUSED: "true"}))
    assert plan_collection(paused).remove_finalizer
