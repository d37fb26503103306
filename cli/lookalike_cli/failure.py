"""How a command fails: one clear line, and an exit code that a script can rely on."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Documented in docs/cli.md; 2 (wrong usage) is the option parser's own."""

    OK = 0
    FAILED = 1
    """What was asked for could not be done: an invalid file, a server that does not start."""
    USAGE = 2
    UNREACHABLE = 3
    """No server answers, or it is not ready."""
    REFUSED = 4
    """The server answered no: not found, invalid, no valid API key."""
    INCOMPLETE = 5
    """Done but for some parts: images or sources that could not be read."""
    UNCONFIRMED = 6
    """Something would be lost, and nobody could be asked: `--yes` says that it is meant."""
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the command. The message names the cause and the remedy."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


def missing_extra(module: str) -> Failure:
    """For a command that needs more than the light install has."""
    return Failure(
        f"this command needs {module}, which is not installed: pip install 'lookalike[serving]'"
    )
