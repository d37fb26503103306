"""The items of a request as they arrive, whatever kind of body they are in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from lookalike_serving.batches.record import MAX_ITEMS, OnError
from lookalike_serving.batches.schemas import SubmittedItem
from lookalike_serving.problems import Problem, Wrong, wrong


@dataclass(frozen=True, slots=True)
class Staged:
    """The bytes of a file part, already kept."""

    reference: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One item as it was sent, or what is wrong with it."""

    path: str
    """Its place in the request: `items[3]`, `line 4`, the name of a file."""
    item: SubmittedItem | None
    staged: Staged | None = None
    errors: tuple[Wrong, ...] = ()


@dataclass(slots=True)
class Reading:
    """A body being read. `on_error` is what the body says, once `items` has ended."""

    items: AsyncIterator[Submission]
    on_error: OnError | None = None


Stage = Callable[[int, bytes], Awaitable[Staged]]
"""Keeps the bytes of the n-th file of a request."""


def too_many() -> Problem:
    return wrong("items", f"are more than {MAX_ITEMS:,}: send several batches")
