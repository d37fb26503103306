"""Output: tables for people on stdout, notices on stderr, JSON for scripts."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_WIDE = 200
_NEVER_BROKEN = "document"
"""The column of ids, which people copy."""


@cache
def console() -> Console:
    """For results. Where nobody looks, lines are not broken at the width of a terminal."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(highlight=False, width=wide)


@cache
def notices() -> Console:
    """For what happens on the way: stderr, so that it never mixes with results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def notice(message: str) -> None:
    from rich.markup import escape

    notices().print(f"[yellow]note:[/yellow] {escape(message)}", soft_wrap=True)


def print_json(document: Any) -> None:
    json.dump(document, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table without lines; the columns of `right` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name == _NEVER_BROKEN,
        )
    return made


def shown(value: Any) -> str:
    """A metadata value in a table."""
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return escape(value)
    return escape(json.dumps(value, ensure_ascii=False))
