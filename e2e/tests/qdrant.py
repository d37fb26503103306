"""The Qdrant server that these tests use instead of the stand-in: `LOOKALIKE_QDRANT_URL`."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

_URL = "LOOKALIKE_QDRANT_URL"


def given_server() -> str | None:
    """Its address, which the cluster's pods can reach."""
    return os.environ.get(_URL) or None


def allowed_addresses() -> list[str]:
    """Chart value `qdrant.allowedAddresses`: it is in no namespace of a test."""
    url = given_server()
    return [] if url is None else [urlsplit(url).hostname or ""]
