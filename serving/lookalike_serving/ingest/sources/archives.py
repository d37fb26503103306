"""Images in tar archives, as WebDataset lays them out: `0001.jpg`, `0001.json`, `0001.txt`, ….

Members of one name up to its first dot are one sample, and follow each other. The JSON object and
the text of a sample are the metadata of its images. Only headers and metadata are read here; an
image is read later, by its range.
"""

from __future__ import annotations

import asyncio
import posixpath
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, TypeVar

from pydantic_core import from_json

from lookalike_serving.ingest.sources.file_names import IMAGE_SUFFIXES

SUFFIX = ".tar"
TEXT = "text"
"""The column that a sample's text becomes."""
MOST_METADATA = 1024 * 1024
"""Bytes of one JSON or text member."""
_BATCH = 64
_T = TypeVar("_T")


@dataclass(slots=True)
class Image:
    """One image of an archive."""

    name: str
    start: int
    length: int
    modified: float
    row: dict[str, Any] = field(default_factory=dict)
    """What the archive says of it."""
    problem: str | None = None
    """Why what the archive says of it cannot be read."""


@dataclass(slots=True)
class Other:
    """A member that is no image and no metadata of one."""

    name: str


class BadArchive(Exception):
    """The archive cannot be read to its end."""


def members(file: BinaryIO) -> Iterator[Image | Other]:
    """The images of one archive, in their order. Raises BadArchive."""
    sample, images = "", list[Image]()
    row: dict[str, Any] = {}
    problem: str | None = None

    def ended() -> Iterator[Image]:
        for image in images:
            image.row, image.problem = row, problem
            yield image

    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
                if not member.isfile():
                    continue
                stem, suffix = _split(member.name)
                if stem != sample:
                    yield from ended()
                    sample, images, row, problem = stem, [], {}, None
                if suffix in IMAGE_SUFFIXES:
                    images.append(
                        Image(member.name, member.offset_data, member.size, float(member.mtime))
                    )
                elif suffix in (".json", ".txt"):
                    try:
                        row = {**row, **_metadata(archive, member, suffix)}
                    except ValueError as error:
                        problem = f"{posixpath.basename(member.name)} {error}"
                else:
                    yield Other(member.name)
    except (tarfile.TarError, OSError, EOFError, UnicodeError) as error:
        # The sample that the damage is in may lack a part, and does not come in.
        raise BadArchive(f"is no tar archive, or a damaged one: {error}") from None
    yield from ended()


def _split(name: str) -> tuple[str, str]:
    """`a/0001.left.JPG` -> (`a/0001`, `.jpg`)."""
    folder, base = posixpath.split(name)
    stem = base.partition(".")[0]
    return posixpath.join(folder, stem), posixpath.splitext(base)[1].lower()


def _metadata(archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, Any]:
    """Raises ValueError."""
    if member.size > MOST_METADATA:
        raise ValueError(f"is longer than {MOST_METADATA:,} bytes")
    file = archive.extractfile(member)
    data = b"" if file is None else file.read()
    if suffix == ".txt":
        try:
            return {TEXT: data.decode("utf-8-sig").strip()}
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8 text") from None
    return json_object(data)


def json_object(data: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        read = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise ValueError("is no JSON object")
    return read


async def in_batches(found: Iterator[_T], size: int = _BATCH) -> AsyncIterator[list[_T]]:
    """What a blocking iterator yields, drawn in a thread; what it raises comes after that."""
    failure: Exception | None = None

    def draw() -> list[_T]:
        nonlocal failure
        drawn: list[_T] = []
        try:
            drawn.extend(islice(found, size))
        except Exception as error:
            failure = error
        return drawn

    while batch := await asyncio.to_thread(draw):
        yield batch
        if failure is not None:
            break
    if failure is not None:
        raise failure
