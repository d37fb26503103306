"""`lookalike delete`: documents by id, filter, source, or all of a collection."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url
from lookalike_cli.printing import counted

if TYPE_CHECKING:
    from lookalike import Lookalike

EXAMPLES = """Examples:

lookalike delete --filter 'price>20' --filter status=sold

lookalike delete --source scans --collection photos --yes

lookalike delete --id mug-0042 --id mug-0043

lookalike delete --collection photos"""

_AT_ONCE = 8
_PAGE = 500
_SOURCE = "_lookalike.source"


def delete(
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            help="Collection to delete from; without other options, all of its documents.",
        ),
    ] = None,
    filter: Annotated[
        list[str] | None,
        typer.Option("--filter", help="A condition, as in search; all conditions must match."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Delete the documents of this source.")
    ] = None,
    id: Annotated[
        list[str] | None, typer.Option("--id", help="Delete this document; may be repeated.")
    ] = None,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Keep no record: the next ingestion may add the documents again."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Delete documents, after showing how many there are and asking for confirmation.

    You can interrupt it and run it again: what is deleted stays deleted. Documents that are stored
    in the meantime may stay. Ingestion does not add a deleted document again until its image
    changes, or until `lookalike restore`.
    """
    from lookalike_cli.asking import confirm
    from lookalike_cli.connection import connect, only
    from lookalike_cli.printing import console, notice, print_json

    wanted = _filters(filter or [], source)
    if id and wanted:
        raise Failure("--id cannot be combined with --filter and --source", ExitCode.USAGE)
    if not (id or wanted or collection):
        raise Failure(
            "say what to delete: use --id, --filter, --source, or --collection for all of its "
            "documents",
            ExitCode.USAGE,
        )
    with connect(url, data_dir, api_key) as client:
        if collection is None:
            names = [each.name for each in client.collections.list()]
            collection = only(names, "collection", "--collection")
        count = len(set(id)) if id else client.collections.facets(collection, filters=wanted).total
        if count:
            size = "" if id or wanted or url else _size(data_dir, collection)
            told = f"{counted(count, 'document')} of collection {collection}{size}"
            confirm(f"{told} will be deleted. Continue?", yes=yes)
        found: Iterable[tuple[str, bool]]
        if id:
            found = ((each, False) for each in dict.fromkeys(id))
        else:
            listed = client.documents.list(collection, filters=wanted, limit=_PAGE)
            found = ((each.document_id, each.source is not None) for each in listed)
        done = _delete(client, collection, found, forget)
    if output is Output.JSON:
        print_json({"collection": collection, "deleted": done.deleted, "missing": done.missing})
    else:
        gone = f"; not found: {done.missing:,}" if done.missing else ""
        console().print(f"Deleted {counted(done.deleted, 'document')} of {collection}{gone}.")
    if done.sourced and forget:
        which = f"source {source}" if source else "a source that is still declared"
        notice(
            f"{counted(done.sourced, 'document')} came from sources: {which} adds its images "
            "again at its next run. Remove the source from the YAML (`lookalike apply`), or "
            "remove the images from the source"
        )
    elif done.sourced:
        notice(
            f"{counted(done.sourced, 'document')} came from sources, which do not bring their "
            "images again unless these change: `lookalike deletions` lists them, `lookalike "
            "restore` brings them back"
        )
    if id and done.missing:
        raise typer.Exit(ExitCode.REFUSED)


@dataclass(slots=True)
class Done:
    deleted: int = 0
    missing: int = 0
    """Gone before, or while others deleted them."""
    sourced: int = 0
    """Of the deleted: brought by a source."""


def _delete(
    client: Lookalike, collection: str, found: Iterable[tuple[str, bool]], forget: bool
) -> Done:
    """Delete these documents (id, whether a source brought it), some at once, a page in memory.

    Raises Failure if the server does not go on, with what has been done.
    """
    from lookalike.errors import LookalikeError, NotFound

    done = Done()

    def one(document: tuple[str, bool]) -> tuple[bool, bool]:
        try:
            client.documents.delete(collection, document[0], forget=forget)
        except NotFound:
            return False, False
        return True, document[1]

    documents = iter(found)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            while page := list(islice(documents, _PAGE)):
                for deleted, sourced in threads.map(one, page):
                    done.deleted += deleted
                    done.missing += not deleted
                    done.sourced += sourced
        except LookalikeError as failure:
            raise Failure(
                f"{failure}. At least {counted(done.deleted, 'document')} had been deleted by "
                "then: run the same command again to delete the others",
            ) from failure
    return done


def _filters(texts: list[str], source: str | None) -> dict[str, Any] | None:
    """Raises Failure for one that would let everything through."""
    from lookalike_cli.filters import parse_filters

    parsed = [parse_filters([text]) for text in texts]
    if not all(parsed):
        raise Failure(
            "an empty --filter would delete everything: if you want that, give only --collection",
            ExitCode.USAGE,
        )
    conditions = [each for each in parsed if each]
    if source is not None:
        conditions.append({"key": _SOURCE, "operator": "eq", "value": source})
    return {"AND": conditions} if conditions else None


def _size(data_dir: Path, collection: str) -> str:
    """What its index takes on this machine's disk, in words; empty if that is not known."""
    from pydantic import ValidationError

    from lookalike_cli.printing import size
    from lookalike_crds.config import ServingConfig
    from lookalike_serving.machine.disk import size_on_disk
    from lookalike_serving.machine.rundir import RunDirectory

    try:
        text = RunDirectory.of(data_dir).serving_config.read_bytes()
        config = ServingConfig.model_validate_json(text)
    except (OSError, ValidationError):
        return ""
    path = next((each.index.path for each in config.collections if each.name == collection), None)
    return "" if path is None else f" ({size(size_on_disk(path))} on disk)"
