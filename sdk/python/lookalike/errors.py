"""What can go wrong between a caller and a Lookalike server, as one small family.

    LookalikeError
    ├── ConnectionFailed      no answer: refused, dropped, timed out
    └── APIError              an answer that says no (RFC 9457 problem), or is no Lookalike answer
        ├── InvalidRequest    400, 405, 409, 413, 415, 422: `errors` lists each wrong part
        ├── Unauthorized      401, 403
        ├── NotFound          404, 410
        ├── RateLimited       429: `retry_after` seconds
        └── ServiceUnavailable 502, 503, 504: `retry_after` seconds, where the server said so

A wrong argument that never leaves the process (a missing file, an object that is no image) raises
the built-in `OSError`, `TypeError` or `ValueError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class LookalikeError(Exception):
    """Anything this package raises about talking to a server."""


class ConnectionFailed(LookalikeError):
    """The server gave no answer. `timed_out` tells a slow one from an absent one."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class WrongPart:
    """One wrong part of a request, as the server names it."""

    path: str
    """Where: `queries[0].value`, `filters.AND[2].operator`."""
    message: str


class APIError(LookalikeError):
    """The server answered, and the answer is not what was asked for."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        title: str = "",
        code: str | None = None,
        errors: tuple[WrongPart, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        problem: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        """What is wrong and what to do about it, in a sentence."""
        self.status = status
        """The HTTP status."""
        self.title = title
        self.code = code
        """A stable name of the problem, such as `invalid-request`."""
        self.errors = errors
        self.request_id = request_id
        """Finds this request in the server's log."""
        self.retry_after = retry_after
        """Seconds to wait before asking again."""
        self.problem = problem or {}
        """The problem document as it came, with any members this client does not know."""

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.title}: {self.detail}{request}"


class InvalidRequest(APIError):
    """The request cannot be answered as it stands."""


class Unauthorized(APIError):
    """The API key is missing or wrong."""


class NotFound(APIError):
    """No such retriever, collection, document or batch."""


class RateLimited(APIError):
    """Too many requests."""


class ServiceUnavailable(APIError):
    """The server, or a part it needs, is starting, overloaded or down."""


_BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    405: InvalidRequest,
    409: InvalidRequest,
    410: NotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def error_class(status: int) -> type[APIError]:
    return _BY_STATUS.get(status, APIError)
