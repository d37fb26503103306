"""Conditions: the current state, since when, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from lookalike_crds.base import Condition
from lookalike_crds.moments import utc_text
from lookalike_operator.plan.model import Event

Truth = Literal["True", "False", "Unknown"]

_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Judged:
    """A condition as this moment's snapshot shows it."""

    type: str
    status: Truth
    reason: str
    message: str

    @property
    def holds(self) -> bool:
        return self.status == "True"


def judged(type: str, holds: bool | None, reason: str, message: str) -> Judged:
    status: Truth = "Unknown" if holds is None else "True" if holds else "False"
    return Judged(type, status, reason, _one_line(message))


def merged(
    previous: Sequence[Condition], now_judged: Iterable[Judged], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The new conditions, in the given order; the time changes only with the status."""
    before = {condition.type: condition for condition in previous}
    result: list[Condition] = []
    for each in now_judged:
        old = before.get(each.type)
        same = old is not None and old.status == each.status
        result.append(
            Condition(
                type=each.type,
                status=each.status,
                observed_generation=generation,
                last_transition_time=(
                    old.last_transition_time if old is not None and same else timestamp(now)
                ),
                reason=each.reason,
                message=each.message,
            )
        )
    return tuple(result)


_BAD_WHEN_TRUE = frozenset({"Degraded", "Stalled"})
_TOLD = ("Ready", "Ingested", "ScalingActive", "Degraded", "Stalled")
"""Conditions whose changes become events; the others would repeat them."""


def transitions(previous: Sequence[Condition], now_judged: Iterable[Judged]) -> tuple[Event, ...]:
    """An event for each condition that changed; there are none at rest."""
    before = {condition.type: condition for condition in previous}
    events: dict[str, Event] = {}
    for each in now_judged:
        old = before.get(each.type)
        if each.type not in _TOLD or each.status == "Unknown" or each.reason in _NOT_WORTH_IT:
            continue
        if old is not None and (old.status, old.reason) == (each.status, each.reason):
            continue
        bad_when_true = each.type in _BAD_WHEN_TRUE
        if each.reason in _BEGINNINGS and (old is None or old.reason in _BEGINNINGS):
            continue
        if old is None and bad_when_true and not each.holds:
            continue
        if bad_when_true and not each.holds and old is not None and old.status != "True":
            continue
        bad = each.holds if bad_when_true else not each.holds and each.reason not in _UNDER_WAY
        event = Event("Warning" if bad else "Normal", each.reason, each.message)
        # Ready mostly repeats what another says: one event for one reason.
        events[each.reason] = event
    return tuple(events.values())


_NOT_WORTH_IT = frozenset({"Disabled", "Held"})
_UNDER_WAY = frozenset(
    "Starting RollingOut Creating ClaimPending IndexNotMade NotStarted Ingesting Suspended "
    "JobSuspended WaitingForRetriever Deleting".split()
)
"""Reasons for not being ready that pass by themselves."""
_BEGINNINGS = _UNDER_WAY - {"Ingesting", "Suspended", "JobSuspended", "Deleting"}
"""How every new resource begins, one after the other: these are not reported as events."""


def timestamp(moment: datetime) -> str:
    return utc_text(moment, "seconds")


def parsed(text: str | None) -> datetime | None:
    """A time as the API server writes it."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
