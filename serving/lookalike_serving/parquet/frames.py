"""How parent and child talk: a header in JSON, then bytes, each after its length."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

_LENGTHS = struct.Struct("<IQ")


def send(stream: IO[bytes], header: list[Any], payload: bytes = b"") -> None:
    """Raises OSError if nobody listens."""
    told = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(told), len(payload)))
    stream.write(told)
    if payload:
        stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[list[Any], bytes] | None:
    """(header, bytes); None at the end, and also if that comes in the middle of a frame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, payload_length = _LENGTHS.unpack(lengths)
    header = stream.read(header_length)
    payload = stream.read(payload_length) if payload_length else b""
    if len(header) < header_length or len(payload) < payload_length:
        return None
    return json.loads(header), payload
