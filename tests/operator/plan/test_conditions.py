from __future__ import annotations

from datetime import timedelta

from tests.operator.plan.known import NOW, meta

from lookalike_crds.base import Condition
from lookalike_operator.plan.conditions import judged, merged, parsed, timestamp, transitions
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.secrets import API_KEYS, api_keys, filled

LATER = NOW + timedelta(hours=1)


def _stored(*found: object) -> tuple[Condition, ...]:
    return merged((), found, 1, NOW)  # type: ignore[arg-type]


def test_the_time_changes_with_the_status_alone() -> None:
    before = _stored(judged("Ready", False, "Starting", "a"), judged("Stalled", False, "Fine", "b"))
    after = merged(
        before,
        (judged("Ready", True, "Ready", "c"), judged("Stalled", False, "AlsoFine", "d")),
        2,
        LATER,
    )
    assert [c.last_transition_time for c in after] == [timestamp(LATER), timestamp(NOW)]
    assert [c.observed_generation for c in after] == [2, 2]


def test_conditions_keep_their_order_and_those_no_longer_judged_go() -> None:
    before = _stored(judged("Paused", True, "Annotated", "a"), judged("Ready", True, "Ready", "b"))
    after = merged(before, (judged("Ready", True, "Ready", "b"),), 1, LATER)
    assert [c.type for c in after] == ["Ready"]


def test_a_message_is_one_bounded_line() -> None:
    found = judged("Ready", False, "Broken", "first\n  second " + "x" * 5000)
    assert found.message.startswith("first second x")
    assert len(found.message) == 1024


def test_trouble_is_a_warning_and_its_end_is_told() -> None:
    fine = judged("Degraded", False, "AsExpected", "nothing is wrong")
    bad = judged("Degraded", True, "ImagesFailed", "2 images")
    assert transitions((), (fine,)) == ()
    (event,) = transitions(_stored(fine), (bad,))
    assert (event.type, event.reason) == ("Warning", "ImagesFailed")
    (event,) = transitions(_stored(bad), (fine,))
    assert event.type == "Normal"
    assert transitions(_stored(bad), (judged("Degraded", True, "ImagesFailed", "3 images"),)) == ()


def test_from_one_beginning_to_the_next_there_is_no_news() -> None:
    creating = judged("Ready", False, "Creating", "its claim is being made")
    pending = judged("Ready", False, "ClaimPending", "its claim waits for a volume")
    ready = judged("Ready", True, "Ready", "1 replica answers")
    assert transitions((), (creating,)) == ()
    assert transitions(_stored(creating), (pending,)) == ()
    assert [event.reason for event in transitions(_stored(pending), (ready,))] == ["Ready"]
    assert [event.reason for event in transitions(_stored(ready), (pending,))] == ["ClaimPending"]


def test_one_cause_in_two_conditions_is_one_event() -> None:
    found = (judged("Ready", False, "Crash", "m"), judged("Degraded", True, "Crash", "m"))
    assert len(transitions((), found)) == 1


def test_times_are_read_as_they_are_written() -> None:
    assert parsed(timestamp(NOW)) == NOW
    assert parsed("2026-03-01T12:00:00.25Z") == NOW + timedelta(milliseconds=250)
    assert parsed("yesterday") is None


def test_a_secret_is_filled_when_it_is_made_and_nothing_else_is() -> None:
    secret = api_keys(Owner("Retriever", meta("search")))
    made = filled(secret, lambda: "random")
    assert made["stringData"] == {API_KEYS: "random"}
    assert "stringData" not in secret
    assert filled({**secret, "kind": "ConfigMap"}, lambda: "random") == {
        **secret, "kind": "ConfigMap",
    }  # fmt: skip
