"""`lookalike get`: collections, retrievers and documents as the server has them."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.cluster.access import Context, Kubeconfig, Namespace, Where
from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import Collection, Document, Lookalike, Retriever

EXAMPLES = """Examples:

lookalike get collections

lookalike get documents --filter status=active --limit 5

lookalike get documents mug-0042 --output json

lookalike get retrievers --context production -n shop"""

_METADATA_COLUMNS = 6


class Kind(StrEnum):
    COLLECTIONS = "collections"
    RETRIEVERS = "retrievers"
    DOCUMENTS = "documents"


def get(
    kind: Annotated[Kind, typer.Argument(help="What to show.")],
    name: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="For documents: their collection.")
    ] = None,
    filter: Annotated[
        list[str] | None, typer.Option("--filter", help="For documents: a condition, as in search.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="For documents: how many to show.")] = 20,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the collections, retrievers or documents of a server or (-n, --context) of a cluster."""
    from lookalike_cli.connection import connect, only
    from lookalike_cli.filters import parse_filters
    from lookalike_cli.printing import print_json

    if kind is not Kind.DOCUMENTS and (collection or filter):
        raise Failure("--collection and --filter require the kind documents", ExitCode.USAGE)
    if namespace is not None or context is not None or kubeconfig is not None:
        if kind is Kind.DOCUMENTS:
            raise Failure(
                "documents are read from the endpoint, not from the cluster: give --url, and an "
                "API key with --api-key",
                ExitCode.USAGE,
            )
        from lookalike_cli.cluster.listing import show

        show(Where(kubeconfig, context, namespace), kind.value, name, output)
        return
    filters = parse_filters(filter or ())
    with connect(url, data_dir, api_key) as client:
        if kind is Kind.DOCUMENTS and collection is None:
            names = [each.name for each in client.collections.list()]
            collection = only(names, "collection", "--collection")
        if name is not None:
            print_json(_one(client, kind, name, collection or "").model_dump(mode="json"))
            return
        if kind is Kind.COLLECTIONS:
            _print(list(client.collections.list()), _collections, output)
        elif kind is Kind.RETRIEVERS:
            _print(list(client.retrievers.list()), _retrievers, output)
        else:
            listing = client.documents.list(
                collection or "", filters=filters, limit=min(limit, 1000)
            )
            _print(list(islice(listing, limit)), _documents, output)


def _one(
    client: Lookalike, kind: Kind, name: str, collection: str
) -> Collection | Retriever | Document:
    match kind:
        case Kind.COLLECTIONS:
            return client.collections.get(name)
        case Kind.RETRIEVERS:
            return client.retrievers.get(name)
        case Kind.DOCUMENTS:
            return client.documents.get(collection, name)


def _print(items: list[Any], as_table: Any, output: Output) -> None:
    from lookalike_cli.printing import console, print_json

    if output is Output.JSON:
        print_json([item.model_dump(mode="json") for item in items])
    elif not items:
        console().print("None.")
    else:
        console().print(as_table(items))


def _collections(items: list[Collection]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table("name", "documents", "state", "model", "engine", right=("documents",))
    for each in items:
        state = each.state if each.reason is None else f"{each.state}: {each.reason}"
        count = "" if each.documents is None else f"{each.documents:,}"
        made.add_row(each.name, count, shown(state), shown(each.model), shown(each.engine))
    return made


def _retrievers(items: list[Retriever]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table("name", "collections", "top_k", "min_score", right=("top_k", "min_score"))
    for each in items:
        searched = ", ".join(f"{c.name} x{c.weight:g}" for c in each.collections)
        top_k, min_score = each.search.get("top_k"), each.search.get("min_score")
        made.add_row(each.name, searched, shown(top_k), shown(min_score))
    return made


def _documents(items: list[Document]) -> Any:
    from lookalike_cli.printing import shown, table

    keys = list(dict.fromkeys(key for item in items for key in item.metadata))[:_METADATA_COLUMNS]
    made = table("document", *keys)
    for each in items:
        made.add_row(shown(each.document_id), *(shown(each.metadata.get(key)) for key in keys))
    return made
