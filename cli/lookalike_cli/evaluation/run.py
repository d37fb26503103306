"""The searches of an evaluation: each query as the retriever answers it, and with exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lookalike_cli.evaluation.judgments import Judgment, value_of
from lookalike_cli.evaluation.metrics import Figures, figures
from lookalike_cli.evaluation.thresholds import Scored

if TYPE_CHECKING:
    from lookalike import Lookalike, SearchResults

_AT_ONCE = 4
_CHECKED = 100
_LOWEST = -1e30
"""A min_score that every result reaches."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One query with its figures."""

    judgment: Judgment
    figures: Figures
    exact: Figures
    overlap: float
    """Share of the first k results of exact search that are among the first k of the index."""
    results: tuple[str, ...]
    """The ids of the first k."""
    right: frozenset[str]
    """Those of them that are relevant."""
    not_found: tuple[str, ...]
    """The ids of relevant documents that exact search did not find, at any rank."""
    warnings: tuple[str, ...]


def judge(
    client: Lookalike,
    retriever: str,
    judgments: Sequence[Judgment],
    *,
    filters: Any,
    k: int,
    depth: int,
    done: Callable[[], None],
) -> list[Judged]:
    """Search for each judgment, a few at once, in order. `done` is called after each query.

    `filters` hold in addition to those of a judgment. Raises what the client raises.
    """

    def one(judgment: Judgment) -> Judged:
        asked = _options(judgment, filters, depth)
        found = client.retrievers.search(retriever, [judgment.query], **asked)
        exact = client.retrievers.search(retriever, [judgment.query], exact=True, **asked)
        done()
        first, ideal = _ids(found)[:k], _ids(exact)[:k]
        relevant = _relevant(judgment, found)
        return Judged(
            judgment,
            _figures(judgment, found, k, depth),
            _figures(judgment, exact, k, depth),
            len(set(first) & set(ideal)) / len(ideal) if ideal else 1.0,
            tuple(first),
            frozenset(first) & relevant.keys(),
            tuple(sorted(judgment.relevant.keys() - set(_ids(exact)))),
            tuple(found.warnings),
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, judgments))


def scored(
    client: Lookalike,
    retriever: str,
    judgments: Sequence[Judgment],
    *,
    filters: Any,
    depth: int,
    done: Callable[[], None],
) -> list[Scored]:
    """The scores of the first `depth` results of each query, whatever the retriever's minScore."""

    def one(judgment: Judgment) -> Scored:
        asked = _options(judgment, filters, depth)
        found = client.retrievers.search(retriever, [judgment.query], min_score=_LOWEST, **asked)
        done()
        relevant = _relevant(judgment, found)
        results = tuple((each.score, each.document_id in relevant) for each in found)
        total = max(judgment.total or 0, len(relevant))
        kind = "text" if judgment.query["type"] == "text" else "image"
        return Scored(kind, results, total)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, judgments))


def absent(client: Lookalike, collections: Sequence[str], judged: Sequence[Judged]) -> list[str]:
    """The ids of relevant documents that do not exist, of the first `_CHECKED` not found."""
    from lookalike import NotFound

    def exists(name: str) -> bool:
        for collection in collections:
            try:
                client.documents.get(collection, name)
            except NotFound:
                continue
            return True
        return False

    names = list(dict.fromkeys(name for each in judged for name in each.not_found))[:_CHECKED]
    return [name for name in names if not exists(name)]


def _ids(results: SearchResults) -> list[str]:
    return [each.document_id for each in results]


def _options(judgment: Judgment, filters: Any, depth: int) -> dict[str, Any]:
    """What a search takes in addition to the query."""
    both = [each for each in (filters, judgment.filters) if each]
    return {
        "filters": {"AND": both} if len(both) > 1 else both[0] if both else None,
        "top_k": depth,
        "include": [] if judgment.same is None else [f"metadata.{judgment.same[0]}"],
    }


def _relevant(judgment: Judgment, results: SearchResults) -> dict[str, float]:
    """The grades of the relevant documents that are known by their ids."""
    if judgment.same is None:
        return judgment.relevant
    field, value = judgment.same
    return {each.document_id: 1.0 for each in results if value_of(each.metadata, field) == value}


def _figures(judgment: Judgment, results: SearchResults, k: int, depth: int) -> Figures:
    relevant = _relevant(judgment, results)
    total = max(judgment.total or 0, len(relevant))
    return figures(_ids(results), relevant, total, k=k, depth=depth)
