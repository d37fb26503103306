"""Whether a `podTemplate` can be a pod template: names and types of its fields, as Kubernetes has.

`pod_fields.json` is made by `make generate` from the official client's models. A newer cluster may
know fields that it lacks, so an unknown name is refused only where it is close to a known one: a
typo. Whatever else is wrong the API server says, in `lookalike plan` and in the status.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lookalike_crds.amounts import is_amount

_FILE = Path(__file__).with_name("pod_fields.json")
TEMPLATE = "V1PodTemplateSpec"
_CLOSE = 0.7


class Wrong(NamedTuple):
    path: str
    message: str


def wrong_fields(template: Any, path: str) -> Iterator[Wrong]:
    """What no cluster would take, with the path of each."""
    yield from _value(template, TEMPLATE, path)


@functools.cache
def _types() -> Mapping[str, Mapping[str, str]]:
    """Type -> field -> the field's type."""
    types: Mapping[str, Mapping[str, str]] = json.loads(_FILE.read_text("utf-8"))
    return types


def _value(value: Any, type: str, path: str) -> Iterator[Wrong]:
    if value is None:
        # Takes away what the operator sets.
        return
    if type.startswith("List["):
        if not isinstance(value, list | tuple):
            yield Wrong(path, "write a list: one entry a line, each with a dash before it")
            return
        for i, each in enumerate(value):
            yield from _value(each, type[5:-1], f"{path}[{i}]")
    elif type.startswith("Dict[") or type in _types():
        if not isinstance(value, Mapping):
            yield Wrong(path, "write a mapping: keys with values, indented below it")
            return
        yield from (_fields(value, type, path) if type in _types() else _entries(value, type, path))
    elif type in _SCALARS and not _is(value, type):
        yield Wrong(path, f"is {value!r}: {_SCALARS[type]}")


def _fields(value: Mapping[str, Any], type: str, path: str) -> Iterator[Wrong]:
    known = _types()[type]
    for name, each in value.items():
        at = f"{path}.{name}"
        if name in known:
            yield from _value(each, known[name], at)
        elif name != "$patch" and (close := _close_to(name, known)) is not None:
            yield Wrong(at, f"is not known: did you mean {close}?")


def _entries(value: Mapping[str, Any], type: str, path: str) -> Iterator[Wrong]:
    amounts = path.rpartition(".")[2] in ("limits", "requests", "overhead")
    inner = type[5:-1].split(",", 1)[1].strip()
    for name, each in value.items():
        at = f"{path}.{name}"
        if amounts and each is not None:
            if isinstance(each, bool) or not is_amount(str(each)):
                yield Wrong(at, f"is {each!r}: write an amount, such as 500m or 2Gi")
        else:
            yield from _value(each, inner, at)


_SCALARS = {
    "str": "write text; put quotes around what looks like a number or a boolean",
    "int": "write a whole number",
    "bool": "write true or false",
}


def _is(value: Any, type: str) -> bool:
    if type == "bool":
        return isinstance(value, bool)
    if type == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)


def _close_to(name: str, known: Mapping[str, str]) -> str | None:
    lowered = {each.lower(): each for each in known}
    if name.lower() in lowered:
        return lowered[name.lower()]
    close = difflib.get_close_matches(name, known, 1, _CLOSE)
    return close[0] if close else None
