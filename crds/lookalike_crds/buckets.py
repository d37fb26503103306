"""Buckets that sources declare, and the addresses of the objects in them.

    s3://photos/2024/shoe.jpg              a bucket of the provider itself
    s3://photos@minio.example:9000/a.jpg   a bucket of the compatible service at that host
    gs://photos/a.jpg
    az://pictures@myaccount/a.jpg          a container of a storage account

An address says which service it belongs to, so that two services may have buckets of one name. It
says nothing about credentials: only a bucket that a source declares is read, with the credentials
that the source names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

Scheme = Literal["s3", "gs", "az"]
SCHEMES: tuple[Scheme, ...] = ("s3", "gs", "az")

_ADDRESS = re.compile(r"(s3|gs|az)://([^/?#]+)/([^?#]*)", re.DOTALL)
_ESCAPED = re.compile(r"[%?#\s\x00-\x1f\x7f]")


class ObjectAddress(NamedTuple):
    scheme: Scheme
    authority: str
    """The bucket, and after `@` the service or account that it belongs to."""
    key: str


class Bucket(BaseModel):
    """A bucket, the part of it that may be read, and how it is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Scheme
    name: str
    prefix: str = Field(default="", description="Only objects whose key begins so may be read.")
    account: str | None = Field(default=None, description="Azure: the storage account.")
    region: str | None = None
    endpoint: str | None = Field(default=None, description="The provider's own if unset.")
    path_style: bool | None = Field(
        default=None, description="S3: the bucket is part of the path; with an endpoint if unset."
    )
    requester_pays: bool = False
    credentials: Path | None = Field(
        default=None,
        description="A folder with one file for each key of a Secret. If it is unset, the "
        "environment's credentials or the pod's own identity are used.",
    )

    @property
    def authority(self) -> str:
        """As it stands in addresses."""
        place = self.account
        if place is None and self.endpoint is not None:
            place = urlsplit(self.endpoint).netloc.rpartition("@")[2]
        return f"{self.name}@{place}" if place else self.name

    @property
    def root(self) -> str:
        """The folder that keys are told relative to: the prefix up to its last `/`."""
        return self.prefix[: self.prefix.rfind("/") + 1]

    def address(self, key: str) -> str:
        """Of the object with that key. `object_address` reads it back."""
        return written(self.scheme, self.authority, key)

    def may_read(self, address: ObjectAddress) -> bool:
        """Whether the object lies in the part of the bucket that was declared."""
        return (
            address.scheme == self.scheme
            and address.authority == self.authority
            and address.key.startswith(self.prefix)
        )

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}/{self.prefix}"


def written(scheme: Scheme, authority: str, key: str) -> str:
    """The address of an object."""
    escaped = _ESCAPED.sub(lambda c: "".join(f"%{b:02X}" for b in c[0].encode()), key)
    return f"{scheme}://{authority}/{escaped}"


def object_address(address: str) -> ObjectAddress | None:
    """The parts of an object's address; None if it is none."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    scheme: Scheme = found[1]  # type: ignore[assignment]
    return ObjectAddress(scheme, found[2], unquote(found[3], errors="surrogatepass"))


def plain_address(address: str) -> str | None:
    """An object's address without the service that its bucket belongs to, as events tell it."""
    found = object_address(address)
    if found is None:
        return None
    return written(found.scheme, found.authority.partition("@")[0], found.key)


def declared(buckets: Iterable[Bucket], address: ObjectAddress) -> Bucket | None:
    """The bucket that an object may be read from: of several, that with the longest prefix."""
    fitting = [each for each in buckets if each.may_read(address)]
    return max(fitting, key=lambda each: len(each.prefix), default=None)
