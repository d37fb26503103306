"""`lookalike logs`: what the pods of a resource say, each line after its pod's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lookalike_cli.cluster.access import Context, Kubeconfig, Namespace, Where
from lookalike_cli.failure import Failure
from lookalike_cli.printable import printable

if TYPE_CHECKING:
    from lookalike_operator.cluster import Cluster

EXAMPLES = """Examples:

lookalike logs retriever similarity-retriever

lookalike logs collection catalogue --previous"""


def logs(
    kind: Annotated[str, typer.Argument(help="collection (ic) or retriever (ret).")],
    name: Annotated[str, typer.Argument(help="Which one.")],
    tail: Annotated[int, typer.Option(min=1, max=10_000, help="Number of lines per pod.")] = 100,
    previous: Annotated[
        bool, typer.Option("--previous", help="Logs of the previous container, which crashed.")
    ] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print the logs of the pods of a resource, which serve or ingest."""
    from lookalike_cli.cluster.access import ask

    async def question(cluster: Cluster, chosen: str) -> list[tuple[str, str]]:
        return await _logs(cluster, chosen, kind, name, tail, previous)

    found = ask(Where(kubeconfig, context, namespace), question)
    if not found:
        raise Failure(f"{kind} {name} has no pods; `lookalike describe {kind} {name}` says why")
    for pod, text in found:
        for line in text.splitlines():
            typer.echo(printable(f"{pod}  {line}"))


async def _logs(
    cluster: Cluster, namespace: str, kind: str, name: str, tail: int, previous: bool
) -> list[tuple[str, str]]:
    from lookalike_cli.cluster.access import kind_named, one, selector
    from lookalike_operator.cluster import ApiError
    from lookalike_operator.kinds import POD

    ours = kind_named(kind)
    await one(cluster, ours, namespace, name)
    found: list[tuple[str, str]] = []
    pods = (await cluster.list(POD, namespace, labels=selector(ours, name))).items
    for pod in sorted(pods, key=lambda each: each["metadata"]["creationTimestamp"]):
        for container in pod["spec"]["containers"]:
            shown = f"{pod['metadata']['name']}/{container['name']}"
            try:
                text = await cluster.log(
                    namespace,
                    pod["metadata"]["name"],
                    container["name"],
                    tail=tail,
                    previous=previous,
                )
            except ApiError as failure:
                text = f"(no log: {failure.message})"
            found.append((shown, text))
    return found
