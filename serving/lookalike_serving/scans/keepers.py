"""Which document of a group is kept, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lookalike_serving.scans.record import FieldOrder, Keep, Rule, Scanned


def preferred(documents: Sequence[Scanned], keep: Keep) -> list[int]:
    """Positions in `documents`, the one to keep first. What the rule leaves open is decided by
    size, bytes, age and id, so that the order is always the same."""
    criteria = _criteria(keep)

    def place(at: int) -> tuple[Any, ...]:
        return tuple(key(documents[at]) for key, _ in criteria)

    return sorted(range(len(documents)), key=place)


def why(keeper: Scanned, others: Sequence[Scanned], keep: Keep) -> str:
    """Why the keeper is kept and not one of the others, in words: the first criterion by which it
    differs from each of those that it had not yet won against."""
    left = list(others)
    reasons: list[str] = []
    for key, told in _criteria(keep):
        beaten = [each for each in left if key(each) != key(keeper)]
        if beaten:
            reasons.append(told(keeper))
            left = [each for each in left if key(each) == key(keeper)]
        if not left:
            break
    return ", then ".join(reasons)


_Key = Callable[[Scanned], Any]
_Told = Callable[[Scanned], str]


def _criteria(keep: Keep) -> list[tuple[_Key, _Told]]:
    """(key, smallest first; how a document that comes first by it is told)."""
    largest: list[tuple[_Key, _Told]] = [
        (lambda d: -d.width * d.height, lambda d: f"largest: {d.width} × {d.height} pixels"),
        (lambda d: -d.bytes, lambda d: f"largest file: {d.bytes:,} bytes"),
    ]
    oldest: tuple[_Key, _Told] = (lambda d: d.created_at, lambda d: f"oldest: {d.created_at}")
    last: tuple[_Key, _Told] = (lambda d: d.document_id, lambda d: "first by its id")
    match keep.rule:
        case Rule.LARGEST:
            return [*largest, oldest, last]
        case Rule.OLDEST:
            return [oldest, *largest, last]
        case Rule.NEWEST:
            newest = (lambda d: _reversed(d.created_at), lambda d: f"newest: {d.created_at}")
            return [newest, *largest, last]
        case Rule.FOLDERS:
            told = (lambda d: _folder(d, keep), lambda d: _folder_told(d, keep))
            return [told, *largest, oldest, last]
        case Rule.FIELD:
            return [
                (
                    lambda d: _value(d.value, keep.order),
                    lambda d: f"{keep.order} {keep.field}: {d.value}",
                ),
                *largest,
                oldest,
                last,
            ]


def _reversed(text: str) -> tuple[int, ...]:
    return tuple(-ord(c) for c in text)


def _folder(document: Scanned, keep: Keep) -> int:
    """The place of its folder in the order; after all of them if it is in none."""
    for place, folder in enumerate(keep.folders):
        if document.document_id.startswith(folder):
            return place
    return len(keep.folders)


def _folder_told(document: Scanned, keep: Keep) -> str:
    place = _folder(document, keep)
    return f"in {keep.folders[place]}, which comes before the folders of the others"


def _value(value: Any, order: FieldOrder) -> tuple[Any, ...]:
    """Numbers by size, then texts by their letters, then what has no value."""
    highest = order is FieldOrder.HIGHEST
    if isinstance(value, bool | int | float):
        return (0, -value if highest else value)
    if isinstance(value, str):
        return (1, _reversed(value) if highest else tuple(map(ord, value)))
    return (2, 0)
