"""A request's header fields, as the ASGI scope has them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first header of a name, which is given in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def values_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Every header of a name, which is given in lower case."""
    return [value for key, value in headers if key == name]


def has_body(scope: Scope) -> bool:
    """Whether the request announces a body."""
    headers = scope["headers"]
    length = header(headers, b"content-length")
    return header(headers, b"transfer-encoding") is not None or (
        length is not None and length != b"0"
    )
