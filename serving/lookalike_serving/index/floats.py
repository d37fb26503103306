"""Floats that are returned from an index exactly as they were stored.

Qdrant's engines keep payloads as JSON text, and read numbers with a fast method that is off by one
unit in the last place for about one in six numbers with 16 or 17 digits – and off again whenever a
segment is rewritten. So a document is stored with the nearest number that this method does not
change, which filters compare with. The original number is stored in Lookalike's own part of the
payload.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

_LARGEST_POWER = 308
_POWERS = [float(f"1e{n}") for n in range(_LARGEST_POWER + 1)]

Kept = list[list[Any]]
"""[[path, number as text], …]: what differs between a document and its stored form."""


def settled(number: float) -> float:
    """The nearest number that engines give back unchanged: itself, or a few units away."""
    up = down = number
    while math.isfinite(up) or math.isfinite(down):
        if _reread(up) == up:
            return up
        if _reread(down) == down:
            return down
        up, down = math.nextafter(up, math.inf), math.nextafter(down, -math.inf)
    return number


def _reread(number: float) -> float:
    """What serde_json reads (without its feature float_roundtrip) where `number` was written."""
    if not math.isfinite(number):
        return math.nan
    mantissa, _, written = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    read, exponent = float(int(whole + fraction)), int(written or 0) - len(fraction)
    if exponent < -_LARGEST_POWER:
        read, exponent = read / _POWERS[_LARGEST_POWER], exponent + _LARGEST_POWER
    read = read * _POWERS[exponent] if exponent >= 0 else read / _POWERS[-exponent]
    return math.copysign(read, number)


def settle(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], Kept]:
    """(metadata as it is stored, what `restore` needs to give it back)."""
    kept: Kept = []
    return {key: _settle(value, [key], kept) for key, value in metadata.items()}, kept


def _settle(value: Any, path: list[Any], kept: Kept) -> Any:
    if isinstance(value, float):
        stored = settled(value)
        if stored != value:
            kept.append([path, repr(value)])
        return stored
    if isinstance(value, Mapping):
        return {key: _settle(item, [*path, key], kept) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_settle(item, [*path, place], kept) for place, item in enumerate(value)]
    return value


def restore(stored: Mapping[str, Any], kept: Kept) -> dict[str, Any]:
    """The metadata as it was given. Numbers that another program changed since stay as they are."""
    metadata = dict(stored)
    for path, text in kept:
        number = float(text)
        for holder, step in _way(metadata, path):
            if holder[step] == settled(number):
                holder[step] = number
    return metadata


def _way(metadata: dict[str, Any], path: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yields the object that has the value at `path`, and its key, if it is there."""
    holder: Any = metadata
    for step in path[:-1]:
        holder = _inner(holder, step)
    if _inner(holder, path[-1]) is not None:
        yield holder, path[-1]


def _inner(holder: Any, step: Any) -> Any:
    if isinstance(holder, dict):
        return holder.get(step)
    if isinstance(holder, list) and isinstance(step, int) and step < len(holder):
        return holder[step]
    return None
