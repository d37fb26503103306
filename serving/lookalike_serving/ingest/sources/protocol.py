"""What a place of images must be able to do: list what it has, in bounded memory.

Reading an item's bytes is not here: an item's `uri` says all that is needed
(`lookalike_serving.images.reader`), so that workers elsewhere can read it without the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lookalike_crds.failures import ENTRY_UNREADABLE, SOURCES_UNREADABLE, FailureKind
from lookalike_crds.progress import ByCause
from lookalike_serving.images.buckets import LabelKinds

_LONGEST_KEY = 500


class SourceError(Exception):
    """The source as a whole cannot be read; the message names it and the remedy.

    `failure_kind` says why, if it is known: a run whose sources all fail for it ends with it.
    """

    failure_kind: FailureKind = SOURCES_UNREADABLE

    def __init__(self, message: str, kind: FailureKind = SOURCES_UNREADABLE) -> None:
        super().__init__(message)
        self.failure_kind = kind


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that was left out of an image's metadata, or why the image was left out."""

    cause: str
    """In words that are the same for all images that it happens to, so that they can be counted."""
    value: str | None = None
    """What this one image had."""

    def example(self, key: str) -> str:
        """With the image that it happened to."""
        return key if self.value is None else f"{key}: {self.value}"

    def counted(self, source: str, key: str) -> ByCause:
        return ByCause(cause=self.cause, source=source, example=self.example(key))


@dataclass(frozen=True, slots=True)
class Labels:
    """User metadata and tags of an object, as far as they are known before its image is read."""

    kinds: LabelKinds
    """Which are asked for."""
    mark: str
    """Changes when they do, as far as listing tells."""
    values: Mapping[str, str] | None
    """None: the object is to be asked."""
    own: frozenset[str]
    """Keys of the item's metadata that they do not replace."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to be in the collection."""

    key: str
    """Its name within the source, for people: a path or an address."""
    document_id: str
    uri: str
    """`file:///…`, `https://…`, `s3://…`, `gs://…` or `az://…`."""
    version: str | None
    """Changes when the image does (size and modification time, or an etag); None if listing
    cannot tell: then the bytes' own hash does."""
    metadata: dict[str, Any]
    exif: bool = False
    """Whether what the camera wrote into the picture is metadata, too."""
    cautions: tuple[Caution, ...] = ()
    """What was left out of its metadata."""
    if_gone: str | None = None
    """Why it may be gone although it was listed; it is skipped then, and is no failure."""
    labels: Labels | None = None
    """Of the object; None if they are not metadata."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that cannot become a document, and why."""

    key: str
    cause: str
    uri: str | None = None
    """The image it names, if it names one: a document that came from there is still there."""
    kind: FailureKind = ENTRY_UNREADABLE
    """Its row in the table of failures."""
    hides: bool = False
    """Whether it may stand for images that nothing else names, so that the listing is incomplete:
    a folder that cannot be opened, a line that cannot be read."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that was passed over, as the source's spec says; it is counted as skipped."""

    uri: str
    """A document that came from there is still there."""


@dataclass(slots=True)
class Skipped:
    """Entries that were passed over, counted by cause, with the first of each as an example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, cause: str, key: str) -> None:
        self.counts[cause] += 1
        self.examples.setdefault(cause, legible(key))

    def clear(self) -> None:
        self.counts.clear()
        self.examples.clear()

    @property
    def total(self) -> int:
        return self.counts.total()

    def counted(self, source: str) -> Iterator[ByCause]:
        for cause, count in self.counts.items():
            example = self.examples[cause]
            yield ByCause(cause=cause, count=count, of="file", source=source, example=example)


Entry = Item | Rejected | LeftOut | ByCause
"""What is reported by cause is about a table that came with the images: rows that name no file."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at a key of a source at one moment."""

    key: str
    version: str | None
    """As listing tells it; None if nothing is there."""
    found: Any = None
    """What the source itself knows of it."""
    tells_of_all: bool = False
    """Whether it tells of all images, as a table of metadata and a manifest do, so that any of them
    may have changed with it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing is at a key that was asked for."""

    key: str
    uri: str
    """A document that came from there has this address."""
    document_id: str | None = None
    """That an image there would have; None if it cannot be told."""
    below: str | None = None
    """What the addresses of documents that came from within it begin with, if it may have been an
    archive or a folder."""


class Source(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def skipped(self) -> Skipped:
        """Entries passed over since they do not look like images."""
        ...

    def list(self) -> AsyncIterator[Entry]:
        """Everything there is, in an order that stays the same. Raises SourceError."""
        ...


@runtime_checkable
class KeyedSource(Source, Protocol):
    """A source that can be asked for single keys, which are paths within it; of a manifest, the
    addresses of the objects that its rows name."""

    def goes_through_all(self, key: str) -> bool:
        """Whether looking at a key takes going through everything that the source has."""
        ...

    async def look(self, keys: Iterable[str]) -> Sequence[Seen]:
        """What is at some keys now. A key that a listing would not come to is left out.

        Raises SourceError.
        """
        ...

    def key_of(self, uri: str) -> str | None:
        """The key that a document's address is of; None if it is of no single file or object."""
        ...

    def entries(self, seen: Iterable[Seen]) -> AsyncIterator[Entry | Gone]:
        """What a listing would say of what was seen. Raises SourceError."""
        ...


def legible(name: str) -> str:
    """A name as it can be shown and written down: what cannot be printed is escaped (`\\t`)."""
    if len(name) > _LONGEST_KEY:
        name = name[:_LONGEST_KEY] + "…"
    if name.isprintable():
        return name
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name
    )
