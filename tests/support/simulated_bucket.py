"""An S3 service of one bucket that is made up: as many keys as one likes, slow and faulty at will.

It keeps no objects: keys are computed, and bodies come from a function or a folder. So it lists ten
million keys from no memory, and answers so quickly that what is measured is the client. What a real
server does beyond listing and reading, moto is there for (`object_store.py`).

    python -m tests.support.simulated_bucket --keys 1000000 [--folder DIR] [--latency 0.02]

prints its address, and answers `GET /__calls` with the numbers of its calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import overload
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bench"
_MODIFIED = 1_750_000_000
_PAGE = 1000
_CODES = {
    403: "InvalidAccessKeyId",
    404: "NoSuchKey",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}


class Numbered(Sequence[str]):
    """The keys `000000/000.jpg`, `000000/001.jpg`, …, which are in no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(self._count))]
        if not 0 <= at < self._count:
            raise IndexError(at)
        return f"{at // 1000:06d}/{at % 1000:03d}.jpg"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    what: str
    """LIST, GET or HEAD."""
    key: str
    """Empty of a LIST."""
    number: int
    """How many of its kind came before."""
    access_key: str


Fault = int | float | str
"""A status; seconds that the answer takes longer; or `cut`: half of the answer, and no more."""


@dataclass
class SimulatedBucket:
    """`keys` in the order of their bytes; `body` of a key, None if it is not there."""

    keys: Sequence[str]
    body: Callable[[str], bytes | None]
    size: Callable[[str], int] = lambda key: 50_000
    """Bytes of an object, as listing tells them."""
    latency: float = 0.0
    """Seconds before each answer."""
    fault: Callable[[Asked], Fault | None] = lambda asked: None
    calls: Counter[str] = field(default_factory=Counter)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.split(" ", 2)
                if not await self._answer(method, target, head, writer):
                    break
        writer.close()

    async def _answer(
        self, method: str, target: str, head: str, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection goes on."""
        parts = urlsplit(target)
        if parts.path == "/__calls":
            _write(writer, 200, json.dumps(self.calls).encode())
            return True
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
        what = method if key else "LIST"
        signed = re.search(r"Credential=([^/]+)/", head)
        asked = Asked(what, key, self.calls[what], signed[1] if signed else "")
        self.calls[what] += 1
        fault = self.fault(asked)
        await asyncio.sleep(self.latency + (fault if isinstance(fault, float) else 0.0))
        if isinstance(fault, int):
            _write(writer, fault, _error(fault), retry_after="0")
            return True
        if what == "LIST":
            answer = (200, self._page(dict(parse_qsl(parts.query, keep_blank_values=True))), "")
        else:
            answer = self._object(key, head)
        _write(writer, *answer, body=method != "HEAD", cut=fault == "cut")
        await writer.drain()
        return fault != "cut"

    def _page(self, query: dict[str, str]) -> bytes:
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        first = max(bisect_left(self.keys, prefix), bisect_right(self.keys, after) if after else 0)
        found = [
            key
            for key in self.keys[first : first + int(query.get("max-keys", _PAGE))]
            if key.startswith(prefix)
        ]
        last = first + len(found)
        more = len(found) > 0 and last < len(self.keys) and self.keys[last].startswith(prefix)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2025-06-15T15:06:40.000Z"
            f"</LastModified><ETag>&quot;{etag(key)}&quot;</ETag><Size>{self.size(key)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in found
        )
        token = (
            f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>" if more else ""
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{_PAGE}</MaxKeys>"
            f"<KeyCount>{len(found)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{contents}</ListBucketResult>"
        ).encode()

    def _object(self, key: str, head: str) -> tuple[int, bytes, str]:
        body = self.body(key)
        if body is None:
            return 404, _error(404), ""
        asked = re.search(r"\r\nrange: bytes=(\d+)-(\d*)", head, re.IGNORECASE)
        if asked is None:
            return 200, body, ""
        start, end = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
        return 206, body[start : end + 1], f"Content-Range: bytes {start}-{end}/{len(body)}\r\n"


def etag(key: str) -> str:
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


def _error(status: int) -> bytes:
    code = _CODES.get(status, "InternalError")
    return f"<Error><Code>{code}</Code><Message>{code}, as was asked for</Message></Error>".encode()


def _write(
    writer: asyncio.StreamWriter,
    status: int,
    answer: bytes,
    more: str = "",
    *,
    body: bool = True,
    cut: bool = False,
    retry_after: str | None = None,
) -> None:
    if retry_after is not None:
        more += f"Retry-After: {retry_after}\r\n"
    head = (
        f"HTTP/1.1 {status} Said\r\nContent-Length: {len(answer)}\r\nContent-Type: application/xml"
        f'\r\nETag: "0"\r\nLast-Modified: {formatdate(_MODIFIED, usegmt=True)}\r\n{more}\r\n'
    )
    sent = answer[: len(answer) // 2] if cut else answer
    writer.write(head.encode() + (sent if body else b""))


@contextlib.contextmanager
def running(bucket: SimulatedBucket) -> Iterator[SimulatedBucket]:
    """Answers on loopback, from a thread."""
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> None:
        async with await asyncio.start_server(bucket.serve, "127.0.0.1", 0, limit=2**20) as server:
            bucket.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            started.set()
            await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    started.wait()
    try:
        yield bucket
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(5)


def in_folder(folder: Path) -> SimulatedBucket:
    """The files of a folder, whose bytes are kept in memory."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return SimulatedBucket(sorted(files), files.get, lambda key: len(files[key]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    given = parser.parse_args()
    if given.folder is not None:
        bucket = in_folder(given.folder)
    else:
        bucket = SimulatedBucket(Numbered(given.keys), lambda key: None)
    bucket.latency = given.latency

    async def serve() -> None:
        async with await asyncio.start_server(bucket.serve, "127.0.0.1", 0, limit=2**20) as server:
            print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
            await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
