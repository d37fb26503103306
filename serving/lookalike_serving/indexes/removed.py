"""Collections whose last index was deleted: noted in the data folder until what is recorded of
them (runs, failures, features, duplicate scans, dismissals, …) is deleted, too.

Records share the fate of the index: as long as an index of a removed collection is kept, they are.
They are in another index, which a running server holds the lock of. So whoever deletes the last
index leaves a note, and the serving process deletes the records: see `Service`.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lookalike_crds.ownership import IndexOwner
from lookalike_serving.machine.files import write_atomically

log = logging.getLogger("lookalike.service")

_FOLDER = "removed"


class Removed(BaseModel):
    """A note. Each collection has a file of its own: processes do not disturb each other."""

    model_config = ConfigDict(frozen=True)

    owner: IndexOwner
    """Of its indexes."""
    folder: Path | None = None
    """Of its last Edge index, which is about to be deleted; None: it was deleted on a server."""

    @property
    def is_gone(self) -> bool:
        """Whether the index was deleted: the attempt may have been interrupted."""
        return self.folder is None or not self.folder.exists()


def note(data_dir: Path, removed: Removed) -> None:
    """Raises OSError."""
    file = _file(data_dir, removed.owner)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, removed.model_dump_json().encode())


def noted(data_dir: Path) -> list[Removed]:
    """A note that cannot be read is left alone: nothing is deleted by it."""
    found = []
    for file in sorted((data_dir / _FOLDER).glob("*.json")):
        try:
            found.append(Removed.model_validate_json(file.read_bytes()))
        except (OSError, ValidationError) as failure:
            log.warning("%s cannot be read and is not acted on: %s", file, failure)
    return found


def settle(data_dir: Path, removed: Removed) -> None:
    """There is nothing to be done any more. Raises OSError."""
    _file(data_dir, removed.owner).unlink(missing_ok=True)


def _file(data_dir: Path, owner: IndexOwner) -> Path:
    digest = hashlib.sha256(owner.model_dump_json().encode()).hexdigest()[:16]
    return data_dir / _FOLDER / f"{digest}.json"
