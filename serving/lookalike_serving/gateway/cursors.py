"""Cursors of lists: opaque to callers, the last point's id inside."""

from __future__ import annotations

import base64
import binascii
import uuid

from lookalike_serving.problems import wrong


def write_cursor(after: str | None) -> str | None:
    """None at the end of the list."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(uuid.UUID(after).bytes).decode().rstrip("=")


def read_cursor(cursor: str | None) -> str | None:
    """Raises Problem 422 for anything `write_cursor` did not write."""
    if not cursor:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return str(uuid.UUID(bytes=raw))
    except (ValueError, binascii.Error):
        raise wrong("cursor", "is not a next_cursor of this list: start again without it") from None
