"""Kubernetes quantities (`500m`, `2Gi`) as numbers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_PATTERN = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)([a-zA-Z]*|[eE][+-]?[0-9]+)")
_UNITS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{unit: Decimal(1000) ** i for i, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** i for i, unit in enumerate("KMGTPE", 1)},
}


def amount(text: Any) -> Decimal | None:
    """The number that a quantity stands for; None if it is none."""
    found = _PATTERN.fullmatch(str(text).strip())
    if found is None:
        return None
    number, unit = found.groups()
    if unit in _UNITS:
        return Decimal(number) * _UNITS[unit]
    if unit[0] in "eE" and len(unit) > 1:
        return Decimal(number) * Decimal(10) ** int(unit[1:])
    return None
