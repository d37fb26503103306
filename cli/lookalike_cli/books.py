"""`lookalike runs`, `failures`, `deletions`, `restore`: a server's records of ingestion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import Deletion, IngestionFailure, IngestionRun, Lookalike

    _Record = Deletion | IngestionFailure | IngestionRun

RUNS_EXAMPLES = """Examples:

lookalike runs

lookalike runs -c catalogue --output json"""
FAILURES_EXAMPLES = """Examples:

lookalike failures

lookalike failures --code image-truncated --limit 100

lookalike failures --retry"""
DELETIONS_EXAMPLES = """Examples:

lookalike deletions

lookalike restore mug-0042 mug-0043"""

_Collection = Annotated[str | None, typer.Option("--collection", "-c", help="Of which collection.")]


def runs(
    collection: _Collection = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Show the last ingestion runs: what became of every entry, and how long each part took."""
    from lookalike_cli.connection import connect
    from lookalike_cli.printing import console

    with connect(url, data_dir, api_key) as client:
        found = list(client.collections.runs(_named(client, collection)))
    if _listed(found, output, _runs, "No run yet."):
        for line in _slow(found[0]):
            console().print(line, markup=False, soft_wrap=True)


def failures(
    collection: _Collection = None,
    code: Annotated[
        str | None, typer.Option("--code", help="Only these, such as image-truncated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are shown.")] = 20,
    retry: Annotated[
        bool, typer.Option("--retry", help="Read them again, and nothing else.")
    ] = False,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Show the entries of sources that could not be ingested, with the remedy of each.

    With --retry, the exit code is 1 if the run failed, and 5 if some entries still fail.
    """
    from lookalike_cli.connection import connect
    from lookalike_cli.printing import console

    if retry:
        if url is not None or code is not None:
            raise Failure(
                "--retry tries all failures again, and works on the machine of the server: on a "
                "cluster set the annotation lookalike.dev/run-now of the ImageCollection",
                ExitCode.USAGE,
            )
        from lookalike_cli.ingest import ingest_again

        ingest_again(data_dir, [collection] if collection else [], output, only_failed=True)
        return
    with connect(url, data_dir, api_key) as client:
        listing = client.collections.failures(
            _named(client, collection), code=code, limit=min(limit, 1000)
        )
        found = list(islice(listing, limit + 1))
    if _listed(found[:limit], output, _failures):
        for remedy in dict.fromkeys((each.code, each.remedy) for each in found[:limit]):
            console().print(f"{remedy[0]}: {remedy[1] or ''}", markup=False, soft_wrap=True)
        if len(found) > limit:
            console().print(f"There are more: --limit {limit * 10}", markup=False)


def deletions(
    collection: _Collection = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are shown.")] = 20,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Show the documents that were deleted and that ingestion does not add again."""
    from lookalike_cli.connection import connect

    with connect(url, data_dir, api_key) as client:
        listing = client.collections.deletions(_named(client, collection), limit=min(limit, 1000))
        found = list(islice(listing, limit))
    _listed(found, output, _deletions)


def restore(
    document_ids: Annotated[list[str], typer.Argument(help="Documents that were deleted.")],
    collection: _Collection = None,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Let the next ingestion add deleted documents again."""
    from lookalike_cli.connection import connect
    from lookalike_cli.printing import console

    with connect(url, data_dir, api_key) as client:
        name = _named(client, collection)
        for document_id in document_ids:
            client.documents.restore(name, document_id)
    count = "1 document" if len(document_ids) == 1 else f"{len(document_ids)} documents"
    told = f"{count} of {name}: `lookalike ingest` brings back what the sources have."
    console().print(told, markup=False, soft_wrap=True)


def _listed(
    found: Sequence[_Record], output: Output, as_table: Callable[[Any], Any], none: str = "None."
) -> bool:
    """Print the records. Whether they were printed as a table, which may be commented on."""
    from lookalike_cli.printing import console, print_json

    if output is Output.JSON:
        print_json([each.model_dump(mode="json") for each in found])
        return False
    console().print(as_table(found) if found else none)
    return bool(found)


def _named(client: Lookalike, collection: str | None) -> str:
    from lookalike_cli.connection import only

    if collection is not None:
        return collection
    return only([each.name for each in client.collections.list()], "collection", "--collection")


_COUNTS = ("listed", "new", "updated", "unchanged", "skipped", "failed", "left")


def _runs(found: list[IngestionRun]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table("started", "state", *_COUNTS, "seconds", right=(*_COUNTS, "seconds"))
    for each in found:
        took = (each.updated_at - each.started_at).total_seconds()
        counts = (f"{getattr(each.balance, name):,}" for name in _COUNTS)
        of = " (failures only)" if each.only_failed else " (changes)" if each.of_changes else ""
        state = each.state + of
        started = each.started_at.isoformat(sep=" ", timespec="seconds")
        made.add_row(started, shown(state), *counts, f"{took:,.1f}")
    return made


def _slow(run: IngestionRun) -> list[str]:
    """Of the newest run: what took how long, what failed, what it said."""
    lines = []
    if any(run.seconds.values()):
        told = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in run.seconds.items())
        lines.append(f"The newest: {run.bytes / 1e6:,.1f} MB read; {told}")
    lines += [f"  {each.count:,} failed: {each.code}. {each.remedy}" for each in run.failures]
    if run.message:
        lines.append(f"  {run.message}")
    return lines


def _failures(found: list[IngestionFailure]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table("source", "key", "code", "cause", "attempts", "last", right=("attempts",))
    for each in found:
        last = "" if each.last_at is None else each.last_at.isoformat(" ", "seconds")
        made.add_row(
            shown(each.source),
            shown(each.key),
            shown(each.code),
            shown(each.cause),
            str(each.attempts),
            last,
        )
    return made


def _deletions(found: list[Deletion]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table("document", "deleted", "source")
    for each in found:
        deleted = each.deleted_at.isoformat(" ", "seconds")
        made.add_row(shown(each.document_id), deleted, shown(each.source))
    return made
