"""The bodies of the bulk route: msgpack, with vectors as raw little-endian float32.

Both ends are here – `bulk.py` answers, `remote.py` asks – so that they change together. What is
decoded comes from the network: every shape is checked, by pydantic or by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgpack
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import And, Filter, HasId, Not, Or, Predicate
from lookalike_serving.index.filters.values import WrongFilter
from lookalike_serving.index.protocol import IndexRefused, Page, Point, Record, Vector

MEDIA_TYPE = "application/msgpack"
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_IDS = 100_000
MAX_PAGE = 10_000
MAX_NEAREST = 1000
MAX_DEPTH = 64
"""Of filters: deeper than any that is parsed, where one level may become an And, a Not and more."""

_FLOAT32 = np.dtype("<f4")


class Body(BaseModel):
    """A request of the bulk route."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WirePoint(Body):
    id: str
    vector: bytes | None
    payload: dict[str, Any]
    copies: bytes | None = None

    def point(self) -> Point:
        vector = None if self.vector is None else decode_vector(self.vector)
        copies = None if self.copies is None else decode_vector(self.copies)
        return Point(self.id, vector, self.payload, copies)


class Upsert(Body):
    points: list[WirePoint]


class Payload(Body):
    id: str
    payload: dict[str, Any]


class Ids(Body):
    ids: list[str] = Field(max_length=MAX_IDS)


class _Selection(Body):
    with_payload: bool | list[str] = True
    with_vector: bool = False

    @property
    def keys(self) -> bool | tuple[str, ...]:
        return (
            tuple(self.with_payload) if isinstance(self.with_payload, list) else self.with_payload
        )


class Retrieve(_Selection):
    ids: list[str] = Field(max_length=MAX_PAGE)


class Scroll(_Selection):
    filter: Any = None
    limit: int = Field(ge=1, le=MAX_PAGE)
    after: str | None = None


class Count(Body):
    filter: Any = None


class Nearest(Body):
    vector: bytes
    limit: int = Field(ge=1, le=MAX_NEAREST)
    filter: Any = None


class Image(Body):
    address: str = Field(min_length=1, max_length=8192)
    holder: str = Field(pattern=r"^[0-9a-f-]{36}@[A-Za-z0-9._-]{1,255}$")
    """Becomes the name of a file."""


class Decide(Body):
    """A document that is to be written unless it is a copy, with its image."""

    point: WirePoint
    image: bytes = Field(min_length=1)
    reject: bool
    """Whether a copy is left out; else it is written with the document that it is a copy of."""


class Optimize(Body):
    run: str = Field(min_length=1, max_length=64)
    """Names one call of `RemoteIndex.optimize`, which asks until its run is done."""


class Empty(Body):
    pass


B = TypeVar("B", bound=Body)


def pack(value: Any) -> bytes:
    """Raises IndexRefused if `value` has no msgpack form."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise IndexRefused(f"the payload cannot be sent: {error}") from error
    return packed


def pack_point(point: Point) -> bytes:
    """A point of an upsert's body. Raises IndexRefused."""
    return pack(encode_point(point))


def pack_upsert(points: Sequence[bytes]) -> bytes:
    """An upsert's body of points that are packed already."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(1)
    packer.pack("points")
    packer.pack_array_header(len(points))
    return b"".join((packer.bytes(), *points))


def unpack(body: bytes) -> Any:
    """Raises IndexRefused if `body` is not msgpack."""
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise IndexRefused(f"the body is not msgpack: {error}") from error


def parse(kind: type[B], body: bytes) -> B:
    """Raises IndexRefused if `body` is not a `kind`."""
    try:
        return kind.model_validate(unpack(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise IndexRefused(f"{where}: {first['msg']}") from error


def encode_vector(vector: Vector | None) -> bytes | None:
    return None if vector is None else np.asarray(vector, dtype=_FLOAT32).tobytes()


def decode_vector(raw: bytes) -> Vector:
    """(d,) float32. Raises IndexRefused."""
    if len(raw) % _FLOAT32.itemsize:
        raise IndexRefused(
            f"a vector has {len(raw)} bytes, which is not a multiple of 4: send float32"
        )
    return np.frombuffer(raw, dtype=_FLOAT32).astype(np.float32)


def encode_point(point: Point) -> dict[str, Any]:
    return {
        "id": point.id,
        "vector": encode_vector(point.vector),
        "payload": point.payload,
        **_encoded_copies(point.copies),
    }


def _encoded_copies(copies: Vector | None) -> dict[str, bytes | None]:
    """Left out if there is none: earlier releases do not know it."""
    return {} if copies is None else {"copies": encode_vector(copies)}


def encode_record(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "payload": record.payload,
        "vector": encode_vector(record.vector),
        **_encoded_copies(record.copies),
    }


def decode_record(value: Mapping[str, Any]) -> Record:
    vector, copies = (
        None if raw is None else decode_vector(raw)
        for raw in (value["vector"], value.get("copies"))
    )
    return Record(value["id"], value["payload"], vector, copies)


def encode_page(page: Page) -> dict[str, Any]:
    return {"records": [encode_record(record) for record in page.records], "next": page.next}


def decode_page(value: Mapping[str, Any]) -> Page:
    return Page(tuple(decode_record(each) for each in value["records"]), value["next"])


def encode_filter(filter: Filter | None) -> Any:
    match filter:
        case None:
            return None
        case Predicate(key):
            operator, value = filter.written()
            return {"key": key, "operator": operator, "value": value}
        case And(of):
            return {"and": [encode_filter(each) for each in of]}
        case Or(of):
            return {"or": [encode_filter(each) for each in of]}
        case Not(of):
            return {"not": [encode_filter(each) for each in of]}
        case HasId(ids):
            return {"ids": list(ids)}


def decode_filter(value: Any, depth: int = 0) -> Filter | None:
    """Raises IndexRefused for what `encode_filter` never makes."""
    if value is None and depth == 0:
        return None
    if depth > MAX_DEPTH:
        raise IndexRefused(f"the filter is nested deeper than {MAX_DEPTH} levels: flatten it")
    match value:
        case {"key": str(key), "operator": str(operator), "value": operand}:
            try:
                return condition(key, operator, operand)
            except WrongFilter as error:
                raise IndexRefused(f"the filter on {key!r}: {error}") from None
        case {"and": list(of)}:
            return And(_decode_all(of, depth))
        case {"or": list(of)}:
            return Or(_decode_all(of, depth))
        case {"not": list(of)}:
            return Not(_decode_all(of, depth))
        case {"ids": list(ids)} if all(isinstance(id, str) for id in ids):
            return HasId(tuple(ids))
    raise IndexRefused(f"no filter: {value!r:.80}")


def _decode_all(of: list[Any], depth: int) -> tuple[Filter, ...]:
    decoded = (decode_filter(each, depth + 1) for each in of)
    return tuple(each for each in decoded if each is not None)
