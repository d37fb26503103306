"""`lookalike describe`: a resource of a cluster, its parts, and what keeps it from working."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.cluster.access import Context, Kubeconfig, Namespace, Where
from lookalike_cli.options import Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_operator.cluster import Cluster

EXAMPLES = """Examples:

lookalike describe collection catalogue

lookalike describe retriever similarity-retriever -n shop --context production"""


@dataclass(frozen=True, slots=True)
class Described:
    """One resource and everything that carries its labels."""

    resource: dict[str, Any]
    children: list[dict[str, Any]]
    pods: list[dict[str, Any]]


def describe(
    kind: Annotated[str, typer.Argument(help="collection (ic) or retriever (ret).")],
    name: Annotated[str, typer.Argument(help="Which one.")],
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Show a resource of a cluster: its conditions, its objects, its pods and why they wait."""
    from lookalike_cli.cluster.access import ask
    from lookalike_cli.printing import print_json

    async def question(cluster: Cluster, chosen: str) -> Described:
        return await _described(cluster, chosen, kind, name)

    found = ask(Where(kubeconfig, context, namespace), question)
    if output is Output.JSON:
        print_json({"resource": found.resource, "children": found.children, "pods": found.pods})
    else:
        _print(found)


async def _described(cluster: Cluster, namespace: str, kind: str, name: str) -> Described:
    from lookalike_cli.cluster.access import kind_named, one, selector
    from lookalike_operator.cluster import ApiError
    from lookalike_operator.kinds import CHILDREN, POD

    ours = kind_named(kind)
    resource = await one(cluster, ours, namespace, name)
    labels = selector(ours, name)

    async def listed(each: Any) -> list[dict[str, Any]]:
        try:
            return (await cluster.list(each, namespace, labels=labels)).items
        except ApiError as failure:
            # An optional API that is not served, or one that this person may not read.
            if failure.status in (403, 404):
                return []
            raise

    watched = [each for each in CHILDREN if each.watched]
    lists = await asyncio.gather(*(listed(each) for each in watched))
    by_kind = dict(zip((each.kind for each in watched), lists, strict=True))
    pods = by_kind.pop(POD.kind)
    return Described(resource, [child for group in by_kind.values() for child in group], pods)


def _print(found: Described) -> None:
    from rich.markup import escape

    from lookalike_cli.printing import console, shown, table

    meta, status = found.resource["metadata"], found.resource.get("status") or {}
    say = console().print
    say(f"[bold]{found.resource['kind']}[/bold] {meta['namespace']}/{meta['name']}")
    for key in ("url", "documents", "failed", "activeModel", "indexName", "replicas"):
        if status.get(key) is not None:
            say(f"  {key}: {escape(str(status[key]))}", soft_wrap=True)
    if status.get("lastScaleReason"):
        say(f"  last scaling: {escape(status['lastScaleReason'])}", soft_wrap=True)
    if status.get("observedGeneration") != meta.get("generation"):
        say(
            "  [yellow]The operator has not observed the latest change yet: is it running?[/yellow]"
        )
    conditions = table("condition", "status", "reason", "message")
    for each in status.get("conditions") or ():
        conditions.add_row(
            each["type"], _coloured(each), shown(each["reason"]), shown(each["message"])
        )
    if conditions.row_count:
        say(conditions)
    sources = table("source", "listed", "ingested", "failed", "last run")
    for each in status.get("sources") or ():
        row = (each.get("listed", 0), each.get("ingested", 0), each.get("failed", 0))
        sources.add_row(each["name"], *(f"{n:,}" for n in row), shown(each.get("lastRun")))
    if sources.row_count:
        say(sources)
    for child in sorted(found.children, key=lambda c: (c["kind"], c["metadata"]["name"])):
        say(f"  {child['kind']}/{child['metadata']['name']}", soft_wrap=True)
    for pod in found.pods:
        say(_pod_line(pod), soft_wrap=True)


def _coloured(condition: dict[str, Any]) -> str:
    """Green where all is well: of some conditions True is the bad answer."""
    good = "False" if condition["type"] in ("Degraded", "Stalled", "Progressing") else "True"
    status = str(condition["status"])
    return f"[green]{status}[/green]" if status == good else f"[yellow]{status}[/yellow]"


def _pod_line(pod: dict[str, Any]) -> str:
    from rich.markup import escape

    from lookalike_operator.plan.causes import is_ready, pod_cause

    name, phase = pod["metadata"]["name"], pod.get("status", {}).get("phase", "Unknown")
    cause = pod_cause(pod)
    told = f": {escape(str(cause))}" if cause else (", ready" if is_ready(pod) else "")
    return f"  Pod/{name} {phase}{told}"
