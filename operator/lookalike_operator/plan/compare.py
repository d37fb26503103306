"""What an object as rendered asks for and a live object does not have.

The API server fills in defaults and normalises quantities, so this is not equality: everything that
is rendered must be there, and more may be. Quantities are compared by value. Maps that select pods
or nodes are compared as a whole, because an additional key selects something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lookalike_crds.quantities import amount
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.pod_template import MERGE_KEYS

_AMOUNTS = frozenset({"requests", "limits", "sizeLimit", "storage"})
_SELECTING = frozenset(
    {"selector", "matchLabels", "nodeSelector", "podSelector", "namespaceSelector"}
)
_IDENTITIES = {**MERGE_KEYS, "ownerReferences": "uid"}


class Difference(NamedTuple):
    path: str
    """Such as `spec.template.spec.containers[serving].image`."""
    live: Any
    wanted: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.live)} -> {_shown(self.wanted)}"


def differences(wanted: Manifest, live: Manifest) -> list[Difference]:
    """Empty if applying `wanted` would change nothing that is said in it."""
    return list(_compare(wanted, live, "", amounts=False))


def _compare(wanted: Any, live: Any, path: str, *, amounts: bool) -> Iterator[Difference]:
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            if wanted or live is not None:
                yield Difference(path, live, wanted)
            return
        for key, value in wanted.items():
            at = f"{path}.{key}" if path else str(key)
            inner = amounts or key in _AMOUNTS
            found = live.get(key)
            if found == value:
                # Most of an object is as rendered: that is seen without walking through it.
                continue
            if key in _SELECTING and isinstance(value, Mapping) and isinstance(found, Mapping):
                for more in sorted(found.keys() - value.keys()):
                    yield Difference(f"{at}.{more}", found[more], None)
            if found is None and _is_empty(value):
                # A selector that selects everything is not one that is not there.
                if key in _SELECTING and value == {}:
                    yield Difference(at, None, value)
                continue
            identity = _IDENTITIES.get(key)
            if identity and isinstance(found, Sequence) and _all_have(value, identity):
                yield from _compare_items(value, found, at, identity)
            else:
                yield from _compare(value, found, at, amounts=inner)
    elif _is_list(wanted):
        if not _is_list(live) or len(live) != len(wanted):
            yield Difference(path, live, wanted)
            return
        for i, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _compare(one, other, f"{path}[{i}]", amounts=amounts)
    elif wanted != live and not (amounts and _same_amount(wanted, live)):
        yield Difference(path, live, wanted)


def _compare_items(
    wanted: Sequence[Any], live: Sequence[Any], path: str, identity: str
) -> Iterator[Difference]:
    """Lists that merge by an identity: others may have added items."""
    found = {item.get(identity): item for item in live if isinstance(item, Mapping)}
    for item in wanted:
        name = item.get(identity)
        at = f"{path}[{name}]"
        if name not in found:
            yield Difference(at, None, item)
        else:
            yield from _compare(item, found[name], at, amounts=False)


def _all_have(items: Any, identity: str) -> bool:
    """Lists of one name are not of one kind: a Service's `ports` have no containerPort."""
    return _is_list(items) and all(isinstance(i, Mapping) and identity in i for i in items)


def _same_amount(one: Any, other: Any) -> bool:
    first = amount(one)
    return first is not None and first == amount(other)


def _is_empty(value: Any) -> bool:
    return value is None or value in ({}, [], "", False)


def _is_list(value: Any) -> bool:
    # Concrete types: an abstract one takes ten times as long to ask for.
    return isinstance(value, (list, tuple))


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, Mapping) or _is_list(value):
        return "…"
    if isinstance(value, bool):
        return str(value).lower()  # as YAML writes it
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
