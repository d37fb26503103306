"""`lookalike plan`: what applying files to a cluster would change, and what that costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.cluster.access import Context, Kubeconfig, Namespace, Where
from lookalike_cli.failure import ExitCode
from lookalike_cli.options import Files, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded
    from lookalike_operator.cluster import Cluster
    from lookalike_operator.plan.model import Settings
    from lookalike_operator.preview import Preview

EXAMPLES = """Examples:

lookalike plan -f my.yaml

lookalike plan -f my.yaml -n shop --context production --output json"""

_DEFAULT_IMAGE = "lookalike-serving"


def plan(
    file: Files,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    serving_image: Annotated[
        str | None,
        typer.Option(
            help="Image of serving pods. Default: read from the Deployment of the operator."
        ),
    ] = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Show what an apply would change on a cluster: restarts, replacements, GPUs.

    The exit code is 1 if the cluster would refuse a resource, or if the resource would not become
    ready.
    """
    from lookalike_cli.cluster.access import ask
    from lookalike_cli.printing import notice, print_json
    from lookalike_cli.resources import load

    loaded = load(file, output, standalone=False)
    for problem in loaded.warnings:
        # A Retriever's collection that the files do not have may be on the cluster.
        if (problem.resource or "").startswith("ImageCollection/"):
            notice(str(problem))

    async def question(cluster: Cluster, chosen: str) -> list[Preview]:
        return await _previews(cluster, chosen, loaded, serving_image)

    found = ask(Where(kubeconfig, context, namespace), question)
    sizes = _sizes(loaded)
    if output is Output.JSON:
        print_json(
            [
                {
                    **asdict(each),
                    "key": each.key._asdict(),
                    "index_size": sizes.get((each.key.kind, each.key.name)),
                }
                for each in found
            ]
        )
    else:
        _print(found, sizes)
    if any(each.refused or each.stalled for each in found):
        raise typer.Exit(ExitCode.FAILED)


async def _previews(
    cluster: Cluster, namespace: str, loaded: Loaded, serving_image: str | None
) -> list[Preview]:
    from lookalike_operator.preview import preview

    manifests = [
        each.model_dump(mode="json", by_alias=True, exclude_unset=True)
        | {"apiVersion": each.api_version, "kind": each.kind}
        for each in loaded.resources
    ]
    settings = await _settings(cluster, serving_image)
    found: list[Preview] = []
    for chosen in dict.fromkeys(m["metadata"].get("namespace") or namespace for m in manifests):
        there = [m for m in manifests if (m["metadata"].get("namespace") or namespace) == chosen]
        found += await preview(cluster, chosen, there, settings)
    return found


async def _settings(cluster: Cluster, serving_image: str | None) -> Settings:
    """As the operator in the cluster has them: another image would look like a change."""
    from lookalike_cli.printing import notice
    from lookalike_operator.cluster import ApiError
    from lookalike_operator.kinds import kind_of
    from lookalike_operator.plan.model import Settings

    if serving_image is not None:
        return Settings(serving_image)
    labels = "app.kubernetes.io/name=lookalike,app.kubernetes.io/component=operator"
    try:
        deployments = (
            await cluster.list(kind_of("apps/v1", "Deployment"), None, labels=labels)
        ).items
    except ApiError:
        deployments = []
    for deployment in deployments:
        [container, *_] = deployment["spec"]["template"]["spec"]["containers"]
        variables = {each["name"]: each.get("value") for each in container.get("env") or ()}
        if image := variables.get("LOOKALIKE_SERVING_IMAGE"):
            return _as_the_operator(image, variables)
    notice(
        "the Deployment of the operator was not found or may not be read: give --serving-image, "
        "or the image of the pods will seem to change"
    )
    return Settings(_DEFAULT_IMAGE)


def _as_the_operator(image: str, variables: dict[str, Any]) -> Settings:
    from lookalike_operator.plan.model import PodPolicy, Settings

    defaults = Settings(image)
    network_policy = variables.get("LOOKALIKE_RAY_NETWORK_POLICY") or "true"
    return Settings(
        serving_image=image,
        image_pull_policy=variables.get("LOOKALIKE_IMAGE_PULL_POLICY")
        or defaults.image_pull_policy,
        cluster_domain=variables.get("LOOKALIKE_CLUSTER_DOMAIN") or defaults.cluster_domain,
        qdrant_addresses=tuple(
            filter(None, (variables.get("LOOKALIKE_QDRANT_ADDRESSES") or "").split(","))
        ),
        ray_version=variables.get("LOOKALIKE_RAY_VERSION") or defaults.ray_version,
        pod_policy=PodPolicy(variables.get("LOOKALIKE_POD_POLICY") or defaults.pod_policy),
        ray_network_policy=network_policy == "true",
        kuberay_namespace=variables.get("LOOKALIKE_KUBERAY_NAMESPACE"),
    )


def _sizes(loaded: Loaded) -> dict[tuple[str, str], str]:
    """(kind, name) of a collection -> what its index takes, if its model is known."""
    from lookalike_cli.sizing import per_million

    told = {
        (each.kind, each.metadata.name): per_million(each.spec)
        for each in loaded.resources
        if each.kind == "ImageCollection"
    }
    return {key: line for key, line in told.items() if line is not None}


def _print(found: list[Preview], sizes: dict[tuple[str, str], str]) -> None:
    from rich.markup import escape

    from lookalike_cli.printing import console

    say = console().print
    for each in found:
        key = each.key
        sign = "[green]+[/green]" if each.new else "[yellow]~[/yellow]"
        say(f"{sign} [bold]{key.kind}[/bold] {key.namespace}/{key.name}", soft_wrap=True)
        if each.refused:
            say(f"    [red]the cluster refuses it:[/red] {escape(each.refused)}", soft_wrap=True)
            continue
        if each.stalled:
            say(f"    [red]it would not become ready:[/red] {escape(each.stalled)}", soft_wrap=True)
        for line in each.changes:
            say(f"    {escape(line)}", soft_wrap=True)
        if (size := sizes.get((key.kind, key.name))) and each.changes:
            say(f"    {escape(size)}", soft_wrap=True)
        if not each.changes and not each.stalled:
            say("    [dim]no change[/dim]")
