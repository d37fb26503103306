"""Every failure as a problem document: what is wrong, where, and what to do.

The status and the code are those of the exception's row in the table of failures. An exception
without a row is a bug of ours: 500, with the id of the request and without a traceback (which goes
to the log).
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lookalike_crds.failures import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CLIENT_DISCONNECTED,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
)
from lookalike_serving.embed.admission import Overloaded
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.failures import kind_of, told
from lookalike_serving.gateway.bodies import wrong_parts
from lookalike_serving.gateway.context import metrics_of, request_id_of
from lookalike_serving.gateway.responses import problem_response
from lookalike_serving.gateway.wanted import CallerLeft
from lookalike_serving.images import ImageError
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.machine.disk import NoRoom
from lookalike_serving.problems import Problem, Wrong, invalid

log = logging.getLogger("lookalike.gateway")

CALLER_LEFT = 499
"""The status in logs and metrics of a request that nobody waited for; nobody receives it."""

_OF_HTTP = {
    row.status: row
    for row in (
        BAD_REQUEST,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        BODY_TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
    )
}
"""What the web framework itself refuses; any other status of it is a bad request."""


def install(app: FastAPI) -> None:
    """Answer every failure that the routes can name with a problem. For the rest, see
    middleware.Observation."""
    for kind in (
        Problem,
        HTTPException,
        RequestValidationError,
        ImageError,
        IndexFailure,
        ModelError,
        Overloaded,
        ClientDisconnect,
        NoRoom,
    ):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(CallerLeft, _nobody)


async def handle(request: Request, failure: Exception) -> Response:
    problem = problem_of(failure, request)
    metrics_of(request).errors.labels(problem.code).inc()
    return problem_response(problem, request_id_of(request.scope))


async def _nobody(request: Request, left: Exception) -> Response:
    return Response(status_code=CALLER_LEFT)


def problem_of(failure: Exception, request: Request) -> Problem:
    """The problem that the caller gets for a failure."""
    match failure:
        case Problem():
            return failure
        case RequestValidationError():
            return invalid(_of_parameters(failure))
        case HTTPException():
            return _of_http(failure, request)
        case ClientDisconnect():
            return Problem(CLIENT_DISCONNECTED, CLIENT_DISCONNECTED.means)
        case _:
            return _of_table(failure)


def _of_parameters(failure: RequestValidationError) -> list[Wrong]:
    """The routes read bodies themselves, so what FastAPI refuses is in the path or the query, and
    its name is all that can be said of the place."""
    errors = [{**each, "loc": each["loc"][1:2]} for each in failure.errors()]
    return wrong_parts(errors, None)


def _of_table(failure: Exception) -> Problem:
    kind = kind_of(failure)
    if kind is INTERNAL:
        log.exception("unexpected", exc_info=failure)
    elif kind.status >= 500:
        log.error("%s: %s", kind.code, failure)
    return Problem(kind, told(failure))


def _of_http(failure: HTTPException, request: Request) -> Problem:
    headers = dict(failure.headers or {})
    kind = _OF_HTTP.get(failure.status_code, BAD_REQUEST)
    detail = str(failure.detail)
    if kind is NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"There is nothing at {request.url.path}. The routes are listed at /docs."
    if kind is METHOD_NOT_ALLOWED:
        allowed = headers.get("Allow") or headers.get("allow") or ""
        detail = f"{request.method} is not allowed at {request.url.path}; allowed: {allowed}."
    return Problem(kind, detail, headers=headers)
