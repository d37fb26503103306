"""Images and thumbnails out, with caching.

What comes out is someone's upload: the type is what the bytes are, never what a name said, and the
headers keep a browser from guessing another or running anything in it.
"""

from __future__ import annotations

from fastapi import Request, Response

from lookalike_serving.gateway.context import service_of
from lookalike_serving.images.sniff import MEDIA_TYPES, sniff
from lookalike_serving.references import document_bytes, document_thumbnail
from lookalike_serving.stored import find_document

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=300",
}


async def image_response(
    request: Request, collection: str, document_id: str, size: int | None
) -> Response:
    """The stored image, or with `size` its thumbnail; 304 where the caller has it."""
    service = service_of(request)
    origin = (await find_document(service, collection, document_id)).origin
    version = origin.fingerprint or origin.updated_at or ""
    tag = f'"{version.encode().hex()[:64]}-{size or "full"}"'
    headers = {**_SAFE, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if size is None:
        content = await document_bytes(service, origin.image)
    else:
        content = await document_thumbnail(service, origin.image, size)
    kind = sniff(content).format
    media_type = MEDIA_TYPES.get(kind or "", "application/octet-stream")
    return Response(content, headers=headers, media_type=media_type)
