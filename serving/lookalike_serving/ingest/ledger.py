"""Which documents a run has seen, in bounded memory: a scratch database that goes with the run."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable
from pathlib import Path


class Ledger:
    """One row a document: 16 bytes of id, the source that listed it, and the name it has there."""

    def __init__(self, scratch: Path) -> None:
        self._database = sqlite3.connect(scratch)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE seen (id BLOB PRIMARY KEY, source TEXT, key TEXT) WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE held (image TEXT PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        self._database.close()

    def enter(self, point: str, source: str, key: str) -> tuple[str, str] | None:
        """Note a document. None the first time; then the source and key that had its id before."""
        id_ = uuid.UUID(point).bytes
        try:
            self._database.execute("INSERT INTO seen VALUES (?, ?, ?)", (id_, source, key))
        except sqlite3.IntegrityError:
            find = "SELECT source, key FROM seen WHERE id = ?"
            earlier: tuple[str, str] = self._database.execute(find, (id_,)).fetchone()
            return earlier
        return None

    def hold(self, image: str) -> None:
        """Note an image that is there although it cannot become a document now."""
        self._database.execute("INSERT OR IGNORE INTO held VALUES (?)", (image,))

    def missing(self, points: Iterable[tuple[str, str]]) -> list[str]:
        """Those of `points` – (id, address of its image) – that the run found no trace of."""
        seen = "SELECT 1 FROM seen WHERE id = ?"
        held = "SELECT 1 FROM held WHERE image = ?"
        return [
            id_
            for id_, image in points
            if self._database.execute(seen, (uuid.UUID(id_).bytes,)).fetchone() is None
            and self._database.execute(held, (image,)).fetchone() is None
        ]
