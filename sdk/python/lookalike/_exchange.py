"""The client without its input and output: what to send, when again, what the answer means.

    operation --yields--> Call | Pause        one operation, such as "wait for this batch"
        `exchange` turns each Call into attempts:
            --yields--> Send | Pause          what a transport does next
            <--gets---  Answer | Failure      what came of it

A transport (`_transport.py`) is a loop that sends and sleeps; there is a blocking one and an
asyncio one, and neither decides anything. So retries, errors and parsing exist once for both.

When a request is sent again:

- It never reached a server (connection refused, TLS or DNS failure, connect timeout), or the server
  says it did not accept it (429): always.
- The connection broke after it was sent, or the answer is 502, 503 or 504: only a request whose
  repetition changes nothing. That is every GET; search (reads only); DELETE and PATCH (the second
  leaves what the first left); an upload (the same bytes under the same id, or an id made from the
  bytes, are one document); a new batch (it carries an Idempotency-Key); and cancelling one.
  Retrying a batch's failed items is not: the first may have run already, and the second would run
  them again.
- A read timeout is not repeated: the caller's patience is spent, and the server may be at work.

Waits grow as full-jitter exponential back-off (Brooker, AWS Architecture Blog, 2015):
uniform(0, min(cap, base x 2^n)). A Retry-After is honoured instead; one longer than `patience` ends
the attempts, and the error carries it.
"""

from __future__ import annotations

import email.utils
import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from lookalike.errors import APIError, ConnectionFailed, LookalikeError, WrongPart, error_class

T = TypeVar("T")

_REFUSED_BEFORE_WORK = {429}
_MAY_HAVE_WORKED = {502, 503, 504}
_NOTHING_BEHIND_THE_INGRESS = b"Internal Server Error"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart request."""

    content: bytes
    media_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """From `/v1/…`, percent-encoded."""
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP response."""

    status: int
    """503 for the 500 with which the ingress says that nothing answers behind it."""
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes
    url: str
    base_url: str

    @classmethod
    def of(
        cls, status: int, headers: Mapping[str, str], content: bytes, url: str, base_url: str
    ) -> Answer:
        # Ray Serve's HAProxy makes a bare 500 of its own 502, 503 and 504; the service itself
        # describes every failure.
        if status == 500 and content == _NOTHING_BEHIND_THE_INGRESS:
            status, content = 503, b'{"detail": "The service is starting again, or down."}'
        return cls(status, headers, content, url, base_url)

    def json(self) -> Any:
        """Raises APIError if the body is no JSON: something else answers at this address."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise _no_lookalike(self) from None

    def absolute(self, address: str | None) -> str | None:
        """An address of this server, which may send it without the host, made whole."""
        return self.base_url + address if address and address.startswith("/") else address


@dataclass(frozen=True, slots=True)
class Failure:
    """No response."""

    message: str
    sent: bool
    """Whether the server may have seen the request."""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and how its answer is read."""

    request: Request
    parse: Callable[[Answer], T]
    repeatable: bool = True
    """Whether doing it twice leaves what doing it once leaves."""
    patient: bool = True
    """Whether it is worth repeating at all: False for a question about the server's health."""
    done_already: int | None = None
    """The status that means "done", where an earlier attempt broke off: 404 for a deletion."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    request: Request


Operation: TypeAlias = Generator["Call[Any] | Pause", Any, T]
"""Yields calls, gets what their `parse` returned, returns the operation's result."""
Exchange: TypeAlias = Generator["Send | Pause", "Answer | Failure | None", T]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried again."""

    retries: int = 3
    """Attempts after the first; 0 for none."""
    base_seconds: float = 0.25
    cap_seconds: float = 8.0
    patience_seconds: float = 60.0
    """The longest Retry-After that is waited for."""

    def backoff(self, retry: int) -> float:
        """Seconds before the `retry`-th repetition, counted from 0."""
        return random.uniform(0, min(self.cap_seconds, self.base_seconds * 2.0**retry))


NO_RETRIES = RetryPolicy(retries=0)


def call(request: Call[T]) -> Operation[T]:
    """The operation that is one call."""
    result: T = yield request
    return result


def exchange(operation: Operation[T], policy: RetryPolicy) -> Exchange[T]:
    """Runs an operation: each call in attempts, each pause as it is.

    A call that fails raises inside the operation, which may know better.
    """
    resume: Callable[[], Call[Any] | Pause] = partial(next, operation)
    while True:
        try:
            step = resume()
        except StopIteration as stop:
            result: T = stop.value
            return result
        if isinstance(step, Pause):
            yield step
            resume = partial(operation.send, None)
            continue
        try:
            outcome = yield from _attempts(step, policy if step.patient else NO_RETRIES)
        except LookalikeError as error:
            resume = partial(operation.throw, error)
        else:
            resume = partial(operation.send, outcome)


def _attempts(step: Call[T], policy: RetryPolicy) -> Exchange[T]:
    may_have_worked = False
    for retry in range(policy.retries + 1):
        outcome = yield Send(step.request)
        assert outcome is not None
        if isinstance(outcome, Answer):
            if outcome.status < 300 or (may_have_worked and outcome.status == step.done_already):
                return _parsed(step, outcome)
            may_have_worked |= outcome.status in _MAY_HAVE_WORKED
        else:
            may_have_worked |= outcome.sent
        wait = _wait_before_repeating(step, outcome, retry, policy)
        if wait is None or retry == policy.retries:
            raise _error(outcome, attempts=retry + 1)
        yield Pause(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _wait_before_repeating(
    step: Call[Any], outcome: Answer | Failure, retry: int, policy: RetryPolicy
) -> float | None:
    """Seconds to wait before the request is sent again; None if it must not be."""
    if isinstance(outcome, Failure):
        again = not outcome.sent or (step.repeatable and not outcome.timed_out)
        return policy.backoff(retry) if again else None
    if outcome.status not in _REFUSED_BEFORE_WORK and not (
        outcome.status in _MAY_HAVE_WORKED and step.repeatable
    ):
        return None
    asked = retry_after(outcome.headers)
    if asked is None:
        return policy.backoff(retry)
    # A little jitter on top, so that all who were sent away do not come back at once.
    return (
        asked + random.uniform(0, policy.base_seconds) if asked <= policy.patience_seconds else None
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _parsed(step: Call[T], answer: Answer) -> T:
    try:
        return step.parse(answer)
    except APIError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise _no_lookalike(answer) from cause


def _error(outcome: Answer | Failure, *, attempts: int) -> LookalikeError:
    tries = f" (tried {attempts} times)" if attempts > 1 else ""
    if isinstance(outcome, Failure):
        return ConnectionFailed(outcome.message + tries, timed_out=outcome.timed_out)
    return api_error(outcome)


def api_error(answer: Answer) -> APIError:
    """The error that a response with a status of 300 or more stands for."""
    problem = _problem(answer)
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "another address")
        detail = f"{answer.url} redirects to {target}: use the address it names as base_url"
    else:
        detail = str(problem.get("detail") or problem.get("title") or _excerpt(answer))
    return error_class(answer.status)(
        detail,
        status=answer.status,
        title=str(problem.get("title") or _phrase(answer.status)),
        code=_text(problem.get("code")),
        errors=_wrong_parts(problem.get("errors")),
        request_id=_text(problem.get("request_id")) or answer.headers.get("x-request-id"),
        retry_after=retry_after(answer.headers),
        problem=problem,
    )


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _wrong_parts(errors: Any) -> tuple[WrongPart, ...]:
    if not isinstance(errors, list):
        return ()
    return tuple(
        WrongPart(str(each.get("path", "")), str(each.get("message", "")))
        for each in errors
        if isinstance(each, dict)
    )


def _no_lookalike(answer: Answer) -> APIError:
    return APIError(
        f"{answer.url} answered something that is no Lookalike answer: {_excerpt(answer)}. "
        "Is base_url the address of a Lookalike server, and is the server as new as this client?",
        status=answer.status,
        title=_phrase(answer.status),
    )


def _excerpt(answer: Answer) -> str:
    text = " ".join(answer.content[:400].decode(errors="replace").split())
    if not text:
        return f"{answer.url} gave an empty answer"
    return text if len(text) <= 120 else text[:117] + "..."


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
