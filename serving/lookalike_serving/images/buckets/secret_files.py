"""Credentials as files: a folder that holds one file for each key of a Secret.

A Secret's files change in place when somebody rotates the credentials, so they are read when a
client is made, and made again when the service refuses what they said before.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CA = "ca.crt"
"""The key of certificates (PEM) to trust beside the usual ones."""
_MOST_BYTES = 64 * 1024


def read_secret(folder: Path | None) -> Mapping[str, str] | None:
    """Key -> value, without white space around it. None if there is no folder, or nothing in it."""
    if folder is None or not folder.is_dir():
        return None
    found = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not file.is_file():  # `..data` of a mounted Secret
            continue
        with file.open("rb") as stream:
            found[file.name] = stream.read(_MOST_BYTES).decode("utf-8", "replace").strip()
    return found or None


def authorities(folder: Path | None, secret: Mapping[str, str] | None) -> str | None:
    """The file of certificates to trust; None: the usual ones."""
    return None if folder is None or secret is None or CA not in secret else str(folder / CA)
