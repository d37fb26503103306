"""Vector outlines: the absolute path commands of SVG, flattened to points."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
"""(n, 2) x, y in the shape's units."""

_TOKEN = re.compile(r"[MLHVQCZ]|-?\d+(?:\.\d+)?")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "Q": 4, "C": 6, "Z": 0}
_STEPS = 10


@cache
def flatten(path: str) -> tuple[Points, ...]:
    """The outlines of `path`, each curve as ten pieces. Raises ValueError on other commands."""
    outlines: list[list[tuple[float, float]]] = []
    x = y = 0.0
    tokens = _TOKEN.findall(path)
    at = 0
    command = "M"
    while at < len(tokens):
        if tokens[at] in _ARGUMENTS:
            command = tokens[at]
            at += 1
        count = _ARGUMENTS[command]
        numbers = [float(t) for t in tokens[at : at + count]]
        if len(numbers) != count:
            raise ValueError(f"path ends within {command}: {path!r}")
        at += count
        if command == "M":
            outlines.append([])
        if command == "Z":
            outlines[-1].append(outlines[-1][0])
            continue
        start = (x, y)
        if command == "H":
            x = numbers[0]
        elif command == "V":
            y = numbers[0]
        else:
            x, y = numbers[-2:]
        if command in "QC":
            control = [start, *zip(numbers[::2], numbers[1::2], strict=True)]
            outlines[-1].extend(_curve(np.array(control)))
        else:
            outlines[-1].append((x, y))
    return tuple(np.array(o, np.float32) for o in outlines)


def _curve(control: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Points of a Bézier curve after its start (de Casteljau)."""
    t = np.linspace(0, 1, _STEPS + 1)[1:, None]
    level = [np.repeat(c[None], _STEPS, 0) for c in control]
    while len(level) > 1:
        level = [a + (b - a) * t for a, b in pairwise(level)]
    return [(float(px), float(py)) for px, py in level[0]]
