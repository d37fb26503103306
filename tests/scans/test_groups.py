"""From pairs to groups: every member matches its keeper, and why that one is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.duplicates.verdicts import Verdict
from lookalike_serving.scans.groups import chains, grouped
from lookalike_serving.scans.keepers import preferred, why
from lookalike_serving.scans.record import FieldOrder, Group, Keep, Pair, Rule, Scanned


def seen(number: int, **more: object) -> Scanned:
    given: dict[str, object] = {
        "width": 100,
        "height": 100,
        "bytes": 1000,
        "created_at": "2026-01-01",
        **more,
    }
    return Scanned(str(number), f"{number}.jpg", "v", f"file:///{number}.jpg", **given)  # type: ignore[arg-type]


def pair(a: int, b: int) -> Pair:
    return Pair(a, b, Verdict.COPY, 0.9)


def groups(
    documents: Iterable[Scanned],
    pairs: Iterable[Pair],
    also: Iterable[Pair] = (),
    keep: Keep = Keep(),
) -> list[Group]:
    """`also`: what is found out only when two are compared that were no candidates."""
    known = {each.key: each for each in pairs}
    more = {each.key: each for each in also}
    numbered = dict(enumerate(documents))

    async def compared(a: int, b: int) -> Pair | None:
        assert (a, b) not in known
        return more.get((a, b))

    async def all_() -> list[Group]:
        found: list[Group] = []
        for chain in chains(known.values()):
            async for group in grouped(chain, numbered, known, Keep(), compared, len(found)):
                found.append(group)
        return found

    return asyncio.run(all_())


def ids(group: Group) -> tuple[str, list[str]]:
    return group.keeper.document_id, [each.document.document_id for each in group.members]


def test_a_chain_is_split_where_members_do_not_match_the_keeper() -> None:
    documents = [seen(0, width=300), seen(1, width=200), seen(2, width=100), seen(3)]
    links = [pair(0, 1), pair(1, 2), pair(2, 3)]
    found = groups(documents, links)
    assert list(map(ids, found)) == [("0.jpg", ["1.jpg"]), ("2.jpg", ["3.jpg"])]
    assert [group.number for group in found] == [0, 1]


def test_what_was_no_candidate_of_the_keeper_is_compared_with_it() -> None:
    documents = [seen(0, width=300), seen(1, width=200), seen(2)]
    found = groups(documents, [pair(0, 1), pair(1, 2)], also=[pair(0, 2)])
    assert list(map(ids, found)) == [("0.jpg", ["1.jpg", "2.jpg"])]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_each_document_is_in_one_group_at_most_and_matches_its_keeper(
    links: list[tuple[int, int]],
) -> None:
    pairs = [pair(a, b) for a, b in links if a != b]
    found = groups([seen(n, width=n + 1) for n in range(13)], pairs)
    named = [id for group in found for id in (ids(group)[0], *ids(group)[1])]
    assert len(named) == len(set(named))
    keys = {each.key for each in pairs}
    for group in found:
        keeper = int(group.keeper.point)
        for member in group.members:
            other = int(member.document.point)
            assert (min(keeper, other), max(keeper, other)) in keys


@pytest.mark.parametrize(
    ("keep", "first", "told"),
    [
        (Keep(), "1.jpg", "largest: 200 × 100 pixels"),
        (Keep(Rule.OLDEST), "2.jpg", "oldest: 2025-01-01"),
        (Keep(Rule.NEWEST), "3.jpg", "newest: 2026-05-01"),
        (Keep(Rule.FIELD, "stars"), "0.jpg", "highest stars: 5"),
        (Keep(Rule.FIELD, "stars", FieldOrder.LOWEST), "2.jpg", "lowest stars: 1"),
        (Keep(Rule.FOLDERS, folders=("3", "1")), "3.jpg", "in 3, which comes before"),
    ],
)
def test_the_rule_says_which_is_kept_and_why(keep: Keep, first: str, told: str) -> None:
    documents = [
        seen(0, value=5),
        seen(1, width=200, value=3),
        seen(2, created_at="2025-01-01", value=1),
        seen(3, created_at="2026-05-01"),
    ]
    order = preferred(documents, keep)
    assert documents[order[0]].document_id == first
    reason = why(documents[order[0]], [documents[at] for at in order[1:]], keep)
    assert reason.startswith(told)


def test_what_the_rule_leaves_open_is_told_as_well() -> None:
    documents = [seen(0), seen(1, bytes=2000), seen(2, width=50)]
    order = preferred(documents, Keep())
    assert [documents[at].document_id for at in order] == ["1.jpg", "0.jpg", "2.jpg"]
    reason = why(documents[1], [documents[0], documents[2]], Keep())
    assert reason == "largest: 100 × 100 pixels, then largest file: 2,000 bytes"
