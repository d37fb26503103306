"""`lookalike validate`: everything that is wrong with a file, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from lookalike.cli.failure import ExitCode
from lookalike.cli.options import Files, Output, OutputFormat

EXAMPLES = """Examples:

lookalike validate -f my.yaml

lookalike validate -f collection.yaml -f retriever.yaml --output json"""


def validate(
    file: Files,
    standalone: Annotated[
        bool, typer.Option(help="A Retriever's collections must be in the files, as for `up`.")
    ] = False,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Check files without starting anything: every error with its path, value and remedy."""
    from lookalike.cli.printing import console
    from lookalike.cli.resources import print_problems
    from lookalike_crds.load import load_files

    loaded = load_files(file, standalone=standalone)
    print_problems(loaded, output)
    if loaded.errors:
        raise typer.Exit(ExitCode.FAILED)
    if output is Output.TEXT:
        names = ", ".join(f"{r.kind}/{r.metadata.name}" for r in loaded.resources)
        console().print(f"[green]valid[/green]: {names}", soft_wrap=True)
