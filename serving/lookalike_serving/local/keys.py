"""The API keys of a server on this machine, for commands that call it from here."""

from __future__ import annotations

from pathlib import Path


def first_key(path: Path | None) -> str | None:
    """One key from a file of API keys."""
    try:
        lines = path.read_text().splitlines() if path is not None else []
    except (OSError, UnicodeDecodeError):
        return None
    return next((key for line in lines if (key := line.strip()) and key[0] != "#"), None)
