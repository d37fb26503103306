"""`lookalike gc`: indexes that nothing uses any more, and how to get rid of them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from lookalike_cli.cluster.access import Context, Kubeconfig
from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_crds.config import ServingConfig
    from lookalike_operator.cluster import Cluster
    from lookalike_serving.indexes.left_behind import LeftBehind

EXAMPLES = """Examples:

lookalike gc

lookalike gc --drop catalogue-90dbc7a2

lookalike gc --drop catalogue-90dbc7a2 --yes

lookalike gc --qdrant-url http://127.0.0.1:6333 --context production"""


def gc(
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="INDEX", help="Delete this index for good; may be repeated."
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="With --drop: delete even documents that no source can provide again."
        ),
    ] = False,
    qdrant_url: Annotated[
        str | None,
        typer.Option(
            help="For a cluster: the REST address of its Qdrant server, as reachable from here. "
            "An API key is taken from LOOKALIKE_QDRANT_API_KEY."
        ),
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    config: Annotated[
        Path | None,
        typer.Option(help="In a serving pod: its configuration, /etc/lookalike/serving.json."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: OutputFormat = Output.TEXT,
) -> None:
    """List unused indexes: of an earlier model, or of a collection that no longer exists.

    Without --drop, nothing is deleted. Safe to use while a server runs: an index in use is never
    deleted.
    """
    from lookalike_cli.cluster.access import Where, ask

    names = drop or []
    if yes and not names:
        raise Failure("--yes requires --drop INDEX", ExitCode.USAGE)
    for module in ("numpy", "qdrant_edge", "qdrant_client"):
        if find_spec(module) is None:
            raise missing_extra(module)
    if qdrant_url is None:
        place = InFolder(config, data_dir)
        done = asyncio.run(_work(place, names, yes))
        again = place.command
    else:
        url = qdrant_url
        done = ask(
            Where(kubeconfig, context, None),
            lambda cluster, namespace: _on_server(cluster, url, names, yes),
        )
        again = f"lookalike gc --qdrant-url {url}"
    _tell(done, again if not names else None, output)


@dataclass(frozen=True, slots=True)
class Done:
    found: list[LeftBehind]
    """What is left behind, or was until now."""
    dropped: list[str]
    failures: list[str]
    """Why the others that were named stay."""


class Place(Protocol):
    """Where indexes are left behind."""

    async def found(self) -> list[LeftBehind]: ...

    async def drop(self, index: LeftBehind, *, with_documents: bool) -> None: ...

    def unknown(self, name: str, found: list[LeftBehind]) -> str:
        """Why there is no such index to drop."""
        ...


@dataclass(frozen=True, slots=True)
class InFolder:
    """A data directory with its Qdrant servers; or, with `config`, the volumes of a pod."""

    config: Path | None
    data_dir: Path

    @property
    def command(self) -> str:
        if self.config is not None:
            return f"lookalike gc --config {self.config}"
        where = "" if self.data_dir == DEFAULT_DATA_DIR else f" --data-dir {self.data_dir}"
        return f"lookalike gc{where}"

    async def found(self) -> list[LeftBehind]:
        from lookalike_serving.indexes.left_behind import left_behind

        return await left_behind(self.configuration())

    async def drop(self, index: LeftBehind, *, with_documents: bool) -> None:
        from lookalike_serving.indexes.left_behind import drop

        await drop(index, self.configuration, with_documents=with_documents)

    def unknown(self, name: str, found: list[LeftBehind]) -> str:
        config = self.configuration()
        user = next((each.name for each in config.collections if each.index.name == name), None)
        if user is not None or name == config.batches_index.name:
            by = f"collection {user}" if user is not None else "the records of batches"
            return f"index {name} is in use by {by} and is not deleted"
        names = ", ".join(each.name for each in found) or "none"
        return f"there is no unused index {name!r} here (there are: {names})"

    def configuration(self) -> ServingConfig:
        """What is in use, as it is written down now. Raises Failure."""
        from pydantic import ValidationError

        from lookalike_crds.config import ServingConfig
        from lookalike_serving.machine.rundir import RunDirectory

        path = self.config or RunDirectory.of(self.data_dir).serving_config
        try:
            return ServingConfig.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise Failure(
                f"{path} does not exist, so it is not known which indexes are in use: run "
                "`lookalike up -f FILE` with this data directory first"
            ) from None
        except ValidationError as failure:
            first = failure.errors()[0]
            raise Failure(
                f"{path} cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg']}): "
                "run `lookalike up -f FILE` with this data directory again"
            ) from None


async def _on_server(cluster: Cluster, url: str, names: list[str], yes: bool) -> Done:
    from lookalike_cli.cluster.left_behind import OnServer
    from lookalike_serving.index.protocol import IndexFailure
    from lookalike_serving.index.qdrant_client import Credentials, client_of
    from lookalike_serving.index.qdrant_connection import Connection

    try:
        key = os.environ.get("LOOKALIKE_QDRANT_API_KEY")
        client = client_of(url, None, Credentials(key))
    except IndexFailure:
        raise Failure(f"--qdrant-url {url}: write http(s)://host:port", ExitCode.USAGE) from None
    connection = Connection({url: client})
    try:
        return await _work(OnServer(cluster, connection), names, yes)
    finally:
        await connection.close()


async def _work(place: Place, names: list[str], yes: bool) -> Done:
    from lookalike_serving.index.protocol import IndexFailure
    from lookalike_serving.indexes.left_behind import Kept

    try:
        found = await place.found()
    except IndexFailure as failure:
        raise Failure(str(failure), ExitCode.UNREACHABLE) from None
    done = Done(found, [], [])
    for name in dict.fromkeys(names):
        index = next((each for each in found if each.name == name), None)
        if index is None:
            done.failures.append(place.unknown(name, found))
            continue
        try:
            await place.drop(index, with_documents=yes)
        except (Kept, IndexFailure) as failure:
            done.failures.append(str(failure))
        else:
            done.dropped.append(name)
    return done


def _tell(done: Done, again: str | None, output: Output) -> None:
    """`again`: the command, where nothing was to be dropped. Raises Failure if something stays
    that was."""
    from lookalike_cli.printing import console, print_json

    if output is Output.JSON:
        left = [asdict(each) for each in done.found if each.name not in done.dropped]
        print_json({"left_behind": left, "dropped": done.dropped})
    elif again is None:
        for name in done.dropped:
            console().print(f"Dropped {name}.", markup=False, soft_wrap=True)
    else:
        _print(done.found, again)
    if done.failures:
        raise Failure("\n".join(done.failures))


def _print(found: list[LeftBehind], command: str) -> None:
    from rich.markup import escape

    from lookalike_cli.printing import console, shown, size, table

    if not found:
        console().print("There are no unused indexes.")
        return
    counts = ("documents", "only here", "size")
    made = table("index", "collection", "model", *counts, "where", right=counts)
    for each in found:
        made.add_row(
            escape(each.name),
            shown(each.collection),
            shown(each.model),
            _count(each.documents),
            _count(each.only_here),
            "" if each.bytes is None else size(each.bytes),
            shown(each.place),
        )
    console().print(made)
    for each in found:
        why = (
            each.problem
            if each.anothers is None
            else (f"belongs to {each.anothers} and is not deleted")
        )
        if why is not None:
            console().print(escape(f"{each.name}: {why}"), soft_wrap=True)
    console().print("[dim]only here: documents that no declared source can provide again.[/dim]")
    console().print(f"To delete one for good: {command} --drop INDEX", markup=False, soft_wrap=True)


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def left_behind_line(data_dir: Path) -> str | None:
    """For `up` and `status`: that there are some, and the command. No engine is loaded for it."""
    from lookalike_cli.printing import size
    from lookalike_serving.machine.disk import size_on_disk
    from lookalike_serving.machine.edge_places import unused_folders

    place = InFolder(None, data_dir)
    try:
        config = place.configuration()
    except Failure:
        return None
    folders = unused_folders(config)
    count = len(folders) + _left_on_servers(config)
    if not count:
        return None
    what = "1 index is" if count == 1 else f"{count} indexes are"
    total = f" ({size(sum(map(size_on_disk, folders)))})" if count == len(folders) else ""
    return f"{what} unused{total}: `{place.command}` lists them"


def _left_on_servers(config: ServingConfig) -> int:
    """0 if they cannot be asked: whether a server answers is reported by others."""
    if not any(each.index.addresses for each in config.collections):
        return 0
    from lookalike_serving.index.protocol import IndexFailure
    from lookalike_serving.indexes.left_behind import left_on_servers

    try:
        return len(asyncio.run(left_on_servers(config)))
    except IndexFailure:
        return 0
