"""Chunks on Ray actors that die, or do not start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import ray.exceptions

from lookalike_crds.failures import WORKER_DIED
from lookalike_serving.ingest.on_ray import slots
from lookalike_serving.ingest.on_ray.joining import RayUnavailable
from lookalike_serving.ingest.on_ray.slots import Slot, Slots
from lookalike_serving.ingest.sources.protocol import Item
from lookalike_serving.ingest.work import Outcome, Task

DONE = Outcome({}, {}, {}, ())


class Method:
    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    async def remote(self, *_: Any) -> Any:
        return self._call()


def dies() -> Any:
    raise ray.exceptions.ActorDiedError


class Actor:
    """Ends as it is told, in each of its two methods."""

    def __init__(self, *, starts: bool, works: bool) -> None:
        self.begin = Method((lambda: None) if starts else dies)
        self.process = Method((lambda: DONE) if works else dies)


def of(monkeypatch: pytest.MonkeyPatch, *actors: Actor) -> Slots:
    """One slot whose actors are these, one after the other, the last for ever."""
    monkeypatch.setattr(slots, "_START_SECONDS", 0.0)
    coming = list(actors)
    made = Slots()
    made.add(Slot(lambda: coming.pop(0) if len(coming) > 1 else coming[0]))
    return made


def task() -> Task:
    return Task("disk", Item("a.png", "a", "file:///a.png", "v1", {}), None)


async def test_an_actor_that_does_not_start_says_nothing_of_its_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = [Actor(starts=False, works=False)] * 5
    made = of(monkeypatch, *late, Actor(starts=True, works=True))
    assert await made.process([task()]) == DONE


async def test_a_chunk_that_ends_three_actors_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made = of(monkeypatch, Actor(starts=True, works=False))
    outcome = await made.process([task()])
    [failure] = outcome.failures
    assert (failure.key, failure.code) == ("a.png", WORKER_DIED.code)


async def test_a_ray_that_starts_nothing_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = of(monkeypatch, Actor(starts=False, works=True))
    with pytest.raises(RayUnavailable, match="Ray cannot start workers"):
        await made.process([task()])
