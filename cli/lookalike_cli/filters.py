"""`--filter` texts to the API's filters.

    status=active   price<20   price>=9.5   status!=sold   title~striped   active=true   sold=null
    "Shot On>=2024-05-01"   camera.make=Leica
    '{"OR": [{"key": "kind", "operator": "eq", "value": "mug"}, …]}'

A value that reads as JSON is that JSON – 20, true, null, "20" (with its quotes: the text) – and any
other is text as it stands. Several filters must all hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from lookalike_cli.failure import ExitCode, Failure

_OPERATORS = {
    "=": "eq",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
    "~": "text",
}
_CONDITION = re.compile(
    r"""\s*([^\s_=!<>~{"'\[\]\\][^=!<>~"'\[\]\\]*?)\s*(==|!=|<=|>=|=|<|>|~)\s*(.*?)\s*""", re.DOTALL
)


def parse_filters(texts: Sequence[str]) -> dict[str, Any] | None:
    """The `filters` of a request; None without any. Raises Failure that names the wrong text."""
    parsed = [_parse(text) for text in texts]
    if len(parsed) > 1:
        return {"AND": parsed}
    return parsed[0] if parsed else None


def _parse(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            document: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise Failure(f"--filter {text!r} is not JSON: {error}", ExitCode.USAGE) from None
        return document
    found = _CONDITION.fullmatch(text)
    if found is None or not found[3]:
        raise Failure(
            f"--filter {text!r} is not a condition: write status=active, price<20, "
            "title~striped, or JSON",
            ExitCode.USAGE,
        )
    key, sign, value = found.groups()
    operator = _OPERATORS[sign]
    return {
        "key": key,
        "operator": operator,
        "value": value.strip('"') if operator == "text" else _value(value),
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_a_number)
    except ValueError:
        return text


def _not_a_number(name: str) -> Any:
    raise ValueError(name)  # `NaN` and `Infinity` are words here
