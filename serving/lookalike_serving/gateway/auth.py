"""API keys: `Authorization: Bearer <key>` on everything below /v1.

Keys are in a file with one key per line; empty lines and lines that begin with # are ignored. The
file is read again when it changes, so a rotated Secret takes effect without a restart. Only digests
are kept, and every one is compared in constant time.

Services of buckets send change events, and most of them cannot be told which headers to send. For
`/v1/collections/<collection>/events` alone, each key has a token, which is good for nothing else.
It may be a part of the address (`?token=`), or the password of one (Basic authentication).

Health, metrics, the description of the API and the search page stay open: they show no documents.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import hmac
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike_crds.failures import UNAUTHORIZED
from lookalike_serving.gateway.context import request_id_of
from lookalike_serving.gateway.headers import header
from lookalike_serving.gateway.responses import problem_response
from lookalike_serving.problems import Problem

log = logging.getLogger("lookalike.auth")

_EVENTS = re.compile(r"/v1/collections/([^/]+)/events")

CALLER = "lookalike.caller"
"""Scope key: a short digest of the key that was presented; absent if none is needed."""


class ApiKeys:
    """The keys of one file. If the file cannot be read later, the last keys stay valid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._digests: tuple[bytes, ...] = ()
        self._reported = False

    def accepts(self, key: bytes) -> bool:
        """Whether a presented key is one of the file's. Takes equally long for a wrong key."""
        self._reread()
        digest = hashlib.sha256(key).digest()
        matches = 0
        for known in self._digests:
            matches |= hmac.compare_digest(digest, known)
        return bool(matches)

    def token_of(self, key: bytes, collection: str) -> str:
        """The token with which a key's owner lets others send events of a collection."""
        return _token(hashlib.sha256(key).digest(), collection)

    def accepts_token(self, token: bytes, collection: str) -> bool:
        """Whether it is the token of one of the keys. It goes with its key."""
        self._reread()
        matches = 0
        for known in self._digests:
            matches |= hmac.compare_digest(token, _token(known, collection).encode())
        return bool(matches)

    def _reread(self) -> None:
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version == self._version:
                return
            lines = self._path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
        except OSError as failure:
            if not self._reported:
                log.error("the API keys in %s cannot be read: %s", self._path, failure)
            self._reported = True
            return
        keys = [key for line in lines if (key := line.strip()) and not key.startswith(b"#")]
        if not keys:
            log.error("%s contains no API key: every request is refused", self._path)
        self._digests = tuple(hashlib.sha256(key).digest() for key in keys)
        self._version = version
        self._reported = False


class Authentication:
    """ASGI middleware: answers 401 below /v1 without a valid key, if keys are configured."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            refusal = self._refusal(scope)
            if refusal is not None:
                await problem_response(refusal, request_id_of(scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        keys: ApiKeys | None = scope["app"].state.keys
        if keys is None:
            return None
        key = bearer(scope)
        if key is not None and keys.accepts(key):
            scope[CALLER] = hashlib.sha256(key).hexdigest()[:16]
            return None
        if (events := _EVENTS.fullmatch(scope["path"])) and scope["method"] != "GET":
            for token in _tokens(scope):
                if keys.accepts_token(token, events[1]):
                    scope[CALLER] = hashlib.sha256(token).hexdigest()[:16]
                    return None
        told = "The API key is not valid." if key else "This service needs an API key."
        return Problem(
            UNAUTHORIZED,
            f"{told} Send it as `Authorization: Bearer <key>`.",
            headers={"WWW-Authenticate": 'Bearer realm="lookalike"'},
        )


def _token(digest: bytes, collection: str) -> str:
    """Of a key, by its digest."""
    return hmac.new(digest, b"events\x00" + collection.encode(), hashlib.sha256).hexdigest()


def _tokens(scope: Scope) -> Iterator[bytes]:
    """What a request has in the places where a token may be."""
    yield from parse_qs(scope.get("query_string", b"")).get(b"token", ())
    given = header(scope["headers"], b"authorization") or b""
    scheme, _, told = given.partition(b" ")
    if scheme.lower() == b"bearer":
        yield told.strip()
    elif scheme.lower() == b"basic":
        try:
            yield base64.b64decode(told, validate=True).partition(b":")[2]
        except ValueError:
            return


def may_see_reasons(request: Request) -> bool:
    """Whether an open route may give internal reasons: only if keys are configured and one is
    sent."""
    keys: ApiKeys | None = request.app.state.keys
    key = bearer(request.scope)
    return keys is None or (key is not None and keys.accepts(key))


def bearer(scope: Scope) -> bytes | None:
    """The token of `Authorization: Bearer <token>`; None without one."""
    given = header(scope["headers"], b"authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" and token.strip() else None
