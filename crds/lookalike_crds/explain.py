"""pydantic's errors in words a stranger understands: where in the YAML, what is there, the remedy.

pydantic speaks of tuples, inputs and members of unions; who wrote the YAML knows lists, values and
keys. Each error becomes (path, value, message).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from lookalike_crds import cron, names
from lookalike_crds.amounts import AMOUNT

_NAMES = {rule.pattern: rule.words for rule in names.ALL}
_REMEDIES = {
    "too_short": "has {actual_length} entries: write at least {min_length}",
    "too_long": "has {actual_length} entries: at most {max_length} are possible",
    "string_too_short": "is too short: write at least {min_length} characters",
    "string_too_long": "is too long: at most {max_length} characters are possible",
    "less_than": "write a number below {lt}",
    "less_than_equal": "write a number up to {le}",
    "greater_than": "write a number above {gt}",
    "greater_than_equal": "write a number from {ge} up",
    "int_parsing": "write a whole number",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "float_parsing": "write a number",
    "float_type": "write a number",
    "finite_number": "write a finite number",
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "string_type": "write text; put quotes around what looks like a number or a boolean",
    "model_type": "write a mapping: keys with values, indented below it",
    "model_attributes_type": "write a mapping: keys with values, indented below it",
    "dict_type": "write a mapping: keys with values, indented below it",
    "tuple_type": "write a list: one entry a line, each with a dash before it",
    "list_type": "write a list: one entry a line, each with a dash before it",
}


def explain(error: Any, model: type[BaseModel], document: dict[str, Any]) -> tuple[str, Any, str]:
    """(path, value, message) of one of pydantic's errors, with a remedy."""
    kind = error["type"]
    location = real_location(error["loc"], document, missing=kind == "missing")
    path = path_text(location)
    value = error.get("input")
    if kind == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        hint = did_you_mean(str(location[-1]), known)
        possible = f" (possible here: {', '.join(known)})" if known and not hint else ""
        return path, None, f"is not known{hint}{possible}"
    if kind == "missing":
        return path, None, "is required: add it"
    if isinstance(value, dict | list):
        value = None
    context = error.get("ctx", {})
    if kind in {"enum", "literal_error"}:
        options = str(context.get("expected", "")).replace("'", "").split(" or ")
        flat = [o.strip() for part in options for o in part.split(",")]
        return path, value, f"write one of {', '.join(flat)}{did_you_mean(str(value), flat)}"
    if kind == "string_pattern_mismatch" and context.get("pattern") in _NAMES:
        return path, value, _NAMES[context["pattern"]]
    if kind == "string_pattern_mismatch" and context.get("pattern") == AMOUNT:
        return path, value, "write an amount, such as 500m or 2Gi"
    if kind == "string_pattern_mismatch" and context.get("pattern") == cron.PATTERN:
        return path, value, "write a cron expression of five fields, such as 0 3 * * *, or @daily"
    if kind == "value_error":
        return path, value, str(error["msg"]).removeprefix("Value error, ")
    if kind in _REMEDIES:
        return path, value, _REMEDIES[kind].format(**context)
    return path, value, str(error["msg"])


def real_location(
    location: Sequence[Any], document: Any, *, missing: bool = False
) -> list[str | int]:
    """The steps that are in the document: pydantic's paths also name the members of unions.

    `missing`: the last step is a key that the document should have.
    """
    real: list[str | int] = []
    here: Any = document
    for i, step in enumerate(location):
        last = i == len(location) - 1
        if isinstance(here, dict) and (step in here or (last and missing)):
            real.append(step)
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            real.append(step)
            here = here[step]
        elif not real:
            real.append(step)
    return real


def path_text(location: list[str | int]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else str(step))
    return text


def _keys_at(model: type[BaseModel], location: list[str | int]) -> list[str]:
    """The keys (as written in YAML) that are possible at a place, in order."""
    here: Any = model
    for step in location:
        if isinstance(step, int):
            continue
        fields = getattr(here, "model_fields", {})
        field = next((f for n, f in fields.items() if (f.alias or n) == step), None)
        here = None if field is None else _model_in(field.annotation)
        if here is None:
            return []
    return [f.alias or n for n, f in here.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def did_you_mean(value: str, options: Iterable[str]) -> str:
    close = difflib.get_close_matches(value, list(options), 1, 0.6)
    if not close:
        lowered = {o.lower(): o for o in options}
        close = [lowered[value.lower()]] if value.lower() in lowered else []
    return f": did you mean {close[0]}?" if close and close[0] != value else ""
