"""The `lookalike` command: `main` turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.printing import print_error


def main() -> None:
    """Entry point. LOOKALIKE_DEBUG=1 shows tracebacks."""
    try:
        _run()
    except BaseException as error:
        if os.environ.get("LOOKALIKE_DEBUG") and isinstance(error, Exception):
            raise
        sys.exit(_told(error))


def _run() -> None:
    # httpx would import its own command, and with it click and pygments: a third of our start.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

    from lookalike_cli.app import app

    app()


def _told(error: BaseException) -> int:
    """The exit code of an error, after its line on stderr."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The reader (`head`, say) has seen enough. Keep Python from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    if isinstance(error, Failure):
        return _say(str(error), error.code)
    return _say(*_explained(error))


def _explained(error: BaseException) -> tuple[str, ExitCode]:
    from lookalike.errors import APIError, ConnectionFailed
    from lookalike_crds.failures import command_exit

    if isinstance(error, ConnectionFailed):
        remedy = "Is it running? `lookalike status` checks, `lookalike up -f FILE` starts one."
        return f"{error}. {remedy}", ExitCode.UNREACHABLE
    if isinstance(error, APIError):
        lines = [error.detail, *(f"  {e.path}: {e.message}" for e in error.errors[1:])]
        return "\n".join(lines), command_exit(error.status, error.code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", ExitCode.FAILED
    if isinstance(error, ValueError | TypeError):
        return str(error), ExitCode.FAILED
    message = f"{type(error).__name__}: {error} (LOOKALIKE_DEBUG=1 shows the traceback)"
    return message, ExitCode.FAILED


def _say(message: str, code: ExitCode) -> int:
    print_error(message)
    return code
