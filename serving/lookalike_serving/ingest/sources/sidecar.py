"""A metadata file beside a folder of images, joined by the image's path, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from lookalike_crds.sources import MetadataMapping
from lookalike_serving.ingest.sources.protocol import SourceError
from lookalike_serving.ingest.sources.tables import format_of, rows


class Sidecar:
    """Rows by key, in a scratch database that goes with the run."""

    def __init__(self, path: Path, mapping: MetadataMapping, scratch: Path) -> None:
        """Reads the whole file. Raises SourceError."""
        self.path = path
        self._database = sqlite3.connect(scratch)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE metadata (key TEXT PRIMARY KEY, row TEXT)")
        column = mapping.key_column
        for number, row in enumerate(rows(path, format_of(path.name), text_column=column), 1):
            key = row.get(column)
            if not isinstance(key, str) or not key:
                raise SourceError(
                    f"{path} row {number} has no {column!r}, the column that names the image: "
                    "set metadata.keyColumn"
                )
            self._database.execute(
                "INSERT OR IGNORE INTO metadata VALUES (?, ?)",
                (key.removeprefix("./"), json.dumps(row, default=str)),
            )

    def row(self, key: str) -> dict[str, Any] | None:
        found = self._database.execute("SELECT row FROM metadata WHERE key = ?", (key,)).fetchone()
        return None if found is None else dict(json.loads(found[0]))
