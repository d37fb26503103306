"""Listings: `{"items": […], "next_cursor": …}`, asked for page by page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lookalike._exchange import Answer, Call, Operation, Request, call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A listing, and how one of its items is read."""

    path: str
    params: Mapping[str, str]
    item: Callable[[Any, Answer], T]

    def page(self, cursor: str | None) -> Operation[Page[T]]:
        params = {**self.params, **({"cursor": cursor} if cursor is not None else {})}
        return call(Call(Request("GET", self.path, params=params), self._parse))

    def _parse(self, answer: Answer) -> Page[T]:
        document = answer.json()
        items = tuple(self.item(each, answer) for each in document["items"])
        return Page(items, document.get("next_cursor"))
