"""An Edge index that a serving process holds, reached through its bulk route (`bulk.py`).

Every operation can be repeated without harm, since points have deterministic ids. So connection
errors and "unavailable" answers are retried for a while: ingestion waits for a server that
restarts.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from lookalike_crds.backoff import Backoff
from lookalike_serving.images import Code, ImageError
from lookalike_serving.index import wire
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import (
    Decision,
    IndexFailure,
    IndexFull,
    IndexInfo,
    IndexMismatch,
    IndexRefused,
    IndexUnavailable,
    Page,
    Point,
    Record,
    Vector,
)

RETRY_SECONDS = 60.0
"""How long an unavailable server is waited for."""
_BACKOFF = Backoff(base=0.1, cap=5.0)
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_BODY_BYTES = 8 * 1024 * 1024
"""Size of one upsert's body, about; large enough to be quick, small beside the route's bound."""
_UNAVAILABLE = frozenset({502, 503, 504})
_GATEWAYS_OWN = "application/problem+json"
_ERRORS = {
    kind.__name__: kind
    for kind in (
        IndexFailure,
        IndexFull,
        IndexMismatch,
        IndexRefused,
        IndexUnavailable,
    )
}


class RemoteIndex:
    """A `PointStore` over HTTP.

    `index`: which one, where the collection may have several. `transport` replaces the network, to
    call an ASGI application in this process.
    """

    def __init__(
        self,
        base_url: str,
        collection: str,
        token: str,
        *,
        index: str | None = None,
        retry_seconds: float = RETRY_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._where = f"{base_url.rstrip('/')}/internal/v1/collections/{collection}/points"
        self._retry_seconds = retry_seconds
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}", "content-type": wire.MEDIA_TYPE},
            params={} if index is None else {"index": index},
            timeout=_TIMEOUT,
            transport=transport,
        )

    async def upsert(self, points: Sequence[Point]) -> None:
        for body in _bodies(points):
            await self._call("upsert", body)

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        await self._ask("merge", id=id, payload=payload)

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        await self._ask("replace", id=id, payload=payload)

    async def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), wire.MAX_IDS):
            await self._ask("delete", ids=list(ids[start : start + wire.MAX_IDS]))

    async def retrieve(
        self,
        ids: Sequence[str],
        *,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> list[Record]:
        records: list[Record] = []
        for start in range(0, len(ids), wire.MAX_PAGE):
            answer = await self._ask(
                "retrieve",
                ids=list(ids[start : start + wire.MAX_PAGE]),
                with_payload=with_payload,
                with_vector=with_vector,
            )
            records.extend(wire.decode_record(each) for each in answer)
        return records

    async def scroll(
        self,
        *,
        filter: Filter | None = None,
        limit: int = 100,
        after: str | None = None,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> Page:
        """`limit` at most 10,000."""
        answer = await self._ask(
            "scroll",
            filter=wire.encode_filter(filter),
            limit=limit,
            after=after,
            with_payload=with_payload,
            with_vector=with_vector,
        )
        return wire.decode_page(answer)

    async def count(self, filter: Filter | None = None) -> int:
        return int(await self._ask("count", filter=wire.encode_filter(filter)))

    async def info(self) -> IndexInfo:
        return IndexInfo(**await self._ask("info"))

    async def nearest(self, vector: Vector, limit: int, filter: Filter | None = None) -> list[str]:
        """The ids of the nearest points, the best first. `limit` at most 1,000."""
        found = await self._ask(
            "query",
            vector=wire.encode_vector(vector),
            limit=limit,
            filter=wire.encode_filter(filter),
        )
        return [str(each) for each in found]

    async def image(self, address: str, holder: str) -> bytes:
        """The image at an address, as the server reads it for its documents.

        An upload stays from then on until `holder` lets go of it (images/holders.py). Raises
        ImageError.
        """
        answer = await self._ask("image", address=address, holder=holder)
        if "code" in answer:
            raise ImageError(Code(answer["code"]), str(answer["message"]))
        data: bytes = answer["data"]
        return data

    async def decide(self, point: Point, image: bytes, *, reject: bool) -> Decision:
        """Write a point unless its image is a copy of a document (`copies/upload.py`). Raises
        ImageError."""
        sent = wire.encode_point(point)
        answer = await self._ask("decide", point=sent, image=image, reject=reject)
        if "code" in answer:
            raise ImageError(Code(answer["code"]), str(answer["message"]))
        return Decision(**answer)

    async def optimize(self) -> None:
        run = uuid.uuid4().hex
        while not await self._ask("optimize", run=run):
            pass

    async def close(self) -> None:
        """Ends the connections; the index stays open in the server."""
        await self._client.aclose()

    async def _ask(self, operation: str, **body: Any) -> Any:
        return await self._call(operation, wire.pack(body))

    async def _call(self, operation: str, body: bytes) -> Any:
        give_up = time.monotonic() + self._retry_seconds
        failures = 0
        while True:
            try:
                return await self._once(operation, body)
            except IndexUnavailable:
                failures += 1
                pause = _BACKOFF.after(failures)
                if time.monotonic() + pause >= give_up:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, operation: str, body: bytes) -> Any:
        try:
            response = await self._client.post(f"{self._where}/{operation}", content=body)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise IndexUnavailable(
                f"the index at {self._where} does not answer ({error or type(error).__name__}): "
                "check that `lookalike up` or the retriever runs"
            ) from error
        if (media_type := response.headers.get("content-type")) != wire.MEDIA_TYPE:
            # Not our route's answer: a proxy's, or another program's.
            kind = IndexUnavailable if _may_pass(response.status_code, media_type) else IndexFailure
            raise kind(
                f"{self._where}/{operation} answered {response.status_code}, which is not the "
                "answer of an index: check that the address is that of a Lookalike server"
            )
        answer = wire.unpack(response.content)
        if response.status_code == httpx.codes.OK:
            return answer
        kind = _ERRORS.get(answer.get("error"), IndexFailure)
        raise kind(f"{self._where}/{operation}: {answer.get('message')}")


def _may_pass(status: int, media_type: str | None) -> bool:
    """Whether a proxy says that nothing answers behind it at present.

    Serve's says so with a 500 while a killed replica is replaced. A 500 of the gateway itself is a
    failure of the request.
    """
    return status in _UNAVAILABLE or (status == 500 and media_type != _GATEWAYS_OWN)


def _bodies(points: Sequence[Point]) -> Iterator[bytes]:
    """Upsert bodies of about _BODY_BYTES each."""
    packed: list[bytes] = []
    size = 0
    for point in points:
        each = wire.pack_point(point)
        if packed and size + len(each) > _BODY_BYTES:
            yield wire.pack_upsert(packed)
            packed, size = [], 0
        packed.append(each)
        size += len(each)
    if packed:
        yield wire.pack_upsert(packed)
