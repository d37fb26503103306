"""A document with mistakes -> as much of a resource as can be made of it, to check the rules on.

Types are checked before rules: a document with a wrong type is no resource, and its rules could
not be evaluated. So that a person still hears of everything at once, what is wrong is taken out
until the rest is a resource. A rule counts only where nothing it looks at was taken out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from lookalike_crds.explain import real_location
from lookalike_crds.resources import Resource
from lookalike_crds.rules import Broken, broken_rules

_ROUNDS = 10
"""Taking something out may leave its parent incomplete, which goes next: specs are no deeper."""


def mended(model: type[Resource], document: dict[str, Any]) -> Mended:
    """What is left of `document`, which is not changed, once its mistakes are taken out."""
    mending = Mended(document)
    for _ in range(_ROUNDS):
        try:
            mending.resource = model.model_validate(mending.document)
            break
        except ValidationError as error:
            places = [
                mending.place(each["type"], each["loc"]) for each in error.errors(include_url=False)
            ]
            if not mending.take_out(places):
                break
    return mending


class Mended:
    """A copy of a document, its mistakes taken out; the resource it makes, if it makes one."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = copy.deepcopy(document)
        self.resource: Resource | None = None
        self._taken: set[tuple[str | int, ...]] = set()
        # Where each entry of a shortened list stood at first, by the path of the list.
        self._stood: dict[tuple[str | int, ...], list[int]] = {}

    def broken_rules(self) -> Iterator[Broken]:
        """Rules the rest breaks, with paths as in the document that was given."""
        if self.resource is None:
            return
        parents = {taken[:-1] for taken in self._taken}
        for rule in broken_rules(self.resource):
            steps = self._given(_steps(rule.path))
            if steps not in parents:
                yield Broken(_text(steps), rule.message)

    def place(self, kind: str, location: tuple[Any, ...]) -> tuple[str | int, ...]:
        """What has to go for an error to go; where something is missing, what it is missing in."""
        steps = tuple(real_location(location, self.document, missing=kind == "missing"))
        return steps[:-1] if kind == "missing" else steps

    def take_out(self, places: list[tuple[str | int, ...]]) -> bool:
        """Whether anything could be taken out, short of all of it."""
        # The last entries of a list first: those before keep their positions.
        for place in sorted(set(places), key=_order, reverse=True):
            if len(place) < 2:
                return False
            if place[0] == "metadata":
                self.document["metadata"] = {"name": "unnamed"}
                continue
            self._taken.add(self._given(place))
            holder: Any = self.document
            for step in place[:-1]:
                holder = holder[step]
            last = place[-1]
            if isinstance(holder, list) and isinstance(last, int):
                at = self._given(place[:-1])
                self._stood.setdefault(at, list(range(len(holder)))).pop(last)
                del holder[last]
            else:
                holder.pop(last, None)
        return bool(places)

    def _given(self, steps: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """The place in the document that was given."""
        given: tuple[str | int, ...] = ()
        for step in steps:
            stood = self._stood.get(given)
            given += (stood[step] if stood and isinstance(step, int) else step,)
        return given


def _order(place: tuple[str | int, ...]) -> tuple[tuple[str, int], ...]:
    return tuple(("", step) if isinstance(step, int) else (step, 0) for step in place)


def _steps(path: str) -> tuple[str | int, ...]:
    """`spec.sources[0].volume` -> ("spec", "sources", 0, "volume")"""
    return tuple(
        int(index) if index else name for name, index in re.findall(r"(\w+)|\[(\d+)\]", path)
    )


def _text(steps: tuple[str | int, ...]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")
