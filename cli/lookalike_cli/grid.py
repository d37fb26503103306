"""`--save-grid`: the results' pictures in one image, each with its score and id beneath."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_cli.failure import Failure, missing_extra

if TYPE_CHECKING:
    from lookalike import Lookalike, SearchResult, SearchResults

_CELL = 224
_LABEL = 40
_GAP = 12
_MOST = 100
_INK, _PAPER, _FAINT = "#1d1d1f", "#ffffff", "#8a8a8e"


def save_results(client: Lookalike, results: SearchResults, path: Path) -> None:
    """Draw at most the first hundred results. Raises Failure if Pillow is missing."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise missing_extra(error.name or str(error)) from None
    if path.suffix.lower() not in Image.registered_extensions():
        raise Failure(f"--save-grid {path}: name an image file, such as grid.png")
    shown = results.results[:_MOST]
    with ThreadPoolExecutor(8) as threads:
        pictures = list(threads.map(lambda result: _picture(client, result), shown))
    columns = max(1, min(5, math.ceil(math.sqrt(len(shown)))))
    rows = max(1, math.ceil(len(shown) / columns))
    size = (columns * (_CELL + _GAP) + _GAP, rows * (_CELL + _LABEL + _GAP) + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for place, (result, picture) in enumerate(zip(shown, pictures, strict=True)):
        left = _GAP + place % columns * (_CELL + _GAP)
        top = _GAP + place // columns * (_CELL + _LABEL + _GAP)
        if picture is None:
            draw.rectangle((left, top, left + _CELL, top + _CELL), outline=_FAINT)
            draw.text((left + 8, top + 8), "no picture", _FAINT, font)
        else:
            within = (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2)
            sheet.paste(picture, within)
        draw.text((left, top + _CELL + 4), f"{place + 1}.  {result.score:.3f}", _INK, font)
        label = _fitted(draw, result.document_id, font)
        draw.text((left, top + _CELL + 21), label, _FAINT, font)
    sheet.save(path)


def _picture(client: Lookalike, result: SearchResult) -> Any:
    """A result's thumbnail, at most a cell large; None if there is none to show."""
    from PIL import Image

    from lookalike.errors import LookalikeError

    if result.collection is None:
        return None
    try:
        content = client.documents.thumbnail(result.collection, result.document_id, size=_CELL)
        picture = Image.open(io.BytesIO(content)).convert("RGB")
    except (LookalikeError, OSError):
        return None
    picture.thumbnail((_CELL, _CELL))
    return picture


def _fitted(draw: Any, text: str, font: Any) -> str:
    """The end of a text that fits a cell: ids differ at their end."""
    if draw.textlength(text, font) <= _CELL:
        return text
    while text and draw.textlength(f"…{text}", font) > _CELL:
        text = text[1:]
    return f"…{text}"
