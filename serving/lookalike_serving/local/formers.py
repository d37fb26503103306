"""Indexes of former models that are kept for a while, so that a change can be taken back.

`run/formers.json` has one entry for each collection: its former configuration, and until when the
index is kept. The file is read each time, so that nothing is forgotten by a restart. An index whose
time has passed is deleted, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from lookalike_crds.config import CollectionConfig
from lookalike_crds.image_collection import KEEP_PREVIOUS
from lookalike_crds.naming import described
from lookalike_crds.switching import kept_for
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.indexes.left_behind import Kept, drop, left_behind
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.rundir import RunDirectory

_EVERY_SECONDS = 60.0
_CLOSED_AFTER_SECONDS = 30.0
"""An index that has just been replaced is still open for a moment."""

log = logging.getLogger("lookalike.local")


class Former(BaseModel):
    """The former configuration of a collection."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    collection: CollectionConfig
    until: datetime


class _File(RootModel[dict[str, Former]]):
    """By the name of the collection."""


class Formers:
    """Those of one data directory."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def all(self) -> dict[str, Former]:
        try:
            return _File.model_validate_json(self._run.formers.read_bytes()).root
        except (OSError, ValidationError):
            return {}

    def of(self, collection: str) -> CollectionConfig | None:
        """The former configuration, if its index is kept."""
        found = self.all().get(collection)
        return None if found is None else found.collection

    def keep(self, former: CollectionConfig, new: CollectionConfig) -> None:
        """Keep an index as long as its successor's spec says. Only the last one of a collection
        is kept; one before it is left to `lookalike gc`."""
        # Going back to it asks nothing of it: it has answered before.
        asked = {"gate": None, "keep_previous": KEEP_PREVIOUS}
        until = datetime.now(UTC) + kept_for(new.keep_previous)
        kept = Former(collection=former.model_copy(update=asked), until=until)
        self._write({**self.all(), former.name: kept})

    async def expire(self) -> None:
        """Delete indexes whose time has passed. Runs until it is cancelled."""
        await asyncio.sleep(_CLOSED_AFTER_SECONDS)
        while True:
            try:
                await self.delete_expired()
            except (Kept, IndexFailure, OSError) as failure:
                log.warning("an index of a former model is not deleted yet: %s", failure)
            except Exception:
                log.exception("indexes of former models cannot be deleted")
            await asyncio.sleep(_EVERY_SECONDS)

    async def delete_expired(self) -> list[str]:
        """The names of the indexes that were deleted. Raises Kept, IndexFailure, OSError."""
        now, deleted = datetime.now(UTC), []
        expired = {name: each for name, each in self.all().items() if each.until <= now}
        if not expired:
            return []
        unused = {each.name: each for each in await left_behind(self._run.read_serving_config())}
        for name, former in expired.items():
            index = former.collection.index.name
            if index in unused:
                await drop(unused[index], self._run.read_serving_config, with_documents=True)
                deleted.append(index)
                log.info(
                    "index %s of the former model %s of collection %s was deleted: it was kept "
                    "until %s",
                    index,
                    described(former.collection.made_by),
                    name,
                    former.until.isoformat(timespec="minutes"),
                )
            self._write({key: each for key, each in self.all().items() if key != name})
        return deleted

    def _write(self, formers: dict[str, Former]) -> None:
        text = _File(formers).model_dump_json(indent=2, by_alias=True)
        write_atomically(self._run.formers, text.encode())
