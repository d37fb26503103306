"""Edited copies of stored pictures, as queries whose right answer is known without judgments.

An edited copy asks for one document, the one that it was made of. So it measures how well copies
are found again, and says nothing about other pictures of the same thing.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from lookalike_cli.evaluation.judgments import Judgment
from lookalike_cli.failure import ExitCode, Failure, missing_extra

if TYPE_CHECKING:
    from PIL.Image import Image

_CONSIDERED = 50_000
"""Documents that the sample is drawn from: the first of the listing."""
_SEED = 1
_SIDE = 512
"""Pixels of the longest side of a query: more than models see."""


def _cropped(picture: Image) -> Image:
    """The middle, three quarters of each side."""
    width, height = picture.size
    left, top = width // 8, height // 8
    return picture.crop((left, top, max(width - left, left + 1), max(height - top, top + 1)))


def _small(picture: Image) -> Image:
    copy = picture.copy()
    copy.thumbnail((96, 96))
    return copy


def _mirrored(picture: Image) -> Image:
    from PIL import ImageOps

    return ImageOps.mirror(picture)


def _darker(picture: Image) -> Image:
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(picture).enhance(0.6)


def _grey(picture: Image) -> Image:
    return picture.convert("L").convert("RGB")


def _rotated(picture: Image) -> Image:
    """By ten degrees, on a grey background."""
    return picture.rotate(10, expand=True, fillcolor=(128, 128, 128))


EDITS: dict[str, Callable[[Image], Image]] = {
    "cropped": _cropped,
    "small": _small,
    "mirrored": _mirrored,
    "darker": _darker,
    "grey": _grey,
    "rotated": _rotated,
}
"""Each by its name, which groups the figures."""


def sampled(documents: Iterator[Any], sample: int) -> list[str]:
    """Ids of documents, drawn at random; the same ones each time."""
    ids = [each.document_id for each in islice(documents, _CONSIDERED)]
    if not ids:
        raise Failure("the collection has no documents that could be edited", ExitCode.USAGE)
    return random.Random(_SEED).sample(ids, min(sample, len(ids)))


def edited_copies(
    ids: Sequence[str], image: Callable[[str], bytes | None]
) -> tuple[list[Judgment], int]:
    """(a query for each document that has a picture, how many have none). The edits take turns.

    `image`: the picture of a document; None if it cannot be had. Raises Failure without Pillow, and
    if no document has a picture.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise missing_extra(error.name or str(error)) from None
    made: list[Judgment] = []
    names = cycle(EDITS)
    for id in ids:
        try:
            content = image(id)
            if content is None:
                continue
            picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        except (OSError, ValueError):
            continue
        picture.thumbnail((_SIDE, _SIDE))
        name = next(names)
        query = {"type": "image", "value": _encoded(EDITS[name](picture))}
        made.append(Judgment(query, {id: 1.0}, edit=name, label=f"{id}, {name}"))
    if not made:
        raise Failure("no document of the sample has a picture that can be read")
    return made, len(ids) - len(made)


def _encoded(picture: Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
