"""Which keys and values a filter may have: the checks, and their description for the API."""

from __future__ import annotations

import json
import math
import re
from typing import Any

Scalar = str | int | float | bool
Shape = dict[str, Any]
"""A JSON schema."""

MAX_VALUES = 1000
MAX_TEXT = 4096
MAX_KEY = 256
MAX_EXACT_INTEGER = 2**53 - 1
"""Integers up to here have a 64-bit float of their own (IEEE 754)."""
INTEGERS = range(-(2**63), 2**63)
_NAME = r"""[^.\[\]"'\\\x00-\x1f\x7f-\x9f]+"""
KEY_PATTERN = rf"^{_NAME}(\.{_NAME})*$"
"""Of a metadata key, or a path of keys, that an engine can look up."""

KEY: Shape = {"type": "string", "maxLength": MAX_KEY, "pattern": KEY_PATTERN}
TEXT: Shape = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
NUMBER: Shape = {
    "type": "number",
    "description": "If it is written without a fraction and an exponent, at most 64 bits.",
}
SCALAR: Shape = {
    "anyOf": [{"type": "string", "maxLength": MAX_TEXT}, NUMBER, {"type": "boolean"}],
}


class WrongFilter(ValueError):
    """A key or a value that no filter can have. The message names it and the remedy."""


def check_key(key: str) -> None:
    """Raises WrongFilter."""
    if not key or len(key) > MAX_KEY:
        raise WrongFilter(f"{shown(key)} is not a metadata key: 1 to {MAX_KEY} characters")
    if not re.fullmatch(KEY_PATTERN[1:-1], key) or not _is_unicode(key):
        raise WrongFilter(
            f"{shown(key)} is not a metadata key: names joined by dots, no brackets, no quotes, "
            "no backslashes, no control characters"
        )


def is_number(value: Any) -> bool:
    """Finite, and an integer only if it fits 64 signed bits."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value in INTEGERS
    return isinstance(value, float) and math.isfinite(value)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and _is_unicode(value)


def is_scalar(value: Any) -> bool:
    return isinstance(value, bool) or is_text(value) or is_number(value)


def is_large_whole(number: float) -> bool:
    """A whole number so large that not every integer beside it has a float of its own."""
    return abs(number) > MAX_EXACT_INTEGER and float(number).is_integer()


def shown(value: Any) -> str:
    """A value as an error names it: JSON, not too long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return f"a deeply nested {type(value).__name__}"
    text = text if len(text) <= 60 else text[:57] + "..."
    return text.encode(errors="backslashreplace").decode()


def _is_unicode(text: str) -> bool:
    """Whether it holds no half of a surrogate pair, which no engine takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
