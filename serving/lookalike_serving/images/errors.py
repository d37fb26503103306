"""The one error that images raise, whichever way they came in."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from lookalike_crds.failures import FailureKind, by_code


class Code(StrEnum):
    """What was wrong, for programs. The message says it for people."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    TOO_COSTLY = "too_costly"
    BAD_REFERENCE = "bad_reference"
    FORBIDDEN_SCHEME = "forbidden_scheme"
    FORBIDDEN_ADDRESS = "forbidden_address"
    FORBIDDEN_PATH = "forbidden_path"
    NOT_FOUND = "not_found"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    HTTP_STATUS = "http_status"
    ARCHIVED = "archived"
    ACCESS_DENIED = "access_denied"
    TOO_MANY_REDIRECTS = "too_many_redirects"


class ImageError(Exception):
    """An image that cannot be had or read: the caller's to correct, never a fault of the service.

    `code` is stable; `message` names what was found, where, and the remedy, and is fit to be
    shown to whoever sent the image.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def failure_kind(self) -> FailureKind:
        """Its row in the table of failures."""
        return by_code(f"image-{self.code.replace('_', '-')}")

    def __reduce__(self) -> tuple[type[ImageError], tuple[Any, ...]]:
        # Exceptions cross process borders (Ray); the default would call us with one argument.
        return type(self), (self.code, self.message)


class Busy(ImageError):
    """The host answers that it is asked too much, or not ready: it may answer later.

    `retry_after`: seconds that it asks to wait; None if it does not say.
    """

    def __init__(self, code: Code, message: str, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[ImageError], tuple[Any, ...]]:
        return type(self), (self.code, self.message, self.retry_after)
