"""How a command fails: one clear line, and an exit code that a script can rely on."""

from __future__ import annotations

from lookalike_crds.failures import CommandExit as ExitCode

__all__ = ["ExitCode", "Failure", "missing_extra"]


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
