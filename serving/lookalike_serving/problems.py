"""The one error that a caller sees: an RFC 9457 problem, raised where the reason is known.

Search, upload and batches raise it without knowing HTTP; `gateway/errors.py` turns it into
`application/problem+json`, and a batch stores its text with the failed item. The detail names the
value, the place and the remedy, and `errors` lists each wrong part if there may be several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from lookalike_crds.failures import INVALID_REQUEST, FailureKind


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong part of a request."""

    path: str
    """Where, as the caller wrote it: `queries[0].value`, `filters.AND[2].operator`."""
    message: str
    """What is wrong and what to write instead."""

    def as_json(self) -> dict[str, str]:
        return {"path": self.path, "message": self.message}


class Problem(Exception):
    """Refuses a request: a row of the table of failures, and a detail with the remedy."""

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        errors: Sequence[Wrong] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.failure_kind = kind
        self.status = kind.status
        self.code = kind.code
        self.detail = detail
        self.errors = tuple(errors)
        wait = {} if kind.retry_after is None else {"Retry-After": str(kind.retry_after)}
        self.headers = wait | (headers or {})

    def as_json(self, instance: str | None = None) -> dict[str, Any]:
        """The problem document; `instance` is the request's id."""
        document: dict[str, Any] = {
            "type": f"https://lookalike.dev/problems/{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            document["errors"] = [wrong.as_json() for wrong in self.errors]
        if instance is not None:
            document["request_id"] = instance
        return document


def invalid(errors: Sequence[Wrong]) -> Problem:
    """422 for a request whose parts are wrong; the detail repeats the first of them."""
    first = errors[0]
    where = f"{first.path}: " if first.path else ""
    more = f" (and {len(errors) - 1} more: see errors)" if len(errors) > 1 else ""
    return Problem(INVALID_REQUEST, f"{where}{first.message}{more}", errors=errors)


def wrong(path: str, message: str) -> Problem:
    """422 for one wrong part."""
    return invalid([Wrong(path, message)])
