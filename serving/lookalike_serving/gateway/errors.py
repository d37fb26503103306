"""Every failure as a problem document: what was wrong, where, and what to do.

The caller's mistakes are 4xx; an index or model that does not answer is 503; anything else is a
bug of ours: 500, with the request's id and without a traceback (which goes to the log).
"""

from __future__ import annotations

import errno
import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lookalike_serving.embed.batching import Overloaded
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.gateway.bodies import wrong_parts
from lookalike_serving.gateway.context import metrics_of, request_id_of
from lookalike_serving.gateway.limits import overloaded
from lookalike_serving.gateway.responses import problem_response
from lookalike_serving.images import ImageError
from lookalike_serving.index.protocol import IndexFailure, IndexFull, IndexRefused
from lookalike_serving.machine.disk import NoRoom
from lookalike_serving.problems import Problem, invalid

log = logging.getLogger("lookalike.gateway")

_CODES = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}


def install(app: FastAPI) -> None:
    """Answer every failure the routes can name with a problem. The rest: middleware.Observation."""
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


async def handle(request: Request, failure: Exception) -> Response:
    problem = problem_of(failure, request)
    metrics_of(request).errors.labels(problem.code).inc()
    return problem_response(problem, request_id_of(request.scope))


def problem_of(failure: Exception, request: Request) -> Problem:
    """The problem a failure is for the caller."""
    match failure:
        case Problem():
            return failure
        case ImageError():
            status = 413 if failure.code in {"too_large", "too_many_pixels", "too_costly"} else 422
            return Problem(status, f"image-{failure.code.replace('_', '-')}", failure.message)
        case IndexRefused():
            return Problem(422, "index-refused", str(failure))
        case IndexFull() | NoRoom():
            return _no_room(str(failure) if isinstance(failure, IndexFull) else failure.message)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return _no_room(f"the data folder's disk is full: {failure.strerror}")
        case IndexFailure():
            log.error("the index failed: %s", failure)
            retry = {"Retry-After": "2"}
            return Problem(503, "index-unavailable", str(failure), headers=retry)
        case Overloaded():
            return overloaded(str(failure), 1)
        case ModelError():
            log.error("the model failed: %s", failure)
            retry = {"Retry-After": "5"}
            return Problem(503, "model-unavailable", str(failure), headers=retry)
        case RequestValidationError():
            return invalid(wrong_parts(failure.errors()))
        case HTTPException():
            return _of_http(failure, request)
        case ClientDisconnect():
            return Problem(
                400, "client-disconnected", "The connection closed before the body ended."
            )
        case _:
            log.exception("unexpected", exc_info=failure)
            return Problem(
                500,
                "internal",
                "Something failed that should not: please report it with the request_id. The "
                "cause is in the server's log under the same id.",
            )


def _no_room(detail: str) -> Problem:
    return Problem(507, "storage-full", f"{detail[:1].upper()}{detail[1:]}.")


def _of_http(failure: HTTPException, request: Request) -> Problem:
    headers = dict(failure.headers or {})
    code = _CODES.get(failure.status_code, "http-error")
    detail = str(failure.detail)
    if failure.status_code == 404 and detail == "Not Found":
        detail = f"There is nothing at {request.url.path}. The routes are listed at /docs."
    if failure.status_code == 405:
        allowed = headers.get("Allow") or headers.get("allow") or ""
        detail = f"{request.method} is not possible at {request.url.path}: allowed is {allowed}."
    return Problem(failure.status_code, code, detail, headers=headers)
