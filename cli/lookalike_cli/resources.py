"""Reading resource files for a command, and telling what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_cli.failure import ExitCode
from lookalike_cli.options import Output

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded, Problem


def load(files: Sequence[Path], output: Output, *, standalone: bool = True) -> Loaded:
    """The files' resources. Ends the command, after telling every error, if there are any.

    `standalone`: everything a Retriever names must be in the files.
    """
    from lookalike_crds.load import load_files

    loaded = load_files(files, standalone=standalone)
    refuse_errors(loaded, output)
    return loaded


def refuse_errors(loaded: Loaded, output: Output) -> None:
    """Ends the command, after telling every error, if there are any."""
    import typer

    if loaded.errors:
        print_problems(loaded, output)
        raise typer.Exit(ExitCode.FAILED)


def print_problems(loaded: Loaded, output: Output) -> None:
    """Errors and warnings, grouped by file; as JSON a report of the whole."""
    from lookalike_cli.printing import console, print_json

    if output is Output.JSON:
        print_json(report(loaded))
        return
    problems = sorted(loaded.problems, key=lambda p: (p.warning, p.source, p.document))
    for problem in problems:
        console().print(_line(problem), soft_wrap=True)
    count = len(loaded.errors)
    if count:
        console().print(f"[red]{count} error{'s' if count > 1 else ''}[/red]")


def report(loaded: Loaded) -> dict[str, Any]:
    """What `--output json` tells of files."""
    return {
        "valid": not loaded.errors,
        "resources": [{"kind": r.kind, "name": r.metadata.name} for r in loaded.resources],
        "errors": _documents(loaded.errors),
        "warnings": _documents(loaded.warnings),
    }


def print_warnings(loaded: Loaded) -> None:
    """What the files ask for and one machine does not do."""
    from lookalike_cli.printing import notice
    from lookalike_crds.load import local_warnings

    for problem in loaded.warnings:
        notice(str(problem))
    for resource in loaded.resources:
        for warning in local_warnings(resource):
            notice(warning)


def _documents(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [
        {
            "file": p.source,
            "document": p.document,
            "resource": p.resource,
            "path": p.path,
            "value": p.value,
            "message": p.message,
        }
        for p in problems
    ]


def _line(problem: Problem) -> str:
    from rich.markup import escape

    sign = "[yellow]warning[/yellow]" if problem.warning else "[red]error[/red]"
    where = problem.source + (f" (document {problem.document})" if problem.document else "")
    what = " ".join(part for part in (problem.resource, problem.path) if part)
    value = f" = {problem.value}" if problem.value is not None else ""
    place = f"[bold]{escape(what + value)}[/bold]: " if what else ""
    return f"{sign} {escape(where)}: {place}{escape(problem.message)}"
