"""`lookalike calibrate`: the min_score with which a wanted share of the results is relevant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from lookalike_cli.evaluation.asking import (
    Asked,
    Conditions,
    Edited,
    File,
    Same,
    Sample,
    Searched,
    Session,
    session,
)
from lookalike_cli.evaluation.thresholds import Scored, Threshold, threshold
from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

EXAMPLES = """Examples:

lookalike calibrate -f judgments.jsonl

lookalike calibrate -f judgments.jsonl --precision 0.95 --output json

lookalike calibrate --same product_id --precision 0.9 --save

lookalike calibrate --edited"""

_FEW = 30
_WANTED = (0.5, 0.8, 0.9, 0.95)
_WANTED_TO_SAVE = 0.9


def calibrate(
    file: File = None,
    same: Same = None,
    edited: Edited = False,
    sample: Sample = 200,
    filter: Conditions = None,
    precision: Annotated[
        list[float] | None,
        typer.Option(
            min=0.01,
            max=1,
            help="Wanted share of relevant results; may be repeated. Default: 0.5, 0.8, 0.9, 0.95; "
            "with --save: 0.9.",
        ),
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, max=1000, help="Results of each query that are considered.")
    ] = 100,
    save: Annotated[
        bool,
        typer.Option(
            "--save", help="Store the thresholds on the server, for searches with min_score auto."
        ),
    ] = False,
    retriever: Searched = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Find the min_score below which results are mostly wrong, from judgments or stored pictures.

    Prints the lowest min_score that gives each wanted precision, with its 95 % confidence interval,
    the share of the relevant documents that are still found, and the share of the queries that get
    no result. With --save, searches with min_score auto use it, until the model, the weights of
    collections or the re-ranking stages change. Exit code 1 if no score gives any wanted precision.
    """
    from lookalike_cli.evaluation import run
    from lookalike_cli.printing import console, notice, print_json

    if save and len(set(precision or ())) > 1:
        raise Failure("--save stores one threshold: name one --precision", ExitCode.USAGE)
    wanted = sorted(set(precision or ((_WANTED_TO_SAVE,) if save else _WANTED)))
    asked = Asked(file, same, edited, sample, filter, retriever)
    with session(asked, url, data_dir, api_key) as at:
        scores = at.client.retrievers.get(at.retriever).scores
        with at.progress() as done:
            scored = run.scored(
                at.client, at.retriever, at.judgments, filters=at.filters, depth=depth, done=done
            )
        rows = _rows(scored, wanted)
        for kind, count in dict.fromkeys((row.kind, row.queries) for row in rows):
            if count < _FEW:
                notice(f"only {count} {kind} queries: the thresholds may be far off; use more")
        if output is Output.JSON:
            print_json([{**row.as_json(), "basis": asked.basis} for row in rows])
        else:
            console().print(f"Relevant: {asked.basis}", markup=False)
            _print(rows)
        found = [row for row in rows if row.threshold is not None]
        if not found:
            raise Failure(
                "no score gives a wanted precision: the model ranks too badly", ExitCode.FAILED
            )
        if save:
            _save(at, found, scores, asked.basis)
        elif len({row.kind for row in rows}) > 1:
            notice(
                "scores of image and text queries have different scales: --save stores a threshold "
                "for each of them, which searches with min_score auto use"
            )


@dataclass(frozen=True, slots=True)
class _Row:
    """What was found for one kind of query and one wanted precision."""

    kind: str
    queries: int
    pairs: int
    """Results that were judged."""
    wanted: float
    threshold: Threshold | None

    def as_json(self) -> dict[str, Any]:
        return {
            "queries": self.kind,
            "count": self.queries,
            "pairs": self.pairs,
            "wanted": self.wanted,
            "threshold": None if self.threshold is None else asdict(self.threshold),
        }


def _rows(scored: Sequence[Scored], wanted: Sequence[float]) -> list[_Row]:
    rows = []
    for kind in sorted({each.kind for each in scored}):
        queries = [each for each in scored if each.kind == kind]
        pairs = sum(len(each.results) for each in queries)
        rows += [_Row(kind, len(queries), pairs, w, threshold(queries, w)) for w in wanted]
    return rows


def _print(rows: Sequence[_Row]) -> None:
    from lookalike_cli.printing import console, table

    numbers = ("min_score", "precision", "relevant found", "empty answers")
    made = table("queries", "wanted", *numbers, right=("wanted", *numbers))
    for row in rows:
        told = [f"{row.kind} ({row.queries})", f"{row.wanted:g}"]
        found = row.threshold
        if found is None:
            made.add_row(*told, "no score gives it", "", "", "")
            continue
        made.add_row(
            *told,
            f"{found.min_score:.4f}",
            f"{found.precision:.3f} ({found.low:.3f}–{found.high:.3f})",
            f"{found.recall:.1%}",
            f"{found.empty:.1%}",
        )
    console().print(made)


def _lower(score: float) -> float:
    """A little lower: answers have rounded scores, and the result that it is the score of must
    reach it."""
    return math.floor(score * 1e6) / 1e6


def _save(at: Session, found: Sequence[_Row], scores: str | None, basis: str) -> None:
    from lookalike_cli.printing import notice

    saved = at.client.retrievers.save_calibration(
        at.retriever,
        {
            row.kind: {
                "wanted": row.wanted,
                "count": row.queries,
                "pairs": row.pairs,
                **asdict(row.threshold),
                "min_score": _lower(row.threshold.min_score),
            }
            for row in found
            if row.threshold is not None
        },
        scores=scores or "",
        basis=basis,
    )
    kinds = " and ".join(saved.thresholds)
    notice(
        f"saved for {kinds} queries of retriever {at.retriever}: searches with min_score auto use "
        "it, and so do all searches if the Retriever has spec.search.minScore: auto"
    )
