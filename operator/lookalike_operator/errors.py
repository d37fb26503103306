"""What can go wrong between the operator and the API server, in the words of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_OF_THE_SCHEMA = ("failed to create typed patch object", "failed to convert new object")
"""A server-side apply calls it an internal error if an object is not what its schema says."""


class NoCluster(Exception):
    """There is no usable configuration; the message says where it was searched for."""


class ApiError(Exception):
    """The API server refused, failed, or (status 0) did not answer."""

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def refused(self) -> bool:
        """Repeating the request unchanged will not help: the object itself is refused."""
        return self.status in (400, 403, 413, 422) or (
            self.status == 500 and self.message.startswith(_NOT_OF_THE_SCHEMA)
        )

    @property
    def passes(self) -> bool:
        """The failure says nothing about the request: the server is away, is busy, or knows newer
        versions."""
        return self.status in (0, 408, 409, 410, 429, 502, 503, 504)

    @property
    def conflict(self) -> bool:
        return self.status == 409

    @property
    def expired(self) -> bool:
        """The resource version is too old: list again."""
        return self.status == 410


def error_of(
    status: int, document: Any, call: str = "", headers: Mapping[str, str] | None = None
) -> ApiError:
    said = document if isinstance(document, dict) else {}
    message = str(said.get("message") or f"{call}: HTTP {status}")
    retry_after = None
    try:
        retry_after = float((headers or {}).get("Retry-After", ""))
    except ValueError:
        seconds = (said.get("details") or {}).get("retryAfterSeconds")
        retry_after = float(seconds) if seconds else None
    return ApiError(status, str(said.get("reason") or "Unknown"), message, retry_after)
