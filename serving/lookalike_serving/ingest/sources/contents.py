"""What is in files that hold images, tar archives and Parquet, for one process or for several.

To find the images of an archive, all its headers are read, and of a Parquet file its footer and
its columns other than the image. Several processes that share a run read them once: whichever
reads goes from file to file in the order of the listing, ahead of the images, and writes pages
down (`lookalike_serving.ingest.together`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import BinaryIO, NamedTuple

from lookalike_serving.images.errors import ImageError
from lookalike_serving.ingest.sources import archives, parquet
from lookalike_serving.ingest.together import ReadOn, Shared, packed, unpacked
from lookalike_serving.parquet import BadRow, Damaged, ImageRow, NoImages

SUFFIXES = (archives.SUFFIX, *parquet.SUFFIXES)
_PAGE_ENTRIES, _PAGE_CHARACTERS = 1000, 256 * 1024
"""A page that is written down has this many at most, and little more than that."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The rest of the file cannot be read."""

    cause: str


@dataclass(frozen=True, slots=True)
class WithoutImages:
    """A Parquet file that has no column of bytes."""


Inside = archives.Image | archives.Other | ImageRow | BadRow | Broken | WithoutImages
_KINDS: tuple[type[Inside], ...] = (
    archives.Image,
    archives.Other,
    ImageRow,
    BadRow,
    Broken,
    WithoutImages,
)


class Holder(NamedTuple):
    """A file that holds images, as a listing tells it."""

    key: str
    """The object's own, not its path within the source."""
    version: str
    bytes: int


async def contents(
    key: str,
    opened: Callable[[], BinaryIO],
    image_column: str | None,
    columns: Collection[str] | None,
) -> AsyncGenerator[Sequence[Inside], None]:
    """What is in a file, some at a time. `opened` is called in a thread; see `parquet.image_rows`.

    What is wrong with the file itself is the last of it. Raises what `opened` and its file raise
    for the bucket as a whole.
    """
    try:
        with await asyncio.to_thread(opened) as file:
            if key.endswith(archives.SUFFIX):
                async for members in archives.in_batches(archives.members(file)):
                    yield members
            else:
                rows = parquet.image_rows(file, image_column, columns)
                async for some in archives.in_batches(rows):
                    yield some
    except NoImages:
        yield [WithoutImages()]
    except (archives.BadArchive, Damaged, ImageError, OSError) as error:
        yield [Broken(str(error))]


ReadHolder = Callable[[Holder], AsyncGenerator[Sequence[Inside], None]]


def reading_on(read: ReadHolder, holders: Callable[[], AsyncGenerator[Holder, None]]) -> ReadOn:
    """Reads files from somewhere in one of them to the end of the last.

    `holders` tells all files, in the order in which each process comes to them.
    """

    async def read_on(begin: str) -> AsyncGenerator[tuple[str, str], None]:
        asked, done = _place(begin)
        async for page in _pages(read, asked, done):
            yield page
        passed = False
        async with aclosing(holders()) as all_of_them:
            async for holder in all_of_them:
                if passed:
                    async for page in _pages(read, holder, 0):
                        yield page
                passed = passed or holder.key == asked.key

    return read_on


async def shared_contents(shared: Shared, holder: Holder) -> AsyncIterator[Sequence[Inside]]:
    """What is in one of the files that several processes read together."""
    async for page in shared.pages(_begin(holder, 0), _decoded, _following):
        yield page


async def _pages(
    read: ReadHolder, holder: Holder, done: int
) -> AsyncGenerator[tuple[str, str], None]:
    """Without the first `done`; the last page is empty."""
    begin, page, characters = done, list[str](), 0
    to_pass_over = done
    async with aclosing(read(holder)) as found:
        async for some in found:
            left = some[to_pass_over:]
            to_pass_over -= len(some) - len(left)
            for each in left:
                told = json.dumps(_encoded(each))
                page.append(told)
                characters += len(told)
                if len(page) == _PAGE_ENTRIES or characters >= _PAGE_CHARACTERS:
                    yield _begin(holder, begin), packed(f"[{','.join(page)}]")
                    begin, page, characters = begin + len(page), [], 0
    if page:
        yield _begin(holder, begin), packed(f"[{','.join(page)}]")
    yield _begin(holder, begin + len(page)), packed("[]")


def _begin(holder: Holder, done: int) -> str:
    return json.dumps([*holder, done])


def _place(begin: str) -> tuple[Holder, int]:
    *holder, done = json.loads(begin)
    return Holder(*holder), done


def _following(begin: str, page: Sequence[Inside]) -> str:
    holder, done = _place(begin)
    return _begin(holder, done + len(page))


def _encoded(each: Inside) -> list[object]:
    return [_KINDS.index(type(each)), *(getattr(each, one.name) for one in fields(each))]


def _decoded(page: str) -> list[Inside]:
    return [_KINDS[kind](*told) for kind, *told in unpacked(page)]
