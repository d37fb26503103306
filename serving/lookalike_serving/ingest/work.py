"""What passes between the driver and its workers: keys and facts, never pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

from lookalike_crds.progress import ByCause
from lookalike_serving.documents.layout import Origin
from lookalike_serving.index.protocol import Record
from lookalike_serving.ingest.sources import Item


@dataclass(frozen=True, slots=True)
class Task:
    """One image to bring up to date."""

    source: str
    item: Item
    stored: Origin | None
    """What the index holds of it; None for a new document."""
    deleted: str | None = None
    """Somebody deleted the document when its image had this version (`sha256:…`): it stays away
    unless the image is another one. None: it was not deleted."""
    carried: Record | None = None
    """The document as another index has it, which is to be embedded again. None: a source lists
    it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that could not be brought up to date."""

    source: str
    key: str
    cause: str
    """In words, with the remedy."""
    code: str
    """Its row in the table of failures (`lookalike_crds.failures`)."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One image that does not come in, as its source says."""

    source: str
    key: str
    cause: str
    """That it is no longer where it was listed (`Item.if_gone`), or what its labels lack."""
    example: str
    """The image, with what it had."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some tasks. `new`, `updated`, `unchanged`, `skipped`: images, by source."""

    new: dict[str, int]
    updated: dict[str, int]
    unchanged: dict[str, int]
    failures: tuple[Failure, ...]
    warnings: tuple[ByCause, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    """Documents that somebody deleted, and whose image is still the same."""
    skipped_keys: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    """Images that are among the skipped ones."""
    bytes: int = 0
    """Of the images that were read."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; since the outcome before."""
