"""Turns an operation, written once in `_operations/`, into a method of either client.

    class Retrievers(Resource):           search = blocking(operations.search)
    class AsyncRetrievers(AsyncResource): search = awaiting(operations.search)

Parameters, types and docstring are the operation's; type checkers see them through `ParamSpec`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from lookalike._arguments import fitting
from lookalike._exchange import Operation
from lookalike._operations.pages import Pages
from lookalike._transport import AsyncTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")
B = TypeVar("B")


class Resource:
    """A group of operations of the blocking client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


class AsyncResource:
    """A group of operations of the asyncio client."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport


class _Method(Generic[P, B]):
    def __init__(self, build: Callable[P, B]) -> None:
        self._build = fitting(build.__name__)(build)
        self.__doc__ = build.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._build = fitting(name)(self._build)


class blocking(_Method[P, Operation[T]]):  # noqa: N801 - reads as a decorator
    """An operation as a blocking method."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource, owner: type) -> Callable[P, T]: ...
    def __get__(self, resource: Resource | None, owner: type) -> Callable[P, T] | Self:
        if resource is None:
            return self
        transport = resource._transport

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return transport.run(self._build(*args, **kwargs))

        return method


class awaiting(_Method[P, Operation[T]]):  # noqa: N801 - reads as a decorator
    """An operation as an asyncio method."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self, resource: AsyncResource, owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(
        self, resource: AsyncResource | None, owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]] | Self:
        if resource is None:
            return self
        transport = resource._transport

        @functools.wraps(self._build)
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await transport.run(self._build(*args, **kwargs))

        return method


class iterating(_Method[P, Pages[T]]):  # noqa: N801 - reads as a decorator
    """A listing as a blocking method: an iterator that asks for the next page when it needs it."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource, owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, resource: Resource | None, owner: type) -> Callable[P, Iterator[T]] | Self:
        if resource is None:
            return self
        transport = resource._transport

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            return _items(transport, self._build(*args, **kwargs))

        return method


class iterating_async(_Method[P, Pages[T]]):  # noqa: N801 - reads as a decorator
    """A listing as an asyncio method, for `async for`."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: AsyncResource, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(
        self, resource: AsyncResource | None, owner: type
    ) -> Callable[P, AsyncIterator[T]] | Self:
        if resource is None:
            return self
        transport = resource._transport

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
            return _items_async(transport, self._build(*args, **kwargs))

        return method


def _items(transport: Transport, pages: Pages[T]) -> Iterator[T]:
    cursor: str | None = None
    while True:
        page = transport.run(pages.page(cursor))
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


async def _items_async(transport: AsyncTransport, pages: Pages[T]) -> AsyncIterator[T]:
    cursor: str | None = None
    while True:
        page = await transport.run(pages.page(cursor))
        for item in page.items:
            yield item
        if (cursor := page.next_cursor) is None:
            return
