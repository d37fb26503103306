"""Images within other files: the address of one, and where its bytes lie.

    file:///data/000.tar#512+20480/0001.jpg
    s3://photos/000.tar#512+20480/0001.jpg
    s3://photos/train.parquet#3:12/image.bytes

Of a member of an archive, `#` is followed by the offset and the length of its bytes, and by its
name, which is for people: it is read as a range of the archive, without a look at anything else in
it. Of a row of a Parquet file, the row group, the row in it (both counted from 0) and the column of
bytes follow: of the file, that row group alone is read.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import shown

_MEMBER = re.compile(r"([^#]+)#([0-9]{1,18})\+([0-9]{1,12})/.*", re.DOTALL)
_CELL = re.compile(r"([^#]+)#([0-9]{1,9}):([0-9]{1,12})/(.+)", re.DOTALL)


class Part(NamedTuple):
    """A part of a file or object."""

    start: int
    length: int


class Cell(NamedTuple):
    """A value of a Parquet file."""

    group: int
    row: int
    """Within its row group."""
    column: str


def member_address(archive: str, start: int, length: int, name: str) -> str:
    """`archive`: the address of the file or object."""
    return f"{archive}#{start}+{length}/{quote(name, errors='surrogatepass')}"


def cell_address(file: str, cell: Cell) -> str:
    """`file`: the address of the Parquet file or object."""
    return f"{file}#{cell.group}:{cell.row}/{quote(cell.column, errors='surrogatepass')}"


def split(address: str, most: int) -> tuple[str, Part | Cell | None]:
    """The address of the file or object, and the part of it that is meant; None: all of it.

    Raises ImageError if the part has more than `most` bytes.
    """
    if cell := _CELL.fullmatch(address):
        column = unquote(cell[4], errors="surrogatepass")
        return cell[1], Cell(int(cell[2]), int(cell[3]), column)
    found = _MEMBER.fullmatch(address)
    if found is None:
        return address, None
    part = Part(int(found[2]), int(found[3]))
    if part.length > most:
        raise ImageError(
            Code.TOO_LARGE,
            f"a member of {shown(found[1])} has {part.length:,} bytes, more than the limit of "
            f"{most:,}: use a smaller version of it",
        )
    return found[1], part
