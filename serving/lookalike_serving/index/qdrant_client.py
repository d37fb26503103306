"""Clients of a Qdrant server's addresses, with the API key and the authorities from files.

Both files may be replaced while the service runs, since keys and certificates are renewed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient

from lookalike_crds.image_collection import DEFAULT_GRPC_PORT
from lookalike_crds.tls import trusting
from lookalike_serving.index.protocol import IndexFailure

IN_MEMORY = ":memory:"
TIMEOUT_SECONDS = 20
"""Of one call."""
_CHANNEL = {
    # gRPC's own pauses between attempts to connect grow to two minutes: a server that is back
    # would be taken for dead as long.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # Despite its name the time that one attempt to connect may take.
    "grpc.min_reconnect_backoff_ms": 5_000,
    # A machine that vanishes closes no connection. Without pings the kernel would go on sending
    # to it for a quarter of an hour, although a new server answers at the same address.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    # Newer versions of gRPC go by this one, a minute unless it is set.
    "grpc.http2.ping_timeout_ms": 5_000,
    "grpc.http2.max_pings_without_data": 0,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a server is sent, and how it is recognised."""

    api_key: str | None = None
    ca: str | None = None
    """PEM. None: well-known authorities are trusted."""


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    api_key: Path | None = None
    ca: Path | None = None

    def read(self) -> Credentials:
        """Raises IndexFailure."""
        key = None if self.api_key is None else _read(self.api_key, "index.api_key_file").strip()
        ca = None if self.ca is None else _read(self.ca, "index.ca_file")
        if ca is not None:
            try:
                trusting(ca)
            except ValueError as error:
                raise IndexFailure(f"index.ca_file {self.ca} {error}") from error
        return Credentials(key, ca)


def _read(file: Path, what: str) -> str:
    try:
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise IndexFailure(f"{what} {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise IndexFailure(f"{what} {file} is not text: write it as UTF-8") from error


def client_of(
    url: str, grpc_port: int | None, credentials: Credentials = Credentials()
) -> AsyncQdrantClient:
    """A client that has not connected yet; of REST alone where `grpc_port` is None.

    Raises IndexFailure if `url` is no address.
    """
    if url == IN_MEMORY:
        return AsyncQdrantClient(location=IN_MEMORY)
    if not _is_address(url):
        raise IndexFailure(
            f"index.url {url!r} is not the address of a Qdrant server: write http(s)://host:port"
        )
    channel: dict[str, Any] = dict(_CHANNEL)
    rest: dict[str, Any] = {}
    if credentials.ca is not None and url.lower().startswith("https:"):
        channel["root_certificates"] = credentials.ca.encode()
        rest["verify"] = trusting(credentials.ca)
    with warnings.catch_warnings():
        # Inside a cluster a key over plain HTTP is usual; whoever wants TLS writes https.
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        return AsyncQdrantClient(
            url=url,
            grpc_port=grpc_port or DEFAULT_GRPC_PORT,
            prefer_grpc=grpc_port is not None,
            api_key=credentials.api_key,
            timeout=TIMEOUT_SECONDS,
            grpc_options=channel,
            check_compatibility=False,  # it would ask the server here, blocking the event loop
            **rest,
        )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no port
    except ValueError:  # also of brackets around what is no IPv6 address
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
