"""`lookalike calibrate`: the min_score with which a wanted share of the results is relevant."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lookalike_cli.evaluation.asking import (
    Asked,
    Conditions,
    File,
    Same,
    Sample,
    Searched,
    session,
)
from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

EXAMPLES = """Examples:

lookalike calibrate -f judgments.jsonl

lookalike calibrate -f judgments.jsonl --precision 0.95 --output json

lookalike calibrate --same product_id"""

_FEW = 30


def calibrate(
    file: File = None,
    same: Same = None,
    sample: Sample = 200,
    filter: Conditions = None,
    precision: Annotated[
        list[float] | None,
        typer.Option(
            min=0.01,
            max=1,
            help="Wanted share of relevant results; may be repeated. Default: 0.5, 0.8, 0.9, 0.95.",
        ),
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, max=1000, help="Results of each query that are considered.")
    ] = 100,
    retriever: Searched = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Find the min_score below which results are mostly wrong, from judgments or from metadata.

    Prints the lowest min_score that gives each wanted precision, with its 95 % confidence interval,
    the share of the relevant documents that are still found, and the share of the queries that get
    no result. Exit code 1 if no score gives any wanted precision.
    """
    from lookalike_cli.evaluation import run
    from lookalike_cli.evaluation.thresholds import threshold
    from lookalike_cli.printing import console, notice, print_json, table

    asked = Asked(file, same, sample, filter, retriever)
    with session(asked, url, data_dir, api_key) as at, at.progress() as done:
        scored = run.scored(
            at.client, at.retriever, at.judgments, filters=at.filters, depth=depth, done=done
        )
    wanted = sorted(set(precision or (0.5, 0.8, 0.9, 0.95)))
    kinds = sorted({each.kind for each in scored})
    rows = []
    for kind in kinds:
        queries = [each for each in scored if each.kind == kind]
        if len(queries) < _FEW:
            notice(f"only {len(queries)} {kind} queries: the thresholds may be far off; use more")
        rows += [(kind, len(queries), each, threshold(queries, each)) for each in wanted]
    if output is Output.JSON:
        print_json(
            [
                {"queries": kind, "count": count, "wanted": share}
                | {"threshold": None if found is None else asdict(found)}
                for kind, count, share, found in rows
            ]
        )
    else:
        numbers = ("min_score", "precision", "relevant found", "empty answers")
        made = table("queries", "wanted", *numbers, right=("wanted", *numbers))
        for kind, count, share, found in rows:
            if found is None:
                made.add_row(f"{kind} ({count})", f"{share:g}", "no score gives it", "", "", "")
                continue
            made.add_row(
                f"{kind} ({count})",
                f"{share:g}",
                f"{found.min_score:.4f}",
                f"{found.precision:.3f} ({found.low:.3f}–{found.high:.3f})",
                f"{found.recall:.1%}",
                f"{found.empty:.1%}",
            )
        console().print(made)
    if not any(found for *_, found in rows):
        raise Failure(
            "no score gives a wanted precision: the model ranks too badly", ExitCode.FAILED
        )
    if len(kinds) > 1:
        notice(
            f"scores of {' and '.join(kinds)} queries have different scales: set min_score in the "
            "requests; search.minScore of the Retriever applies to all of them"
        )
