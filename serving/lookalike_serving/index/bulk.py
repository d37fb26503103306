"""The bulk route: how ingestion writes to an Edge index that the serving process holds.

    POST /internal/v1/collections/{name}/points/{operation}?index={index}

Requests and answers are msgpack (`wire.py`), with a bearer token that the operator or the command
line created for this purpose. A collection that changes its model has two indexes for a while, so
the request names the index. `RemoteIndex` (`remote.py`) is the client; the route is not part of the
public API. Errors carry `{"error": <class of the index's error>, "message": …}`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from lookalike_serving.failures import kind_of
from lookalike_serving.images import ImageError
from lookalike_serving.index import wire
from lookalike_serving.index.protocol import (
    Decision,
    Index,
    IndexFailure,
    IndexRefused,
    Point,
    Query,
)

OPTIMIZE_ANSWER_SECONDS = 10.0
"""`optimize` may take minutes; a proxy between would give up. So it answers after this long,
done or not, and the client asks again."""
_FORGET_SECONDS = 600.0

Decide = Callable[[str, str | None, Point, bytes, bool], Awaitable[Decision]]
"""(collection, index, point, its image, whether a copy is left out)"""
_Operation = Callable[[Index, bytes], Awaitable[Any]]


class _Refusal(Exception):
    """An answer other than 200, before the index is asked."""

    def __init__(self, status: int, message: str, error: type[IndexFailure] = IndexFailure) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        """What it is to the client: `IndexRefused` is never worth another attempt."""


def bulk_router(
    indexes: Callable[[str, str | None], Index | None],
    token: Callable[[], str | None],
    image: Callable[[str, str], Awaitable[bytes]] | None = None,
    decide: Decide | None = None,
) -> APIRouter:
    """The route. `indexes` finds an open index by collection and name; `token`: the one to demand;
    `image`: reads an image by its address, and keeps it for a holder; `decide`: writes a document,
    of a collection and index, unless it is a copy.

    Where there is no token the route is off: it would let anyone rewrite the index.
    """
    router = APIRouter(prefix="/internal/v1/collections", include_in_schema=False)
    optimizations = _Optimizations()
    operations: dict[str, _Operation] = {**_OPERATIONS, "optimize": optimizations.join}
    if image is not None:
        operations["image"] = _reading(image)

    @router.post("/{name}/points/{operation}")
    async def bulk(
        name: str, operation: str, request: Request, index: str | None = None
    ) -> Response:
        try:
            if (refusal := not_authorised(request, token())) is not None:
                raise _Refusal(*refusal)
            found = indexes(name, index)
            if found is None:
                raise _Refusal(404, f"this server has no collection {name!r}")
            run = operations.get(operation)
            if operation == "decide" and decide is not None:
                run = partial(_deciding, partial(decide, name, index))
            if run is None:
                raise _Refusal(
                    404,
                    f"there is no operation {operation!r}: use one of "
                    f"{', '.join(sorted(operations))}",
                    IndexRefused,
                )
            answer = await run(found, await _read(request))
            return _respond(200, answer)
        except _Refusal as refusal:
            return _respond(refusal.status, _error(refusal.error.__name__, str(refusal)))
        except IndexFailure as failure:
            return _respond(kind_of(failure).status, _error(type(failure).__name__, str(failure)))

    return router


def _reading(image: Callable[[str, str], Awaitable[bytes]]) -> _Operation:
    """Answers with an image, or with why there is none, which concerns that document alone."""

    async def read(index: Index, body: bytes) -> dict[str, Any]:
        asked = wire.parse(wire.Image, body)
        try:
            return {"data": await image(asked.address, asked.holder)}
        except ImageError as error:
            return {"code": str(error.code), "message": error.message}

    return read


async def _deciding(
    decide: Callable[[Point, bytes, bool], Awaitable[Decision]], index: Index, body: bytes
) -> dict[str, Any]:
    asked = wire.parse(wire.Decide, body)
    try:
        return asdict(await decide(asked.point.point(), asked.image, asked.reject))
    except ImageError as error:
        return {"code": str(error.code), "message": error.message}


def not_authorised(request: Request, token: str | None) -> tuple[int, str] | None:
    """Why an internal route refuses a request, as (status, message); None if it does not."""
    if not token:
        return 403, "the bulk route is disabled: set access.internal_token_file"
    sent = request.headers.get("authorization", "")
    if not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
        return 401, "the internal token is missing or wrong: see internal_token_file"
    return None


async def _read(request: Request) -> bytes:
    too_large = _Refusal(
        413,
        f"the body exceeds {wire.MAX_BODY_BYTES} bytes: send fewer or smaller points",
        IndexRefused,
    )
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > wire.MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > wire.MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _respond(status: int, answer: Any) -> Response:
    return Response(wire.pack(answer), status_code=status, media_type=wire.MEDIA_TYPE)


def _error(kind: str, message: str) -> dict[str, str]:
    return {"error": kind, "message": message}


async def _upsert(index: Index, body: bytes) -> None:
    await index.upsert([point.point() for point in wire.parse(wire.Upsert, body).points])


async def _merge(index: Index, body: bytes) -> None:
    asked = wire.parse(wire.Payload, body)
    await index.merge_payload(asked.id, asked.payload)


async def _replace(index: Index, body: bytes) -> None:
    asked = wire.parse(wire.Payload, body)
    await index.replace_payload(asked.id, asked.payload)


async def _delete(index: Index, body: bytes) -> None:
    await index.delete(wire.parse(wire.Ids, body).ids)


async def _retrieve(index: Index, body: bytes) -> list[dict[str, Any]]:
    asked = wire.parse(wire.Retrieve, body)
    records = await index.retrieve(
        asked.ids, with_payload=asked.keys, with_vector=asked.with_vector
    )
    return [wire.encode_record(record) for record in records]


async def _scroll(index: Index, body: bytes) -> dict[str, Any]:
    asked = wire.parse(wire.Scroll, body)
    page = await index.scroll(
        filter=wire.decode_filter(asked.filter),
        limit=asked.limit,
        after=asked.after,
        with_payload=asked.keys,
        with_vector=asked.with_vector,
    )
    return wire.encode_page(page)


async def _count(index: Index, body: bytes) -> int:
    return await index.count(wire.decode_filter(wire.parse(wire.Count, body).filter))


async def _query(index: Index, body: bytes) -> list[str]:
    asked = wire.parse(wire.Nearest, body)
    vector = wire.decode_vector(asked.vector)
    filter = wire.decode_filter(asked.filter)
    hits = await index.query(Query(vector, asked.limit, filter=filter, with_payload=False))
    return [hit.id for hit in hits]


async def _info(index: Index, body: bytes) -> dict[str, Any]:
    wire.parse(wire.Empty, body)
    info = asdict(await index.info())
    del info["tuning"]  # nobody asks for it here, and clients of earlier releases do not know it
    return info


_OPERATIONS: dict[str, _Operation] = {
    "upsert": _upsert,
    "merge": _merge,
    "replace": _replace,
    "delete": _delete,
    "retrieve": _retrieve,
    "scroll": _scroll,
    "count": _count,
    "info": _info,
    "query": _query,
}


class _Optimizations:
    """The runs of `optimize` that somebody asked for, by the name the client gave them.

    Two clients' runs are two calls of the index, which finds nothing left to do in the second.
    """

    def __init__(self) -> None:
        self._runs: dict[str, asyncio.Task[None]] = {}

    async def join(self, index: Index, body: bytes) -> bool:
        """Whether the run is done. False: ask again."""
        name = wire.parse(wire.Optimize, body).run
        if name not in self._runs:
            self._runs[name] = asyncio.create_task(index.optimize())
            self._runs[name].add_done_callback(lambda task: self._forget_later(name, task))
        task = self._runs[name]
        await asyncio.wait([task], timeout=OPTIMIZE_ANSWER_SECONDS)
        if not task.done():
            return False
        self._runs.pop(name, None)
        task.result()
        return True

    def _forget_later(self, name: str, task: asyncio.Task[None]) -> None:
        # Usually the client asks again within seconds; one that has died must not be kept for.
        if not task.cancelled():
            task.exception()  # marks it as seen
        asyncio.get_running_loop().call_later(_FORGET_SECONDS, self._runs.pop, name, None)
