from __future__ import annotations

from lookalike_operator.apply.contest import AT_ONCE, Contests


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_same_manifest_is_written_a_few_times_at_once_and_then_ever_more_seldom() -> None:
    clock = Clock()
    contests = Contests(clock)
    writes = 0
    for _ in range(24 * 3600):
        if contests.wait("u", "stamp") == 0:
            contests.wrote("u", "stamp")
            writes += 1
        clock.now += 1
    assert writes <= 24 * 20, "a few an hour, where it was 16 a second"
    assert contests.times("u", "stamp") >= AT_ONCE


def test_another_manifest_and_another_object_are_written_at_once() -> None:
    contests = Contests(Clock())
    for _ in range(20):
        contests.wrote("u", "stamp")
    assert contests.wait("u", "stamp") > 0
    assert contests.wait("u", "other stamp") == 0
    assert contests.wait("other", "stamp") == 0


def test_after_an_hour_without_a_change_all_is_forgotten() -> None:
    clock = Clock()
    contests = Contests(clock)
    for _ in range(20):
        contests.wrote("u", "stamp")
    clock.now += 3601
    assert contests.wait("u", "stamp") == 0
    assert contests.times("u", "stamp") == 0
