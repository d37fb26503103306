"""The rules of batches: states, counts, ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.batches import record
from lookalike_serving.batches.record import (
    Batch,
    BatchState,
    Control,
    Counts,
    Item,
    ItemState,
    OnError,
    Order,
    Progress,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def batch(
    items: int = 4, control: Control | None = None, progress: Progress | None = None
) -> Batch:
    order = Order(record.new_batch_id(NOW), "shop", items, OnError.CONTINUE, NOW)
    return Batch(order, control or Control(), progress or Progress(untried=items))


def item(outcome: ItemState = ItemState.QUEUED, attempt: int = 0) -> Item:
    return Item("b", 0, "d", "https://example.com/a.jpg", outcome=outcome, attempt=attempt)


def test_a_new_batch_waits():
    assert batch().state is BatchState.QUEUED
    assert batch().counts == Counts(total=4, queued=4, succeeded=0, failed=0, cancelled=0)


def test_a_batch_is_cancelled_for_good_when_its_runner_has_ended():
    running = batch(progress=Progress(state=BatchState.RUNNING, succeeded=1, untried=3))
    cancelling = replace(running, control=Control(cancelled=1))
    assert (cancelling.state, cancelling.state.active) == (BatchState.CANCELLING, True)
    assert cancelling.counts == Counts(total=4, queued=3, succeeded=1, failed=0, cancelled=0)
    ended = Progress(state=BatchState.CANCELLED, succeeded=2, untried=2)
    cancelled = replace(cancelling, progress=ended)
    assert (cancelled.state, cancelled.state.active) == (BatchState.CANCELLED, False)
    assert cancelled.counts == Counts(total=4, queued=0, succeeded=2, failed=0, cancelled=2)


def test_a_cancellation_that_comes_after_the_end_changes_nothing():
    done = batch(progress=Progress(state=BatchState.COMPLETED, succeeded=4))
    assert replace(done, control=Control(cancelled=1)).state is BatchState.COMPLETED


def test_a_retry_queues_failed_items_without_touching_them():
    ended = Progress(state=BatchState.COMPLETED_WITH_ERRORS, succeeded=3, failed=1)
    retried = batch(control=Control(attempt=2), progress=ended)
    assert retried.state is BatchState.QUEUED
    assert retried.counts == Counts(total=4, queued=1, succeeded=3, failed=0, cancelled=0)
    assert item(ItemState.FAILED, 1).state(retried) is ItemState.QUEUED


def test_items_that_a_cancellation_left_untried_stay_cancelled_through_a_retry():
    ended = Progress(state=BatchState.CANCELLED, succeeded=1, failed=1, untried=2)
    retried = batch(control=Control(attempt=2, cancelled=1), progress=ended)
    assert retried.counts == Counts(total=4, queued=1, succeeded=1, failed=0, cancelled=2)
    assert item().state(retried) is ItemState.CANCELLED


def test_a_retry_that_is_cancelled_leaves_its_items_failed():
    ended = Progress(attempt=2, state=BatchState.CANCELLED, succeeded=3, again=1)
    cancelled = batch(control=Control(attempt=2, cancelled=2), progress=ended)
    assert cancelled.state is BatchState.CANCELLED
    assert item(ItemState.FAILED, 1).state(cancelled) is ItemState.FAILED
    assert cancelled.counts.failed == 1


@pytest.mark.parametrize(
    ("succeeded", "failed", "cancelled", "verdict"),
    [
        (4, 0, 0, BatchState.COMPLETED),
        (3, 1, 0, BatchState.COMPLETED_WITH_ERRORS),
        (0, 4, 0, BatchState.FAILED),
        (3, 0, 1, BatchState.CANCELLED),
        (2, 1, 1, BatchState.CANCELLED),
    ],
)
def test_the_verdict_follows_from_the_counts(succeeded, failed, cancelled, verdict):
    assert record.verdict(Counts(4, 0, succeeded, failed, cancelled)) is verdict


@given(st.data())
def test_counts_agree_with_the_items_one_by_one(data):
    """Whatever was cancelled and retried when: the record's sums are those of its items."""
    attempt = data.draw(st.integers(1, 4), label="attempt")
    cancelled = data.draw(st.none() | st.integers(1, attempt), label="cancelled")
    reached = data.draw(st.sampled_from([attempt, max(1, attempt - 1)]), label="reached")
    outcomes = st.tuples(
        st.sampled_from([ItemState.QUEUED, ItemState.SUCCEEDED, ItemState.FAILED]),
        st.integers(1, reached),
    )
    items = [
        item(outcome, 0 if outcome is ItemState.QUEUED else tried)
        for outcome, tried in data.draw(st.lists(outcomes, max_size=12))
    ]
    state = data.draw(st.sampled_from(BatchState), label="state")
    failures = [i for i in items if i.outcome is ItemState.FAILED]
    progress = Progress(
        attempt=reached,
        state=state,
        succeeded=sum(i.outcome is ItemState.SUCCEEDED for i in items),
        failed=sum(i.attempt == reached for i in failures),
        again=sum(i.attempt < reached for i in failures),
        untried=sum(i.outcome is ItemState.QUEUED for i in items),
    )
    whole = batch(len(items), Control(attempt, cancelled), progress)
    seen = Counter(i.state(whole) for i in items)
    assert whole.counts == Counts(
        total=len(items),
        queued=seen[ItemState.QUEUED],
        succeeded=seen[ItemState.SUCCEEDED],
        failed=seen[ItemState.FAILED],
        cancelled=seen[ItemState.CANCELLED],
    )


@given(st.integers(0, 10**11), st.integers(1, 10**11))
def test_newer_batches_sort_before_older_ones(milliseconds, later):
    old = NOW + timedelta(milliseconds=milliseconds)
    new = old + timedelta(milliseconds=later)
    assert record.new_batch_id(new) < record.new_batch_id(old)


def test_an_id_tells_when_it_was_made():
    assert record.made_at(record.new_batch_id(NOW)) == NOW


@given(st.integers(0, record.MAX_ITEMS - 1))
def test_items_sort_behind_every_batch_by_their_position(position):
    id = record.new_batch_id(NOW)
    here, following = (record.item_point_id(id, p) for p in (position, position + 1))
    oldest = record.new_batch_id(datetime(1970, 1, 2, tzinfo=UTC))
    assert oldest < here < following < record.idempotency_point_id("shop", "key")


@pytest.mark.parametrize(
    "id",
    ["", "nonsense", "00000000-0000-0000-0000-00000000000g", "../../etc/passwd"],
)
def test_what_is_no_batch_id_is_known_without_a_look_up(id):
    assert not record.is_batch_id(id)


def test_an_items_id_is_not_taken_for_a_batch():
    assert not record.is_batch_id(record.item_point_id(record.new_batch_id(NOW), 3))
