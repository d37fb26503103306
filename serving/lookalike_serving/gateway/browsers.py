"""Headers that tell browsers to trust the content type of every answer and to run nothing in it.

Answers of the API contain what callers stored – images, metadata – and none is a page. The search
page and the description of the API are pages, and declare themselves what they may load.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = b"content-security-policy"
_NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class SafeInBrowsers:
    """ASGI middleware: `X-Content-Type-Options` and a policy on what has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name.lower() for name, _ in headers}
                if _POLICY not in names:
                    headers.append((_POLICY, _NOTHING))
                if b"x-content-type-options" not in names:
                    headers.append((b"x-content-type-options", b"nosniff"))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, guarded)


def policy_of_description(page: bytes) -> str:
    """The policy of Swagger's page: its own files and inline scripts, by their digests.

    Swagger draws its icons from `data:` addresses and sets styles within its markup.
    """
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *allowed)),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
