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
from collections.abc import Iterable
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.filters.operators import FLAGS, operator_named
from lookalike_serving.index.filters.tree import And, Filter, Not, Or, predicates
from lookalike_serving.index.filters.values import MAX_KEY, WrongFilter, check_key, shown
from lookalike_serving.problems import Wrong, invalid

MAX_DEPTH = 16
MAX_CONDITIONS = 256

COMBINATORS = ("AND", "OR", "NOT")
_CONDITION_KEYS = {"key", "field", "operator", "value"}
_EXAMPLE = '{"key": "status", "operator": "eq", "value": "active"}'


def parse_filters(
    json_value: Any, fields: Iterable[FieldSpec] = (), *, path: str = "filters"
) -> Filter | None:
    """The filter tree of a request's `filters`; None if it holds no condition.

    `fields` are those of all collections that the filters are for: some values have no meaning
    for some types. Raises Problem 422 that lists every wrong part.
    """
    if json_value is None or json_value == {}:
        return None
    parser = _Parser(fields)
    tree = parser.parse(json_value, path, 1)
    if parser.errors:
        raise invalid(parser.errors)
    return tree


class _Parser:
    """Collects errors on the way down; what is wrong is left out of the tree."""

    def __init__(self, fields: Iterable[FieldSpec]) -> None:
        self.errors: list[Wrong] = []
        self._types: dict[str, set[FieldType]] = {}
        for field in fields:
            self._types.setdefault(field.name, set()).add(field.type)
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
            self.wrong(path, f"{shown(node)} is not a filter object: {hint}")
            return None
        if not node:
            self.wrong(path, f"is empty: omit it, or write {_EXAMPLE}")
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
        if combinator not in COMBINATORS:
            return self._shorthand(name, value, path)
        parts = value if isinstance(value, list) else [value]
        if not parts:
            self.wrong(f"{path}.{name}", "is an empty list: omit it, or list conditions")
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
            self.wrong(f"{path}.key", f"{shown(key)} is not the name of a metadata key")
            return None
        operator = node.get("operator", "eq")
        is_flag = isinstance(operator, str) and operator.lower() in FLAGS
        if "value" not in node and not is_flag:
            self.wrong(f"{path}.value", "is missing: write the value to compare the key with")
            return None
        return self._checked(key, operator, node.get("value", True), path, f"{path}.value")

    def _shorthand(self, key: str, value: Any, path: str) -> Filter | None:
        at = f"{path}.{key[:MAX_KEY]}"
        if isinstance(value, list):
            return self._checked(key, "in", value, at, at)
        if not isinstance(value, dict):
            if value is None:
                return self._checked(key, "is_null", True, at, at)
            return self._checked(key, "eq", value, at, at)
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
        at = path
        try:
            check_key(key)
            operator = operator_named(operator_name)
            at = value_path
            tree = operator.read(key, value)
        except WrongFilter as wrong:
            self.wrong(at, str(wrong))
            return None
        for predicate in predicates(tree):
            for field_type in self._types.get(predicate.key, ()):
                if message := predicate.misfit(field_type):
                    self.wrong(value_path, message)
        return tree


def _is_condition(node: dict[str, Any]) -> bool:
    """Whether an object is the long spelling, and not the shorthand for a field named `key`."""
    return "operator" in node or isinstance(node.get("key", node.get("field")), str)
