"""Request JSON -> filter tree.

Three spellings, freely nested:

    {"AND": [{"key": "status", "operator": "eq", "value": "active"}, {"OR": [...]}]}
    {"field": "price", "operator": "lt", "value": 20}
    {"status": "active", "price": {"gte": 10, "lt": 20}}

A list value in the shorthand means "any of these". Every error names the path as the caller wrote
it, the value and the remedy; all are reported at once. Depth and size are bounded, so that no
request can make the parser or the engine work without end.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from typing import Any

from lookalike_serving.index.filters import And, Condition, Filter, Not, Operator, Or
from lookalike_serving.index.moments import FORMS, moment
from lookalike_serving.problems import Wrong, invalid

MAX_DEPTH = 16
MAX_CONDITIONS = 256
MAX_VALUES = 1000
MAX_TEXT = 4096
MAX_KEY = 256
_NAME = r"""[^.\[\]"'\\\x00-\x1f\x7f-\x9f]+"""
KEY_PATTERN = rf"^{_NAME}(\.{_NAME})*$"
"""Of a metadata key, or a path of keys, that an engine can look up."""


_COMBINATORS = ("AND", "OR", "NOT")
_CONDITION_KEYS = {"key", "field", "operator", "value"}
_RANGES = {Operator.GT, Operator.GTE, Operator.LT, Operator.LTE}
_LISTS = {Operator.IN, Operator.NIN}
_TEXTS = {Operator.STARTS_WITH, Operator.TEXT}
_FLAGS = {Operator.EXISTS, Operator.IS_NULL}
_INTEGERS = range(-(2**63), 2**63)


def parse_filters(json_value: Any, *, path: str = "filters") -> Filter | None:
    """The filter tree of a request's `filters`; None where it holds no condition.

    Raises Problem 422 that lists every wrong part.
    """
    if json_value is None or json_value == {}:
        return None
    parser = _Parser()
    tree = parser.parse(json_value, path, 1)
    if parser.errors:
        raise invalid(parser.errors)
    return tree


class _Parser:
    """Collects errors on the way down; what is wrong is left out of the tree."""

    def __init__(self) -> None:
        self.errors: list[Wrong] = []
        self._conditions = 0

    def wrong(self, path: str, message: str) -> None:
        if len(self.errors) < 50:
            self.errors.append(Wrong(path[:300], message))

    def parse(self, node: Any, path: str, depth: int) -> Filter | None:
        if depth > MAX_DEPTH:
            self.wrong(path, f"is nested deeper than {MAX_DEPTH} levels: flatten it")
            return None
        if not isinstance(node, dict):
            hint = 'write {"AND": [...]} around it' if isinstance(node, list) else _EXAMPLE
            self.wrong(path, f"{_shown(node)} is not a filter object: {hint}")
            return None
        if not node:
            self.wrong(path, f"is empty: leave it out, or write {_EXAMPLE}")
            return None
        if _is_condition(node):
            return self._condition(node, path)
        parts = [
            part
            for name, value in node.items()
            if (part := self._member(name, value, path, depth)) is not None
        ]
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _member(self, name: str, value: Any, path: str, depth: int) -> Filter | None:
        """One entry of an object that is not a condition: a combinator or a shorthand."""
        combinator = name.upper()
        if combinator not in _COMBINATORS:
            return self._shorthand(name, value, path)
        parts = value if isinstance(value, list) else [value]
        if not parts:
            self.wrong(f"{path}.{name}", "is an empty list: leave it out, or list conditions")
            return None
        of = tuple(
            tree
            for i, part in enumerate(parts)
            if (tree := self.parse(part, f"{path}.{name}[{i}]", depth + 1)) is not None
        )
        match combinator:
            case "AND":
                return And(of)
            case "OR":
                return Or(of)
            case _:
                return Not(of)

    def _condition(self, node: dict[str, Any], path: str) -> Filter | None:
        for name in node.keys() - _CONDITION_KEYS:
            close = difflib.get_close_matches(name, _CONDITION_KEYS, 1)
            hint = (
                f"did you mean {close[0]!r}?" if close else "a condition has key, operator, value"
            )
            self.wrong(f"{path}.{name}"[:200], f"is not part of a condition: {hint}")
        if "key" in node and "field" in node:
            self.wrong(f"{path}.field", "means the same as key: write one of them")
        key = node.get("key", node.get("field"))
        if not isinstance(key, str):
            self.wrong(f"{path}.key", f"{_shown(key)} is not the name of a metadata key")
            return None
        operator = node.get("operator", "eq")
        if "value" not in node and operator not in _FLAGS:
            self.wrong(f"{path}.value", "is missing: what should the key be compared with?")
            return None
        return self._checked(key, operator, node.get("value", True), path, f"{path}.value")

    def _shorthand(self, key: str, value: Any, path: str) -> Filter | None:
        at = f"{path}.{key[:MAX_KEY]}"
        if isinstance(value, list):
            return self._checked(key, Operator.IN, value, at, at)
        if not isinstance(value, dict):
            if value is None:
                return self._checked(key, Operator.IS_NULL, True, at, at)
            return self._checked(key, Operator.EQ, value, at, at)
        if not value:
            self.wrong(at, 'is empty: write {"gte": 10, "lt": 20}, or a value')
            return None
        parts = [
            part
            for operator, operand in value.items()
            if (part := self._checked(key, operator, operand, at, f"{at}.{operator[:40]}"))
        ]
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _checked(
        self, key: str, operator_name: Any, value: Any, path: str, value_path: str
    ) -> Filter | None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            if self._conditions == MAX_CONDITIONS + 1:
                self.wrong(path, f"more than {MAX_CONDITIONS} conditions: use in with a list")
            return None
        if message := _wrong_key(key):
            self.wrong(path, message)
            return None
        operator = _operator(operator_name)
        if operator is None:
            self.wrong(path, _unknown_operator(operator_name))
            return None
        if message := _wrong_value(operator, value):
            self.wrong(value_path, message)
            return None
        if value is None and operator in {Operator.EQ, Operator.NE}:
            return Condition(key, Operator.IS_NULL, operator is Operator.EQ)
        return Condition(key, operator, value)


_EXAMPLE = '{"key": "status", "operator": "eq", "value": "active"}'


def _is_condition(node: dict[str, Any]) -> bool:
    """Whether an object is the long spelling, and not the shorthand for a field named `key`."""
    return "operator" in node or isinstance(node.get("key", node.get("field")), str)


def _operator(name: Any) -> Operator | None:
    try:
        return Operator(name.lower()) if isinstance(name, str) else None
    except ValueError:
        return None


def _unknown_operator(name: Any) -> str:
    known = [operator.value for operator in Operator]
    symbols = {"=": "eq", "==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
    text = name.lower() if isinstance(name, str) else ""
    close = symbols.get(text) or next(iter(difflib.get_close_matches(text, known, 1)), None)
    hint = f"did you mean {close!r}? " if close else ""
    return f"unknown operator {_shown(name)}: {hint}Known are {', '.join(known)}"


def _wrong_key(key: str) -> str | None:
    if not key or len(key) > MAX_KEY:
        return f"{_shown(key)} is not a metadata key: 1 to {MAX_KEY} characters"
    if not re.fullmatch(KEY_PATTERN[1:-1], key):
        return (
            f"{_shown(key)} is not a metadata key: names joined by dots, no brackets, no quotes, "
            "no backslashes, no control characters"
        )
    return None


def _wrong_value(operator: Operator, value: Any) -> str | None:
    """What keeps a value from being compared by an operator; None where it can be."""
    if operator in _LISTS:
        if not isinstance(value, list) or not value:
            return f'{operator} takes a list of values, such as ["a", "b"], not {_shown(value)}'
        if len(value) > MAX_VALUES:
            return f"{operator} takes at most {MAX_VALUES} values, not {len(value)}"
        if not all(_is_scalar(each) for each in value):
            return f"{operator} takes strings, numbers and booleans, not {_shown(value)}"
        return None
    if operator in _RANGES:
        if _is_number(value) or (isinstance(value, str) and _is_moment(value)):
            return None
        return f"{operator} takes a number or a time, not {_shown(value)}. A time: {FORMS}"
    if operator in _TEXTS:
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT:
            return None
        return f"{operator} takes a string of 1 to {MAX_TEXT} characters, not {_shown(value)}"
    if operator in _FLAGS:
        return None if isinstance(value, bool) else f"{operator} takes true or false"
    if operator is Operator.GEO_RADIUS:
        return _wrong_radius(value)
    if operator is Operator.GEO_BOX:
        return _wrong_box(value)
    if value is None and operator is not Operator.CONTAINS:
        return None
    if not _is_scalar(value):
        remedy = "use in for several values" if isinstance(value, list) else "compare a nested key"
        return f"{operator} takes a string, a number or a boolean, not {_shown(value)}: {remedy}"
    return None


def _wrong_radius(value: Any) -> str | None:
    if (
        isinstance(value, dict)
        and value.keys() == {"lat", "lon", "radius_m"}
        and _is_place({"lat": value["lat"], "lon": value["lon"]})
        and _is_number(value["radius_m"])
        and 0 < value["radius_m"] <= 20_100_000
    ):
        return None
    return (
        'geo_radius takes {"lat": -90..90, "lon": -180..180, "radius_m": metres}, '
        f"not {_shown(value)}"
    )


def _wrong_box(value: Any) -> str | None:
    if (
        isinstance(value, dict)
        and value.keys() == {"top_left", "bottom_right"}
        and _is_place(value["top_left"])
        and _is_place(value["bottom_right"])
    ):
        if value["top_left"]["lat"] >= value["bottom_right"]["lat"]:
            return None
        return "geo_box has its top_left south of its bottom_right: swap their lat"
    return (
        'geo_box takes {"top_left": {"lat", "lon"}, "bottom_right": {"lat", "lon"}}, '
        f"not {_shown(value)}"
    )


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"lat", "lon"}
        and all(_is_number(each) for each in value.values())
        and abs(value["lat"]) <= 90
        and abs(value["lon"]) <= 180
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value in _INTEGERS
    return isinstance(value, float) and math.isfinite(value)


def _is_moment(text: str) -> bool:
    try:
        moment(text)
    except ValueError:
        return False
    return True


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return isinstance(value, bool) or _is_number(value)


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
