"""Buckets hold everything, are few, and begin at round numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.search.buckets import TooMany, of_dates, of_numbers
from lookalike_serving.search.facet_request import DateInterval

floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(timezones=st.just(UTC))
few = st.integers(2, 100)


def check(bounds, low, high, most) -> None:
    assert 1 <= len(bounds) - 1 <= most
    assert bounds[0] is not None
    assert bounds[0] <= low
    closed = [bound for bound in bounds if bound is not None]
    assert all(a < b for a, b in pairwise(closed))
    assert None not in bounds[:-1]
    assert bounds[-1] is None or high < bounds[-1]


@given(st.lists(floats, min_size=2, max_size=2), few)
def test_buckets_of_floats_hold_the_smallest_and_the_largest(ends, most):
    low, high = sorted(ends)
    check(of_numbers(low, high, most, None, whole=False).bounds, low, high, most)


@given(st.lists(integers, min_size=2, max_size=2), few)
def test_buckets_of_integers_hold_the_smallest_and_the_largest(ends, most):
    low, high = sorted(ends)
    made = of_numbers(low, high, most, None, whole=True)
    check(made.bounds, low, high, most)
    assert all(isinstance(bound, int) for bound in made.bounds if bound is not None)


@given(st.lists(moments, min_size=2, max_size=2), few)
def test_calendar_intervals_hold_the_first_and_the_last(ends, most):
    low, high = sorted(ends)
    check(of_dates(low, high, most, None).bounds, low, high, most)


@pytest.mark.parametrize(
    ("low", "high", "most", "bounds"),
    [
        (0.1, 3.9, 4, [0, 1, 2, 3, 4]),
        (0.1, 0.35, 3, [0.1, 0.2, 0.3, 0.4]),
        (-3, 12, 4, [-5, 0, 5, 10, 15]),
        (7, 7, 20, [7, 8]),
        (0.0, 0.0, 20, [0, 1]),
        (1e18, 1e18, 5, [1e18, None]),
    ],
)
def test_numbers_are_round(low, high, most, bounds):
    whole = isinstance(low, int)
    assert of_numbers(low, high, most, None, whole=whole).bounds == bounds


@pytest.mark.parametrize(
    ("days", "most", "width", "first"),
    [
        (0, 20, "hour", "2026-03-04T05"),
        (3, 20, "day", "2026-03-04T00"),
        (60, 20, "week", "2026-03-02T00"),
        (400, 20, "month", "2026-03-01T00"),
        (1000, 12, "quarter", "2026-01-01T00"),
        (4000, 20, "year", "2026-01-01T00"),
        (40_000, 20, "10 years", "2020-01-01T00"),
    ],
)
def test_a_span_of_time_gets_the_shortest_interval_that_fits(days, most, width, first):
    low = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    made = of_dates(low, datetime.fromtimestamp(low.timestamp() + days * 86_400, UTC), most, None)
    assert (made.width, made.bounds[0].isoformat()[:13]) == (width, first)


def test_a_width_that_makes_too_many_is_refused():
    with pytest.raises(TooMany):
        of_numbers(0, 100, 100, 1, whole=True)
    assert len(of_numbers(0, 99, 100, 1, whole=True).bounds) == 101
    assert of_numbers(-1, 1, 100, 0.8, whole=True).bounds == [-1.6, -0.8, 0.0, 0.8, 1.6]
    with pytest.raises(TooMany):
        of_dates(
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 9, tzinfo=UTC),
            100,
            DateInterval.HOUR,
        )


def test_the_last_year_has_an_open_end():
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert of_dates(last, last, 5, DateInterval.MONTH).bounds == [
        datetime(9999, 12, 1, tzinfo=UTC),
        None,
    ]
