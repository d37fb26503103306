"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_DATA_DIR = Path(".lookalike")


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


DataDir: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="LOOKALIKE_DATA_DIR",
        help="Where `up` keeps indexes, images and the state of the server.",
    ),
]
Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="LOOKALIKE_URL",
        help="Address of the server. Default: found through the data directory.",
    ),
]
ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="LOOKALIKE_API_KEY", help="API key, if the server requires one."
    ),
]
OutputFormat: TypeAlias = Annotated[
    Output, typer.Option("--output", "-o", help="text for people, json for scripts.")
]
Files: TypeAlias = Annotated[
    list[Path],
    typer.Option(
        "--file", "-f", help="YAML with ImageCollections and Retrievers; may be repeated."
    ),
]
