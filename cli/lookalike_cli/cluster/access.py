"""Which cluster and namespace a command is about, as kubectl would choose them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from lookalike_cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from lookalike_operator.cluster import Cluster
    from lookalike_operator.kinds import Kind

T = TypeVar("T")

Context: TypeAlias = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig. Default: the current one."),
]
Kubeconfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Path of a kubeconfig. Default: KUBECONFIG, else ~/.kube/config."
    ),
]
Namespace: TypeAlias = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace. Default: that of the context.")
]

_SHORT = {
    "ImageCollection": ("imagecollection", "imagecollections", "ic", "collection", "collections"),
    "Retriever": ("retriever", "retrievers", "ret"),
}


@dataclass(frozen=True, slots=True)
class Where:
    """A cluster and a namespace, as a command was given them."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None


def ask(where: Where, question: Callable[[Cluster, str], Awaitable[T]]) -> T:
    """Run `question(cluster, namespace)`. Raises Failure if the cluster cannot be asked."""
    if find_spec("kubernetes") is None:
        raise Failure("commands for a cluster need the extra: pip install 'lookalike[operator]'")
    return asyncio.run(_ask(where, question))


async def _ask(where: Where, question: Callable[[Cluster, str], Awaitable[T]]) -> T:
    from lookalike_operator.cluster import ApiError, Cluster, NoCluster

    path = _kubeconfig(where.kubeconfig)
    if not path.exists():
        raise Failure(
            f"there is no kubeconfig at {path}: give --kubeconfig FILE, or set KUBECONFIG",
            ExitCode.USAGE,
        )
    try:
        cluster = await Cluster.connect(str(path), where.context)
    except NoCluster as failure:
        raise Failure(str(failure)) from failure
    async with cluster:
        try:
            return await question(cluster, where.namespace or _default_namespace(path, where))
        except ApiError as failure:
            if failure.status == 404:
                raise Failure(
                    "the cluster does not have the kinds of Lookalike: install the chart first "
                    "(docs/install.md)",
                    ExitCode.REFUSED,
                ) from failure
            code = ExitCode.UNREACHABLE if failure.status == 0 else ExitCode.REFUSED
            raise Failure(failure.message, code) from failure


def kind_named(text: str) -> Kind:
    """Our kind, however it is abbreviated. Raises Failure."""
    from lookalike_operator.kinds import OURS

    for kind in OURS:
        if text.lower() in _SHORT[kind.kind]:
            return kind
    raise Failure(
        f"{text} is not a kind of Lookalike: write collection (ic) or retriever (ret)",
        ExitCode.USAGE,
    )


async def one(cluster: Cluster, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
    """The resource. Raises Failure with the names there are."""
    found = await cluster.get(kind, namespace, name)
    if found is not None:
        return found
    names = [each["metadata"]["name"] for each in (await cluster.list(kind, namespace)).items]
    there = f"there are: {', '.join(sorted(names))}" if names else "there is none"
    raise Failure(f"no {kind.kind} {name!r} in namespace {namespace}; {there}", ExitCode.REFUSED)


def selector(kind: Kind, name: str) -> str:
    """What everything of one resource is labelled with."""
    from lookalike_operator.plan import names

    return f"{names.MANAGED_BY}={names.OPERATOR},{names.KIND}={kind.kind},{names.NAME}={name}"


def _kubeconfig(given: Path | None) -> Path:
    if given is not None:
        return given
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def _default_namespace(path: Path, where: Where) -> str:
    import yaml

    document = yaml.safe_load(path.read_text()) or {}
    current = where.context or document.get("current-context")
    for each in document.get("contexts") or ():
        if each.get("name") == current:
            return str(each["context"].get("namespace") or "default")
    return "default"
