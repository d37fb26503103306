"""The figures of an evaluation: of all queries, and of each language, filter and edit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookalike_cli.evaluation.metrics import NAMES, Mean, means
from lookalike_cli.evaluation.run import Judged

_WORST = 5


@dataclass(frozen=True, slots=True)
class Row:
    """The means of a group of queries."""

    group: str
    """`all`, `language: en`, `filters: {…}`."""
    queries: int
    index: dict[str, Mean]
    exact: dict[str, Mean]
    overlap: float
    """Mean share of the results of exact search that the index finds."""


def rows(judged: Sequence[Judged]) -> list[Row]:
    """One of all queries, then one of each language, filter and edit."""
    made = [_row("all", judged)]
    for label, key in (
        ("language", lambda each: each.judgment.language),
        ("filters", lambda each: _text(each.judgment.filters)),
        ("edit", lambda each: each.judgment.edit),
    ):
        groups: dict[str, list[Judged]] = {}
        for each in judged:
            if (name := key(each)) is not None:
                groups.setdefault(name, []).append(each)
        made += [_row(f"{label}: {name}", groups[name]) for name in sorted(groups)]
    return made


def _row(group: str, judged: Sequence[Judged]) -> Row:
    return Row(
        group,
        len(judged),
        means([each.figures for each in judged]),
        means([each.exact for each in judged]),
        sum(each.overlap for each in judged) / len(judged),
    )


def _text(filters: Any) -> str | None:
    return json.dumps(filters, sort_keys=True, ensure_ascii=False) if filters else None


def worst(judged: Sequence[Judged], count: int = _WORST) -> list[Judged]:
    """The queries with the lowest nDCG, the lowest first."""
    return sorted(judged, key=lambda each: each.figures.ndcg)[:count]


def as_json(judged: Sequence[Judged], k: int, depth: int, basis: str) -> dict[str, Any]:
    """`basis`: what was taken as relevant, in words."""
    return {
        "basis": basis,
        "k": k,
        "depth": depth,
        "groups": [
            {
                "group": row.group,
                "queries": row.queries,
                "index": {name: asdict(mean) for name, mean in row.index.items()},
                "exact": {name: asdict(mean) for name, mean in row.exact.items()},
                "overlap": row.overlap,
            }
            for row in rows(judged)
        ],
        "queries": [
            {
                "query": each.judgment.asked,
                "language": each.judgment.language,
                "filters": each.judgment.filters,
                "edit": each.judgment.edit,
                "figures": asdict(each.figures),
                "exact": asdict(each.exact),
                "overlap": each.overlap,
                "results": list(each.results),
                "warnings": list(each.warnings),
            }
            for each in judged
        ],
    }


def as_table(judged: Sequence[Judged], k: int) -> Any:
    from lookalike_cli.printing import shown, table

    names = [name.format(k=k) for name in NAMES.values()]
    made = table("group", "queries", *names, "found of exact", right=("queries",))
    for row in rows(judged):
        values = [f"{m.value:.3f} ({m.low:.3f}–{m.high:.3f})" for m in row.index.values()]
        made.add_row(shown(row.group), str(row.queries), *values, f"{row.overlap:.3f}")
        values = [f"{m.value:.3f}" for m in row.exact.values()]
        made.add_row("  with exact search", "", *values, "")
    return made
