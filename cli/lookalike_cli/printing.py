"""Output: tables for people on stdout, notices on stderr, JSON for scripts.

All text goes through `printable`, wherever it is from: a server, a cluster, a file.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from lookalike_cli.printable import printable, printable_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table


_WIDE = 200
_NEVER_BROKEN = frozenset({"document", "index"})
"""Columns of what people copy."""


@cache
def console() -> Console:
    """For results. Where nobody looks, lines are not broken at the width of a terminal."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return _console(stderr=False, width=wide)


@cache
def notices() -> Console:
    """For what happens on the way: stderr, so that it never mixes with results."""
    return _console(stderr=True, width=None)


def _console(*, stderr: bool, width: int | None) -> Console:
    """One that renders every text, of tables and bars too, as `printable` has it."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Printable(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                # What Rich itself sends to move the cursor is a control segment.
                yield Segment(text if control else printable(text), style, control)

    return Printable(stderr=stderr, highlight=False, width=width)


def size(number: int) -> str:
    """Bytes for people."""
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def print_error(message: str) -> None:
    """Where a command ends, without Rich: it may be what is missing."""
    red, plain = ("\033[31m", "\033[0m") if _in_colour() else ("", "")
    print(f"{red}error:{plain} {printable(message)}", file=sys.stderr)


def _in_colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def notice(message: str) -> None:
    from rich.markup import escape

    notices().print(f"[yellow]note:[/yellow] {escape(message)}", soft_wrap=True)


def print_json(document: Any) -> None:
    # Within JSON such a character can stand in strings alone, and its escape means the same.
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write(printable(text) + "\n")


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table without lines; the columns of `right` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            escape(printable_line(name)),
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name in _NEVER_BROKEN,
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
        return escape(printable_line(value))
    return escape(json.dumps(value, ensure_ascii=False))


def counted(count: int, what: str) -> str:
    """Such as "1 document" or "2,000 documents"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
