"""Reading the bytes of an item: its `uri` says all that is needed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from lookalike_crds.config import FetchPolicy
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.files import read_regular

FILE = "file://"


async def read(uri: str, fetcher: ImageFetcher, policy: FetchPolicy) -> bytes:
    """An item's bytes. Raises ImageError or OSError."""
    if uri.startswith(FILE):
        return await asyncio.to_thread(read_file, uri, policy.max_bytes)
    return (await fetcher.fetch(uri)).data


def read_file(uri: str, max_bytes: int) -> bytes:
    """The bytes of a `file://` address. Raises ImageError or OSError."""
    # `as_uri` escapes the bytes of the name, which need not be UTF-8.
    return read_regular(Path(os.fsdecode(unquote_to_bytes(urlsplit(uri).path))), max_bytes)


def cause_of(error: Exception) -> str:
    """Why an item could not be read, in words."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return str(error)
