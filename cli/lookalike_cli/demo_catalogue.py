"""`lookalike demo-catalogue`: draw product pictures to try things with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike_cli.failure import missing_extra
from lookalike_cli.options import Output, OutputFormat

EXAMPLES = """Examples:

lookalike demo-catalogue --out catalogue --count 2000 --seed 7"""


def demo_catalogue(
    out: Annotated[
        Path, typer.Option(help="Folder for the catalogue; created if it does not exist.")
    ],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of pictures.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 7,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Draw a catalogue of made-up products, with their metadata in catalogue.jsonl."""
    try:
        from lookalike_serving.demo.catalogue import render_catalogue
    except ImportError as error:
        raise missing_extra(error.name or str(error)) from None
    from rich.progress import Progress

    from lookalike_cli.printing import console, notices, print_json

    with Progress(console=notices(), transient=True) as bar:
        task = bar.add_task("drawing", total=count)
        made = render_catalogue(
            out, count, seed, progress=lambda done, _: bar.update(task, completed=done)
        )
    if output is Output.JSON:
        print_json({"out": str(out), "pictures": made.pictures, "bytes": made.bytes, "seed": seed})
    else:
        told = f"{made.pictures:,} pictures, {made.bytes / 1e6:.1f} MB, in {out}"
        console().print(told, markup=False, soft_wrap=True)
