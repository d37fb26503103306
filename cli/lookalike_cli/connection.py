"""Which server a command talks to: --url, else the one of the data directory, else the default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from lookalike import Lookalike


def connect(url: str | None, data_dir: Path, api_key: str | None) -> Lookalike:
    """A client of the server. Raises Failure if the data directory's server is down."""
    from lookalike.client import Lookalike

    return Lookalike(url or _url_of(data_dir), api_key)


def only(names: list[str], what: str, option: str) -> str:
    """The one there is, where the caller named none. Raises Failure that lists them."""
    if len(names) == 1:
        return names[0]
    if not names:
        raise Failure(f"the server has no {what}", ExitCode.REFUSED)
    raise Failure(
        f"the server has several {what}s: choose one with {option}: {', '.join(sorted(names))}",
        ExitCode.USAGE,
    )


def _url_of(data_dir: Path) -> str | None:
    from lookalike_serving.machine.rundir import Phase, RunDirectory

    run = RunDirectory.of(data_dir)
    state = run.read_state()
    if state is None:
        return None  # nothing was started from here: the client's default
    if not run.is_locked():
        raise Failure(
            f"the server of {data_dir} is not running: lookalike up -f FILE --data-dir {data_dir}",
            ExitCode.UNREACHABLE,
        )
    if state.phase is Phase.STARTING:
        raise Failure(
            f"the server of {data_dir} is still starting (process {state.pid}): "
            "`lookalike status` shows when it is ready",
            ExitCode.UNREACHABLE,
        )
    return state.url
