"""`lookalike search`: find images by words, pictures, or documents, or several together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import SearchResults

EXAMPLES = """Examples:

lookalike search "red striped mug"

lookalike search --image photo.jpg --min-score 0.8 --output json

lookalike search "in blue" --image photo.jpg --filter status=active --filter 'price<20'

lookalike search --document mug-0042 --top-k 20 --save-grid similar.png"""

_METADATA_COLUMNS = 6


def search(
    text: Annotated[list[str] | None, typer.Argument(help="What the picture shows.")] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image", "-i", help="Image to search with: a file or a URL; may be repeated."
        ),
    ] = None,
    document: Annotated[
        list[str] | None,
        typer.Option("--document", help="Document to search with: its id; may be repeated."),
    ] = None,
    filter: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help="status=active, 'price<20', or JSON; all conditions must match."
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, max=1000, help="Number of results.")
    ] = None,
    min_score: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Omit results with a lower score; auto: than what `calibrate --save` found.",
        ),
    ] = None,
    retriever: Annotated[
        str | None, typer.Option(help="Retriever to search, if the server has several.")
    ] = None,
    save_grid: Annotated[
        Path | None, typer.Option(help="Draw the pictures of the results into this image file.")
    ] = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Find similar images by words, pictures, stored documents, or several of them together."""
    from lookalike_cli.connection import connect, only
    from lookalike_cli.filters import parse_filters

    queries: list[dict[str, Any]] = []
    if text:
        queries.append({"type": "text", "value": " ".join(text)})
    queries += [{"type": "image", "value": each} for each in image or ()]
    queries += [{"type": "document", "value": each} for each in document or ()]
    if not queries:
        raise Failure(
            'nothing to search for: give words ("red mug"), --image or --document', ExitCode.USAGE
        )
    filters = parse_filters(filter or ())
    lowest = _lowest(min_score)
    with connect(url, data_dir, api_key) as client:
        name = retriever or only(
            [r.name for r in client.retrievers.list()], "retriever", "--retriever"
        )
        results = client.retrievers.search(
            name, queries, filters=filters, top_k=top_k, min_score=lowest
        )
        if save_grid is not None:
            from lookalike_cli.grid import save_results

            save_results(client, results, save_grid)
    _print(results, output, save_grid)


def _lowest(text: str | None) -> float | Literal["auto"] | None:
    """Raises Failure."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Failure(
            f"--min-score is {text!r}: write a number, or auto for the threshold that `lookalike "
            "calibrate --save` finds",
            ExitCode.USAGE,
        )
    return number


def _print(results: SearchResults, output: Output, saved: Path | None) -> None:
    from rich.markup import escape

    from lookalike_cli.printing import console, counted, notice, print_json, shown, table

    if output is Output.JSON:
        print_json(results.model_dump(mode="json", exclude_none=True))
        return
    for warning in results.warnings:
        notice(warning)
    if not results:
        console().print("Nothing found.")
        return
    keys = list(dict.fromkeys(key for result in results for key in result.metadata))
    keys = keys[:_METADATA_COLUMNS]
    made = table("#", "score", "document", *keys, right=("#", "score"))
    for rank, result in enumerate(results, 1):
        values = [shown(result.metadata.get(key)) for key in keys]
        made.add_row(str(rank), f"{result.score:.3f}", shown(result.document_id), *values)
    console().print(made)
    console().print(f"[dim]{counted(len(results), 'result')} in {results.took_ms:.0f} ms[/dim]")
    if saved is not None:
        console().print(f"Pictures: {escape(str(saved))}", soft_wrap=True)
