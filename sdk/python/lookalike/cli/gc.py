"""`lookalike gc`: indexes that nothing uses any more, and how to get rid of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.failure import ExitCode, Failure, missing_extra
from lookalike.cli.options import DEFAULT_DATA_DIR, DataDir, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_crds.config import ServingConfig
    from lookalike_serving.left_behind import LeftBehind

EXAMPLES = """Examples:

lookalike gc

lookalike gc --drop catalogue-90dbc7a2

lookalike gc --drop catalogue-90dbc7a2 --yes"""


def gc(
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="INDEX", help="Delete this one for good; repeatable."),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="With --drop: even documents that no source can bring again."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="In a serving pod: its configuration, /etc/lookalike/serving.json."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: OutputFormat = Output.TEXT,
) -> None:
    """List indexes that are left behind: of an earlier model, or of a collection that is gone.

    Nothing is dropped without --drop. Safe while a server runs: what it uses is never touched.
    """
    from lookalike.cli.printing import console, print_json

    if yes and not drop:
        raise Failure("--yes goes with --drop INDEX", ExitCode.USAGE)
    for module in ("numpy", "qdrant_edge", "qdrant_client"):
        if find_spec(module) is None:
            raise missing_extra(module)
    found, failures = asyncio.run(_work(lambda: _configuration(config, data_dir), drop or [], yes))
    dropped = [each for each in found if each.name in (drop or []) and each.name not in failures]
    if output is Output.JSON:
        left = [asdict(each) for each in found if each not in dropped]
        print_json({"left_behind": left, "dropped": [each.name for each in dropped]})
    elif drop:
        for each in dropped:
            console().print(f"Dropped {each.name} ({each.place}).", markup=False, soft_wrap=True)
    else:
        _print(found, config, data_dir)
    if failures:
        raise Failure("\n".join(failures.values()))


def _configuration(config: Path | None, data_dir: Path) -> ServingConfig:
    """What the indexes in use are told by."""
    from pydantic import ValidationError

    from lookalike_crds.config import ServingConfig
    from lookalike_serving.local.rundir import RunDirectory

    path = config or RunDirectory.of(data_dir).serving_config
    try:
        return ServingConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise Failure(
            f"{path} is not there, so nobody knows which indexes are in use: run "
            "`lookalike up -f FILE` with this data directory first"
        ) from None
    except ValidationError as failure:
        first = failure.errors()[0]
        raise Failure(
            f"{path} cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg']}): run "
            "`lookalike up -f FILE` with this data directory once more"
        ) from None


async def _work(
    configuration: Callable[[], ServingConfig], names: list[str], yes: bool
) -> tuple[list[LeftBehind], dict[str, str]]:
    """(what is left behind, or was until now; why each of the named was not dropped)."""
    from lookalike_serving.index.protocol import IndexFailure
    from lookalike_serving.left_behind import Kept, drop, left_behind

    try:
        found = await left_behind(configuration())
    except IndexFailure as failure:
        raise Failure(str(failure), ExitCode.UNREACHABLE) from None
    failures: dict[str, str] = {}
    for name in names:
        index = next((each for each in found if each.name == name), None)
        if index is None:
            failures[name] = _unknown(configuration(), name, found)
            continue
        try:
            await drop(index, configuration, with_documents=yes)
        except (Kept, IndexFailure) as failure:
            failures[name] = str(failure)
    return found, failures


def _unknown(config: ServingConfig, name: str, found: list[LeftBehind]) -> str:
    user = next((each.name for each in config.collections if each.index.name == name), None)
    if user is not None or name == config.batches_index.name:
        by = f"collection {user}" if user is not None else "the records of batches"
        return f"index {name} is in use by {by}: it stays"
    names = ", ".join(each.name for each in found) or "none"
    return f"no index {name!r} is left behind here (there are: {names})"


def _print(found: list[LeftBehind], config: Path | None, data_dir: Path) -> None:
    from rich.markup import escape

    from lookalike.cli.printing import console, shown, table

    if not found:
        console().print("No index is left behind.")
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
        why = each.problem if each.anothers is None else f"belongs to {each.anothers}: it stays"
        if why is not None:
            console().print(escape(f"{each.name}: {why}"), soft_wrap=True)
    console().print(
        "[dim]only here: documents that no source of the configuration can bring again.[/dim]"
    )
    where = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {data_dir}"
    where = where if config is None else f" --config {config}"
    console().print(f"To delete one for good: lookalike gc{where} --drop INDEX", markup=False)


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def size(number: int) -> str:
    """Bytes for people."""
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def left_behind_line(data_dir: Path) -> str | None:
    """For `up` and `status`: that there are some, and the command. No engine is loaded for it."""
    from lookalike_serving.disk import size_on_disk
    from lookalike_serving.edge_places import unused_folders

    try:
        folders = unused_folders(_configuration(None, data_dir))
    except Failure:
        return None
    if not folders:
        return None
    where = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {data_dir}"
    what = "1 index is" if len(folders) == 1 else f"{len(folders)} indexes are"
    total = size(sum(size_on_disk(folder) for folder in folders))
    return f"{what} left behind ({total}): `lookalike gc{where}` lists them"
