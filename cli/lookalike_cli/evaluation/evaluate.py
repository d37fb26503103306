"""`lookalike evaluate`: how good the results of a retriever are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike_cli.evaluation.asking import (
    Asked,
    Conditions,
    Edited,
    File,
    Same,
    Sample,
    Searched,
    session,
)
from lookalike_cli.failure import Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

EXAMPLES = """Examples:

lookalike evaluate -f judgments.jsonl

lookalike evaluate -f judgments.jsonl --filter status=active --output json

lookalike evaluate --same product_id --sample 500

lookalike evaluate --edited --sample 100 --html evaluation.html"""


def evaluate(
    file: File = None,
    same: Same = None,
    edited: Edited = False,
    sample: Sample = 200,
    filter: Conditions = None,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="The k of P@k, R@k, nDCG@k.")] = 10,
    depth: Annotated[
        int, typer.Option(min=1, max=1000, help="Results of each query that mAP and MRR consider.")
    ] = 100,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page with the figures and the worst queries as pictures."),
    ] = None,
    retriever: Searched = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Measure how good the results of a retriever are, from judgments or stored pictures.

    Prints P@k, R@k, mAP, nDCG@k and MRR with 95 % confidence intervals, for all queries and for
    each language, filter and edit. Each query is also answered by exact search, which shows what
    the approximate index costs.
    """
    from lookalike_cli.evaluation import report, run
    from lookalike_cli.printing import console, notice, print_json

    depth = max(k, depth)
    asked = Asked(file, same, edited, sample, filter, retriever)
    with session(asked, url, data_dir, api_key) as at:
        with at.progress() as done:
            judged = run.judge(
                at.client, at.retriever, at.judgments,
                filters=at.filters, k=k, depth=depth, done=done,
            )  # fmt: skip
        searched = [each.name for each in at.client.retrievers.get(at.retriever).collections]
        absent = run.absent(at.client, searched, judged)
        if html is not None:
            from lookalike_cli.evaluation.page import page

            made = page(at.client, searched, judged, k, asked.basis)
            try:
                html.write_text(made, "utf-8")
            except OSError as error:
                raise Failure(f"--html: {html} cannot be written: {error.strerror}") from None
            notice(f"written: {html}")
    if absent:
        notice(
            f"{len(absent)} relevant documents of the judgments do not exist, such as "
            f"{absent[0]!r}: no search can find them, which lowers the figures"
        )
    for warning in list(dict.fromkeys(w for each in judged for w in each.warnings))[:10]:
        notice(warning)
    if output is Output.JSON:
        print_json(report.as_json(judged, k, depth, asked.basis))
        return
    console().print(f"Relevant: {asked.basis}", markup=False)
    console().print(report.as_table(judged, k))
    console().print("The queries with the lowest nDCG:")
    for each in report.worst(judged):
        found = ", ".join(each.results[:5]) or "nothing"
        line = f"  {each.figures.ndcg:.3f}  {each.judgment.shown}: {found}"
        console().print(line, markup=False, soft_wrap=True)
