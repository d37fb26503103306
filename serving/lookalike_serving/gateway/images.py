"""Returns images and thumbnails, with caching.

The content was uploaded by somebody: the type is derived from the bytes, never from a name, and the
headers keep a browser from guessing another type or running anything in it.
"""

from __future__ import annotations

import hashlib

from fastapi import Request, Response

from lookalike_crds.failures import IMAGE_LOST, IMAGE_UNAVAILABLE
from lookalike_serving.documents.layout import Origin
from lookalike_serving.documents.stored import find_document
from lookalike_serving.gateway.context import service_of
from lookalike_serving.images import Code, ImageError
from lookalike_serving.images.thumbnails import MEDIA_TYPE
from lookalike_serving.problems import Problem
from lookalike_serving.service import Service

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=300",
}
_GONE = {Code.NOT_FOUND, Code.FORBIDDEN_PATH}


async def image_response(
    request: Request, collection: str, document_id: str, size: int | None
) -> Response:
    """The stored image, or with `size` its thumbnail; 304 if the caller has it.

    Raises Problem: 404 without a document or an image, 502 if the address of the image fails.
    """
    service = service_of(request)
    origin = (await find_document(service, collection, document_id)).origin
    headers = {**_SAFE, "ETag": _tag(origin, size)}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        content, media_type = await _content(service, origin, size)
    except ImageError as failure:
        kind = IMAGE_LOST if failure.code in _GONE else IMAGE_UNAVAILABLE
        raise Problem(kind, failure.message) from None
    return Response(content, headers=headers, media_type=media_type)


async def _content(service: Service, origin: Origin, size: int | None) -> tuple[bytes, str]:
    if size is None:
        return await service.images.get(origin.image)
    version = origin.sha256 or origin.fingerprint or ""
    return await service.images.thumbnail(origin.image, size, version), MEDIA_TYPE


def _tag(origin: Origin, size: int | None) -> str:
    """Changes with the image; of an image at a URL we know no more than when it was read."""
    version = f"{origin.image} {origin.sha256 or origin.fingerprint} {size}"
    return f'"{hashlib.sha256(version.encode()).hexdigest()[:32]}"'
