"""`lookalike validate`: everything that is wrong with a file, at once."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike_cli.failure import ExitCode
from lookalike_cli.options import Files, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded

EXAMPLES = """Examples:

lookalike validate -f my.yaml

lookalike validate -f collection.yaml -f retriever.yaml --output json"""


def validate(
    file: Files,
    standalone: Annotated[
        bool, typer.Option(help="The collections of a Retriever must be in the files, as for `up`.")
    ] = False,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Check files without starting anything, and list every error with path, value and remedy.

    Pictures on this machine are checked, too, for a few seconds.
    """
    from lookalike_cli.printing import console
    from lookalike_cli.resources import print_problems
    from lookalike_crds.load import load_files

    loaded = load_files(file, standalone=standalone)
    print_problems(loaded, output)
    if loaded.errors:
        raise typer.Exit(ExitCode.FAILED)
    if output is Output.TEXT:
        names = ", ".join(f"{r.kind}/{r.metadata.name}" for r in loaded.resources)
        console().print(f"[green]valid[/green]: {names}", soft_wrap=True)
        _tell_what_is_here(loaded, file)


def _tell_what_is_here(loaded: Loaded, files: list[Path]) -> None:
    """A line for each source whose pictures are on this machine, as far as it can read pictures."""
    from lookalike_cli.printing import console

    try:
        from lookalike_cli.dry_run import in_a_line, surveyed_briefly

        made = surveyed_briefly(loaded)
    except ModuleNotFoundError:
        return  # the light install
    for each in made:
        console().print(in_a_line(each), markup=False, soft_wrap=True)
    if not all(each.survey.complete for each in made):
        named = " ".join(f"-f {shlex.quote(str(path))}" for path in files)
        line = f"to list them: lookalike ingest --dry-run {named}"
        console().print(line, markup=False, soft_wrap=True)
