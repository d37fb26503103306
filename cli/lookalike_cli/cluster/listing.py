"""`lookalike get collections|retrievers` of a cluster: what its resources are and how they fare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lookalike_cli.cluster.access import Where
from lookalike_cli.options import Output

if TYPE_CHECKING:
    from lookalike_operator.cluster import Cluster


def show(where: Where, kind: str, name: str | None, output: Output) -> None:
    """All resources of a kind in a namespace, or one whole."""
    from lookalike_cli.cluster.access import ask
    from lookalike_cli.printing import console, print_json

    async def question(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
        from lookalike_cli.cluster.access import kind_named, one

        ours = kind_named(kind)
        if name is not None:
            return [await one(cluster, ours, namespace, name)]
        return (await cluster.list(ours, namespace)).items

    found = ask(where, question)
    if name is not None:
        print_json(found[0])
    elif output is Output.JSON:
        print_json(found)
    elif found:
        console().print(_table(found))
    else:
        console().print(f"no {kind} in this namespace")


def _table(found: list[dict[str, Any]]) -> Any:
    from lookalike_cli.printing import shown, table

    retrievers = found[0]["kind"] == "Retriever"
    what = ("replicas", "url") if retrievers else ("documents", "activeModel")
    made = table("name", "ready", *what, "why", right=what[:1])
    for each in found:
        status = each.get("status") or {}
        conditions = status.get("conditions") or ()
        ready = next((c for c in conditions if c["type"] == "Ready"), None)
        told = ready["status"] if ready else "Unknown"
        why = f"{ready['reason']}: {ready['message']}" if ready and told != "True" else ""
        made.add_row(
            shown(each["metadata"]["name"]), told, *(shown(status.get(k)) for k in what), shown(why)
        )
    return made
