"""Image bytes, from wherever a request or a document says they are.

A caller may name less than a document does: never a file of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from lookalike_serving.images import Code, ImageError, load_reference
from lookalike_serving.problems import wrong
from lookalike_serving.search.request import PART_PREFIX
from lookalike_serving.service import Service


async def image_bytes(service: Service, value: str) -> bytes:
    """The bytes of a caller's https URL, data URL or base64. Raises ImageError."""
    return await load_reference(value, service.fetcher)


async def query_bytes(service: Service, value: str, parts: Mapping[str, bytes], path: str) -> bytes:
    """The same, or a part of the multipart request. Raises ImageError, Problem 422."""
    if not value.startswith(PART_PREFIX):
        return await image_bytes(service, value)
    name = value.removeprefix(PART_PREFIX)
    if name not in parts:
        known = ", ".join(sorted(parts)) or "none: send multipart/form-data"
        raise wrong(path, f"there is no file part {name!r}; parts sent: {known}")
    return checked_size(service, parts[name])


def checked_size(service: Service, image: bytes) -> bytes:
    """The image. Raises ImageError where it is larger than the fetch policy lets images be."""
    limit = service.config.fetch.max_bytes
    if len(image) > limit:
        message = f"the image has {len(image):,} bytes, more than {limit:,}: scale it down first"
        raise ImageError(Code.TOO_LARGE, message)
    return image


async def document_bytes(service: Service, image: str) -> bytes:
    """A stored document's image. Raises ImageError."""
    data, _ = await service.images.get(image)
    return data
