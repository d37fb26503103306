"""Images within archives: the address of one, and where its bytes lie in the archive.

    file:///data/000.tar#512+20480/0001.jpg
    s3://photos/000.tar#512+20480/0001.jpg

After `#` come the offset and the length of the member's bytes, and its name, which is for people.
An image is read as a range of the archive, without a look at anything else in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import shown

_MEMBER = re.compile(r"([^#]+)#([0-9]{1,18})\+([0-9]{1,12})/.*", re.DOTALL)


class Part(NamedTuple):
    """A part of a file or object."""

    start: int
    length: int


def member_address(archive: str, start: int, length: int, name: str) -> str:
    """`archive`: the address of the file or object."""
    return f"{archive}#{start}+{length}/{quote(name, errors='surrogatepass')}"


def split(address: str, most: int) -> tuple[str, Part | None]:
    """The address of the file or object, and the part of it that is meant; None: all of it.

    Raises ImageError if the part has more than `most` bytes.
    """
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
