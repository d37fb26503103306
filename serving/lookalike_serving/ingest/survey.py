"""What an ingestion would make of a source, found without a model and without an index.

    list everything -> decode a sample of it -> what comes in, what does not and why; columns

It goes through the rooms that ingestion goes through – the same listing, the same decoding – and is
bounded in time: what was not looked at in time is said not to have been.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from lookalike_crds.buckets import Bucket
from lookalike_crds.config import FetchPolicy
from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.progress import ByCause, Tally, summed_up
from lookalike_crds.sources import MetadataMapping, SourceSpec, buckets_of
from lookalike_serving.images import ImageError, ImageFetcher, Reader
from lookalike_serving.images.decode import decode_image, general
from lookalike_serving.images.reader import for_sources, scheme_of
from lookalike_serving.ingest.sources import Item, Rejected, SourceError, open_source
from lookalike_serving.ingest.sources.guess import Guess, guess_columns
from lookalike_serving.ingest.sources.rows import reading_of
from lookalike_serving.ingest.sources.tables import Table, Unreadable, format_of, metadata_format

_T = TypeVar("_T")

SAMPLE = 50
"""Pictures that are decoded, at most twice as many."""
_ROWS = 5000
"""Of a table, to guess the types of its columns by."""
_OF_THE_WEB = frozenset({"http", "https"})
_SMALL_SIDE = 64
"""Decoded that small where the format allows: what is damaged shows all the same."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a source's table."""

    name: str
    guess: str | None
    """The type that its values seem to have; None if nothing fits, or it is empty."""
    field: str | None
    """The type of the field that the collection declares for it."""

    @property
    def could_be_typed(self) -> bool:
        """Whether `spec.fields` may declare it, and does not."""
        return self.field is None and self.guess is not None and may_be_a_field(self.name)


@dataclass(slots=True)
class Survey:
    """Of one source."""

    source: str
    comes_in: int = 0
    """Pictures, as far as their listing tells; of the sample, those that cannot be decoded are
    still among them."""
    whole: bool = True
    """Whether everything was listed in time."""
    left_out: list[ByCause] = field(default_factory=list)
    """What cannot come in, by the listing."""
    skipped: list[ByCause] = field(default_factory=list)
    """Files passed over."""
    sampled: int = 0
    undecodable: list[ByCause] = field(default_factory=list)
    """Pictures of the sample that cannot be decoded."""
    lost: list[ByCause] = field(default_factory=list)
    """What pictures come in without, by their rows or, of the sample, by decoding; and what of a
    table does not come in."""
    columns: list[Column] = field(default_factory=list)
    error: str | None = None
    """Why the source as a whole cannot be read."""

    @property
    def refused(self) -> int:
        """Pictures that were found not to come in."""
        return sum(each.count for each in (*self.left_out, *self.undecodable))

    @property
    def complete(self) -> bool:
        """Whether nothing was found that will not come in."""
        return self.error is None and not self.refused


async def survey(
    spec: SourceSpec,
    fields: tuple[FieldSpec, ...],
    policy: FetchPolicy = FetchPolicy(),
    *,
    sample: int = SAMPLE,
    seconds: float = 20.0,
    secrets: Path | None = None,
    buckets: Iterable[Bucket] | None = None,
) -> Survey:
    """Survey one source, whose paths are absolute, within about `seconds`.

    Of pictures in folders and buckets a sample is decoded; those at addresses of the web are listed
    and not fetched. `buckets`: those of the collection; the source's own if they are not given.
    """
    made = Survey(spec.name)
    until = time.monotonic() + seconds
    chosen: _Spread[Item] = _Spread(sample)
    fetcher = ImageFetcher(policy)
    try:
        with tempfile.TemporaryDirectory(prefix="lookalike-") as scratch:
            own = buckets_of((spec,), secrets) if buckets is None else buckets
            reader = for_sources(fetcher, own)
            source = open_source(spec, fields, Path(scratch), reader, secrets)
            refused, told = Tally(), Tally()
            try:
                async for entry in source.list():
                    if isinstance(entry, Rejected):
                        refused.add(
                            ByCause(
                                cause=entry.cause,
                                code=entry.kind.code,
                                source=spec.name,
                                example=entry.key,
                            )
                        )
                    elif isinstance(entry, ByCause):
                        told.add(entry)
                    elif isinstance(entry, Item):
                        made.comes_in += 1
                        chosen.add(entry)
                        for caution in entry.cautions:
                            told.add(caution.counted(spec.name, entry.key))
                    if time.monotonic() > until:
                        made.whole = False
                        break
            except SourceError as error:
                made.error = str(error)
            made.left_out, made.lost = refused.most_frequent(), told.most_frequent()
            made.skipped = summed_up(source.skipped.counted(spec.name))
        await _decode(made, chosen.kept, reader, policy.max_pixels, max(until, _soon()))
        made.columns = await asyncio.to_thread(_columns, spec, fields)
    finally:
        await fetcher.close()
    return made


def _soon() -> float:
    """A listing that took all the time leaves a little for decoding."""
    return time.monotonic() + 3.0


async def _decode(
    made: Survey, items: Iterable[Item], reader: Reader, max_pixels: int, until: float
) -> None:
    undecodable, lost = Tally(), Tally()
    for each in made.lost:
        lost.add(each)
    for item in items:
        if scheme_of(item.uri) in _OF_THE_WEB:
            continue
        if time.monotonic() > until:
            break
        made.sampled += 1
        try:
            data = await reader.read(item.uri)
            image = await asyncio.to_thread(
                decode_image, data, min_side=_SMALL_SIDE, max_pixels=max_pixels
            )
        except ImageError as error:
            undecodable.add(
                ByCause(
                    cause=error.message,
                    code=error.failure_kind.code,
                    source=made.source,
                    example=item.key,
                )
            )
            continue
        for warning in image.warnings:
            cause = general(warning)
            lost.add(ByCause(cause=cause, source=made.source, example=item.key))
    made.undecodable, made.lost = undecodable.most_frequent(), lost.most_frequent()


def table_of(spec: SourceSpec) -> tuple[Path, str, str] | None:
    """(path, format, column of the image) of a source's table on this machine, if it has one."""
    if spec.volume is not None and spec.metadata.file is not None:
        path = Path(spec.volume.path) / spec.metadata.file
        return path, metadata_format(path.name), spec.metadata.key_column
    if spec.urls is not None and "://" not in spec.urls.manifest:
        path = Path(spec.urls.manifest)
        return path, format_of(path.name, spec.urls.format), spec.urls.url_column
    return None


def guesses(
    path: Path, format_: str, key_column: str, mapping: MetadataMapping = MetadataMapping()
) -> dict[str, Guess]:
    """What the columns of a table seem to hold, by its first rows. Raises SourceError."""
    table = Table(path, format_, text_column=key_column)
    rows = (row for row in islice(table, _ROWS) if not isinstance(row, Unreadable))
    return guess_columns(rows, reading_of(table, mapping))


def _columns(spec: SourceSpec, fields: tuple[FieldSpec, ...]) -> list[Column]:
    """The columns that become metadata, under the keys they have there."""
    try:
        table = table_of(spec)
        found = {} if table is None else guesses(*table, spec.metadata)
    except SourceError:
        return []  # the listing tells it
    mapping = spec.metadata
    if mapping.columns:
        found = {key: found[column] for key, column in mapping.columns.items() if column in found}
    elif table is not None:
        found = {k: v for k, v in found.items() if k not in (table[2], mapping.document_id)}
    typed = {each.name: each.type.value for each in fields}
    return [
        Column(name, guess.type.value if guess.type is not None else None, typed.get(name))
        for name, guess in found.items()
    ]


def may_be_a_field(name: str) -> bool:
    """Whether `spec.fields` takes the name."""
    try:
        FieldSpec.model_validate({"name": name, "type": "Keyword"})
    except ValidationError:
        return False
    return True


class _Spread(Generic[_T]):
    """A few of many things, spread evenly over all of them, whose number is not known before."""

    def __init__(self, count: int) -> None:
        self._most = 2 * count
        self._step = 1
        self._seen = 0
        self.kept: list[_T] = []

    def add(self, thing: _T) -> None:
        if self._seen % self._step == 0:
            self.kept.append(thing)
            if len(self.kept) > self._most:
                self.kept, self._step = self.kept[::2], self._step * 2
        self._seen += 1
