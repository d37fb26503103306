"""Serves the search page, the page on which duplicates are reviewed, and their files.

The pages are revalidated at each visit (ETag). Their files are below a path that contains a digest
of all of them, so browsers keep them for a year and still never mix two versions. A tab that
was open during an upgrade asks for the old digest and gets the new file, uncached.

The policy is strict: nothing from other hosts, no inline script or style, no framing, and
trusted types, so that no text that came with a document can ever become markup.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_SECURITY = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOR_A_YEAR = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    zipped: bytes
    type: str
    etag: str


def _file(body: bytes, suffix: str) -> _File:
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return _File(body, gzip.compress(body, mtime=0), _TYPES[suffix], etag)


def _load() -> tuple[str, Mapping[str, _File], Mapping[str, _File]]:
    """Returns the digest of all files, the files by name, and the pages by name."""
    contents = {p.name: p.read_bytes() for p in sorted(_STATIC.iterdir()) if p.suffix in _TYPES}
    whole = hashlib.sha256()
    for name, body in contents.items():
        whole.update(f"{name}\x00{len(body)}\x00".encode() + body)
    digest = whole.hexdigest()[:12]
    pages = {
        name: _file(body.replace(b"%ASSETS%", f"assets/{digest}".encode()), ".html")
        for name, body in contents.items()
        if name.endswith(".html")
    }
    files = {
        name: _file(body, Path(name).suffix) for name, body in contents.items() if name not in pages
    }
    return digest, files, pages


_DIGEST, _FILES, _PAGES = _load()

router = APIRouter(include_in_schema=False)


@router.get("/")
@router.head("/")
async def page(request: Request) -> Response:
    return _answer(request, _PAGES["index.html"], _REVALIDATE)


@router.get("/review")
@router.head("/review")
async def review(request: Request) -> Response:
    return _answer(request, _PAGES["review.html"], _REVALIDATE)


@router.get("/assets/{digest}/{name}")
@router.head("/assets/{digest}/{name}")
async def asset(digest: str, name: str, request: Request) -> Response:
    file = _FILES.get(name)
    if file is None:
        return Response("There is no such file.\n", 404, _SECURITY, media_type="text/plain")
    return _answer(request, file, _FOR_A_YEAR if digest == _DIGEST else _REVALIDATE)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Browsers also request it for API pages, which name no icon."""
    return _answer(request, _FILES["favicon.svg"], _REVALIDATE)


def _answer(request: Request, file: _File, caching: str) -> Response:
    headers = {
        **_SECURITY,
        "Cache-Control": caching,
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
    }
    known = request.headers.get("if-none-match", "")
    if file.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    body = file.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = file.zipped
        headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(body))
    return Response(
        b"" if request.method == "HEAD" else body, headers=headers, media_type=file.type
    )
