"""From pairs to groups, each with a keeper.

A chain is no group: that A is a copy of B and B of C says nothing of A and C. So every member of a
group matches its keeper, and what does not match it is grouped again without it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

from lookalike_serving.scans.keepers import preferred, why
from lookalike_serving.scans.record import Group, Keep, Member, Pair, Scanned

MOST_COMPARED = 100
"""Documents of a chain up to which those that were no candidates of its keeper are compared with
it, too."""


def chains(pairs: Iterable[Pair]) -> list[list[int]]:
    """Numbers that hang together by pairs, each chain and all of them in order."""
    parents: dict[int, int] = {}

    def root(number: int) -> int:
        parents.setdefault(number, number)
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for pair in pairs:
        a, b = sorted((root(pair.query), root(pair.document)))
        parents[b] = a
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number in sorted(parents):
        found[root(number)].append(number)
    return [found[first] for first in sorted(found)]


async def grouped(
    chain: Sequence[int],
    documents: Mapping[int, Scanned],
    pairs: Mapping[tuple[int, int], Pair],
    keep: Keep,
    compared: Callable[[int, int], Awaitable[Pair | None]],
    first: int,
) -> AsyncIterator[Group]:
    """The groups of one chain, numbered from `first`. `compared` tells of two documents that were
    not compared so far."""
    order = preferred([documents[number] for number in chain], keep)
    left = [chain[at] for at in order]
    number = first
    while len(left) > 1:
        keeper, *rest = left
        members: list[Member] = []
        left = []
        for other in rest:
            key = (min(keeper, other), max(keeper, other))
            pair = pairs.get(key)
            if pair is None and len(chain) <= MOST_COMPARED:
                pair = await compared(*key)
            if pair is None:
                left.append(other)
                continue
            members.append(
                Member(
                    documents[other],
                    pair.verdict,
                    pair.confidence,
                    pair.evidence,
                    "query" if pair.query == keeper else "document",
                )
            )
        if members:
            kept = documents[keeper]
            told = why(kept, [each.document for each in members], keep)
            yield Group(number, kept, told, tuple(members))
            number += 1
