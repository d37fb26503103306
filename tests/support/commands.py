"""The `lookalike` command as a process of its own."""

from __future__ import annotations

import sys

_PROGRAM = "from lookalike_cli import main; main()"


def lookalike(*arguments: object) -> list[str]:
    """The command line that runs it with the code under test."""
    return [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
