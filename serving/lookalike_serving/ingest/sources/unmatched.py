"""Rows of a metadata file that name no file of the folder, and what probably went wrong.

A row and a file meet by the whole path. Where many do not, there is mostly one reason for all of
them: a folder too many or too few, capital letters, a suffix that was left out.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable

from lookalike_serving.documents.ids import canonical


def meeting_name(name: str) -> str:
    """How a path is spelled where rows and files meet: composed letters, `/`, no `./`."""
    path = canonical(name.strip()).replace("\\", "/")
    if path.startswith("./") or "//" in path or "/." in path:
        return posixpath.normpath(path)
    return path


def rough_name(path: str) -> str:
    """What rows and files have in common that were probably meant to meet."""
    return posixpath.splitext(posixpath.basename(path))[0].casefold()


def remedy(rows: Iterable[str], files_like: Callable[[str], Iterable[str]]) -> str | None:
    """What to do about rows that met no file. `files_like`: files without a row, by `rough_name`.

    The most frequent reason, with an example; None if no reason is found.
    """
    found: Counter[str] = Counter()
    example: dict[str, tuple[str, str]] = {}
    for row in rows:
        for file in files_like(rough_name(row)):
            if reason := _reason(row, file):
                found[reason] += 1
                example.setdefault(reason, (row, file))
                break
    if not found:
        return None
    reason, _ = found.most_common(1)[0]
    row, file = example[reason]
    return f"{reason} (the row says {row!r:.120}, the file is {file!r:.120})"


def _reason(row: str, file: str) -> str | None:
    folded_row, folded_file = row.casefold(), file.casefold()
    if folded_row == folded_file:
        return "capital letters count: write them as the files have them"
    if folded_row.endswith(f"/{folded_file}"):
        return (
            "paths are relative to volume.path: take the leading folder off the rows, or set "
            "volume.path to the folder above"
        )
    if folded_file.endswith(f"/{folded_row}"):
        return "paths are relative to volume.path: write the folder in front of the names"
    if posixpath.splitext(folded_file)[0] in (folded_row, posixpath.splitext(folded_row)[0]):
        return "the suffix is part of the name: write it as the files have it"
    return None
