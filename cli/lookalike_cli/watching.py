"""`up --watch`: files that somebody saves are applied.

Editors write in several steps, or put another file in the place: so a change counts once the
contents have stayed the same from one look to the next, and a file that is missing is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

LOOK_EVERY_SECONDS = 0.5


class Watch:
    """Looks at files; `take_over` is called with each change that has settled."""

    def __init__(self, files: Sequence[Path], take_over: Callable[[], None]) -> None:
        self._files = files
        self._take_over = take_over
        self._known = self._settling = self._contents()

    def look(self) -> None:
        """Call it now and again. What goes wrong is reported, and the next change tried."""
        import typer

        from lookalike_cli.failure import Failure
        from lookalike_cli.printing import notice

        found = self._contents()
        settled, self._settling = found == self._settling, found
        if found == self._known or not settled or None in found:
            return
        self._known = found
        try:
            self._take_over()
        except (Failure, OSError, ValueError) as failure:
            notice(f"the changed files are not applied: {failure}")
        except typer.Exit:  # the files' problems have been told
            notice("the changed files are not applied: the server continues as before")

    def _contents(self) -> list[bytes | None]:
        return [_content(path) for path in self._files]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
