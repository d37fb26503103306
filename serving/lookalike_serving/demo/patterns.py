"""Surface patterns, as functions of position: how much of the contrast colour is where.

Each takes coordinates in the product's units (its box is 100 x 100) and the size of one pixel in
those units, and gives (h, w) float32 in 0..1, edges softened over about a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Surface:
    u: Field
    v: Field
    pixel: float
    cell: float
    """Period of the pattern, units."""
    seed: int

    def inside(self, signed: Field) -> Field:
        """1 where `signed` (units, positive inside) is inside, softened over a pixel."""
        softened: Field = np.clip(signed / self.pixel + 0.5, 0, 1)
        return softened


def _cells(s: Surface, *, offset: bool) -> tuple[Field, Field, Field, Field]:
    """Position within its cell (centred, units) and the cell's column and row."""
    row = np.floor(s.v / s.cell)
    shift = (row % 2) * (s.cell / 2) if offset else np.float32(0)
    column = np.floor((s.u + shift) / s.cell)
    x = s.u + shift - (column + 0.5) * s.cell
    y = s.v - (row + 0.5) * s.cell
    return x, y, column, row


def plain(s: Surface) -> Field:
    return np.zeros_like(s.u)


def striped(s: Surface) -> Field:
    return s.inside(np.abs((s.v % s.cell) - s.cell / 2) - s.cell / 4)


def dotted(s: Surface) -> Field:
    x, y, _, _ = _cells(s, offset=True)
    return s.inside(s.cell * 0.3 - np.hypot(x, y))


def checked(s: Surface) -> Field:
    half = s.cell / 2
    a = s.inside(np.abs((s.u % s.cell) - half) - half / 2)
    b = s.inside(np.abs((s.v % s.cell) - half) - half / 2)
    return a + b - 2 * a * b


def zigzag(s: Surface) -> Field:
    wave = np.abs((s.u % s.cell) - s.cell / 2)
    return s.inside(np.abs(((s.v + wave) % s.cell) - s.cell / 2) - s.cell / 4)


def wavy(s: Surface) -> Field:
    wave = np.sin(s.u * np.float32(2 * np.pi / (s.cell * 1.5))) * (s.cell * 0.27)
    return s.inside(s.cell * 0.16 - np.abs(((s.v + wave) % s.cell) - s.cell / 2))


def diamond(s: Surface) -> Field:
    x, y, _, _ = _cells(s, offset=False)
    return s.inside(s.cell * 0.46 - np.abs(x) * 1.3 - np.abs(y) * 0.85)


def floral(s: Surface) -> Field:
    x, y, _, _ = _cells(s, offset=True)
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    petals = s.inside(s.cell * (0.3 + 0.13 * np.cos(5 * angle)) - r)
    return petals * (1 - 0.85 * s.inside(s.cell * 0.11 - r))


def starry(s: Surface) -> Field:
    x, y, column, row = _cells(s, offset=True)
    turn = (column * 1.7 + row * 2.3) % 1.3
    r, angle = np.hypot(x, y), np.arctan2(y, x) + turn
    fold = np.abs(((angle * np.float32(5 / (2 * np.pi))) % 1) - 0.5) * 2
    return s.inside(s.cell * (0.15 + 0.3 * fold**1.6) - r)


def speckled(s: Surface) -> Field:
    small = Surface(s.u, s.v, s.pixel, s.cell * 0.42, s.seed)
    x, y, column, row = _cells(small, offset=False)
    noise = np.sin(column * 127.1 + row * 311.7 + s.seed % 97) * 43758.55
    noise -= np.floor(noise)
    dx, dy = (noise - 0.5) * small.cell * 0.7, ((noise * 7.3) % 1 - 0.5) * small.cell * 0.7
    radius = np.where(noise > 0.35, small.cell * (0.14 + 0.2 * ((noise * 3.7) % 1)), -9)
    return s.inside((radius - np.hypot(x - dx, y - dy)).astype(np.float32))


PAINT: dict[str, Callable[[Surface], Field]] = {
    "plain": plain,
    "striped": striped,
    "dotted": dotted,
    "checked": checked,
    "zigzag": zigzag,
    "floral": floral,
    "starry": starry,
    "wavy": wavy,
    "diamond": diamond,
    "speckled": speckled,
}
