"""`lookalike evaluate`: how good the results of a retriever are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import Lookalike
    from lookalike_cli.evaluation.judgments import Judgment

EXAMPLES = """Examples:

lookalike evaluate -f judgments.jsonl

lookalike evaluate -f judgments.jsonl --filter status=active --output json

lookalike evaluate --same product_id --sample 500"""


def evaluate(
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help='Judgments, one per line: {"text": "red mug", "relevant": ["mug-1"]}; with image '
            "or document instead of text.",
        ),
    ] = None,
    same: Annotated[
        str | None,
        typer.Option(
            help="Without a file: a metadata field. Documents with the same value are relevant for "
            "each other, and are searched for by each other."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000, help="With --same: at most so many queries.")
    ] = 200,
    filter: Annotated[
        list[str] | None,
        typer.Option("--filter", help="A condition for every query, as in search."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="The k of P@k, R@k, nDCG@k.")] = 10,
    depth: Annotated[
        int, typer.Option(min=1, max=1000, help="Results of each query that mAP and MRR consider.")
    ] = 100,
    retriever: Annotated[
        str | None, typer.Option(help="Retriever to evaluate, if the server has several.")
    ] = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Measure how good the results of a retriever are, from judgments or from metadata.

    Prints P@k, R@k, mAP, nDCG@k and MRR with 95 % confidence intervals, for all queries and for
    each language and filter of the judgments. Each query is also answered by exact search, which
    shows what the approximate index costs.
    """
    from lookalike_cli.connection import connect, only
    from lookalike_cli.evaluation import judgments, report, run
    from lookalike_cli.filters import parse_filters
    from lookalike_cli.printing import console, notice, notices, print_json

    if (file is None) == (same is None):
        raise Failure("name a file of judgments (-f), or a metadata field (--same)", ExitCode.USAGE)
    read = judgments.read(file) if file is not None else None
    filters = parse_filters(filter or ())
    with connect(url, data_dir, api_key) as client:
        name = retriever or only(
            [each.name for each in client.retrievers.list()], "retriever", "--retriever"
        )
        asked = (
            read if read is not None else _from_metadata(client, name, str(same), sample, filters)
        )
        with notices().status(f"0 of {len(asked)} queries") as status:
            count = 0

            def done() -> None:
                nonlocal count
                count += 1
                status.update(f"{count} of {len(asked)} queries")

            judged = run.judge(
                client, name, asked, filters=filters, k=k, depth=max(k, depth), done=done
            )
        searched = [each.name for each in client.retrievers.get(name).collections]
        absent = run.absent(client, searched, judged)
    if absent:
        notice(
            f"{len(absent)} relevant documents of the judgments do not exist, such as "
            f"{absent[0]!r}: no search can find them, which lowers the figures"
        )
    for warning in list(dict.fromkeys(w for each in judged for w in each.warnings))[:10]:
        notice(warning)
    if output is Output.JSON:
        print_json(report.as_json(judged, k, max(k, depth)))
        return
    console().print(report.as_table(judged, k))
    console().print("The queries with the lowest nDCG:")
    for each in report.worst(judged):
        found = ", ".join(each.results[:5]) or "nothing"
        line = f"  {each.figures.ndcg:.3f}  {each.judgment.shown}: {found}"
        console().print(line, markup=False, soft_wrap=True)


def _from_metadata(
    client: Lookalike, retriever: str, field: str, sample: int, filters: Mapping[str, Any] | None
) -> list[Judgment]:
    from lookalike_cli.evaluation.judgments import same_value

    collections = client.retrievers.get(retriever).collections
    if len(collections) != 1:
        raise Failure(
            f"retriever {retriever} searches several collections: --same takes one with a single "
            "collection; otherwise write judgments into a file",
            ExitCode.USAGE,
        )
    name = collections[0].name
    return same_value(client.documents.list(name, filters=filters, limit=1000), field, sample)
