"""Asking a person before something is lost."""

from __future__ import annotations

import sys

from lookalike_cli.failure import ExitCode, Failure


def confirm(question: str, *, yes: bool) -> None:
    """Return if it is confirmed. Raises Failure if it is not, or if there is nobody to ask.

    `yes`: it was said on the command line.
    """
    import typer

    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(
            f"{question} There is no terminal to ask on, so nothing was changed: --yes confirms "
            "in advance",
            ExitCode.UNCONFIRMED,
        )
    if not typer.confirm(question, err=True):
        raise Failure("nothing was changed", ExitCode.UNCONFIRMED)
