"""Bytes by their address: one reader for queries, uploads, ingestion and documents.

    address --its scheme--> the place that has the bytes --> as many as the policy allows

| scheme          | place            | who may name it                                           |
|-----------------|------------------|-----------------------------------------------------------|
| `https`, `http` | `fetch.py`       | everybody                                                 |
| `data`, none    | `inline.py`      | callers: the bytes are in the request itself              |
| `file`          | `local_files.py` | sources; documents, inside the folders that may be served |
| `s3` `gs` `az`  | `buckets/`       | everybody, inside the buckets that sources declare        |
| `upload`        | `store.py`       | documents                                                 |

A new kind of place is one file with a `Place`, and one line in `remote_places` or where only some
may name it. Callers are strangers: what they name is read with no rights but a stranger's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from lookalike_crds.buckets import Bucket
from lookalike_serving.images.buckets import Buckets, LabelKinds
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import Fetched, ImageFetcher, Validators, shown
from lookalike_serving.images.inline import Inline
from lookalike_serving.images.local_files import LocalFiles
from lookalike_serving.images.patience import HostLimits, PatientFetcher

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")
_REMOTE = frozenset({"https", "http", *Buckets.schemes})


class Place(Protocol):
    """Reads the bytes at addresses of some schemes."""

    async def read(self, address: str) -> bytes:
        """The bytes there. Raises ImageError, also if they are more than the policy allows."""
        ...


class Reader:
    """Reads the bytes at any address whose scheme has a place; `""` is what has no scheme."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places

    async def read(self, address: str) -> bytes:
        """Raises ImageError: `forbidden_scheme`, and whatever the place raises."""
        return await self._place(address).read(address)

    async def read_unless(self, address: str, known: Validators) -> Fetched | None:
        """The bytes and, of the web, their validators; None if what is there is still what the
        given validators are of. Raises what `read` raises."""
        place = self._place(address)
        if isinstance(place, PatientFetcher):
            return await place.read_unless(address, known)
        return Fetched(await place.read(address), None, address)

    async def labels(self, address: str, kinds: LabelKinds) -> Mapping[str, str]:
        """The labels of the object at an address in a bucket. Raises what `read` raises."""
        place = self._place(address)
        return await place.labels(address, kinds) if isinstance(place, Buckets) else {}

    async def version(self, address: str) -> str | None:
        """Changes when what is there does; None if that cannot be told without reading it, as of
        the web. Raises what `read` raises."""
        place = self._place(address)
        return await place.version(address) if isinstance(place, Buckets) else None

    def _place(self, address: str) -> Place:
        """Raises ImageError."""
        scheme = scheme_of(address)
        place = self._places.get(scheme)
        if place is None:
            allowed = " or ".join(map(_as_written, filter(None, self._places)))
            raise ImageError(
                Code.FORBIDDEN_SCHEME,
                f"{shown(address)} has the scheme {scheme or '(none)'!r}: use {allowed}",
            )
        return place


def for_callers(fetcher: ImageFetcher, buckets: Buckets | None = None) -> Reader:
    """What a request may name: an address of the web, an object of a bucket that a source declares,
    a data URL, base64. Never a file of ours."""
    inline = Inline(fetcher.policy.max_bytes)
    return Reader({**remote_places(fetcher, buckets), "data": inline, "": inline})


def for_sources(
    fetcher: ImageFetcher, buckets: Iterable[Bucket] = (), limits: HostLimits = HostLimits()
) -> Reader:
    """What a source may list: the operator of the service has named the source."""
    most = fetcher.policy.max_bytes
    patient = dict.fromkeys(fetcher.policy.schemes, PatientFetcher(fetcher, limits))
    remote = {**remote_places(fetcher, Buckets(buckets, most)), **patient}
    return Reader({**remote, "file": LocalFiles(most)})


def remote_places(fetcher: ImageFetcher, buckets: Buckets | None = None) -> dict[str, Place]:
    """Scheme -> place, of all places beyond this machine that sources and documents may name."""
    web: dict[str, Place] = dict.fromkeys(fetcher.policy.schemes, fetcher)
    return web if buckets is None else {**web, **dict.fromkeys(buckets.schemes, buckets)}


def is_remote(address: str) -> bool:
    """Whether an address leads to a place beyond this machine."""
    return scheme_of(address) in _REMOTE


def scheme_of(address: str) -> str:
    """In lower case; empty if the address has none."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def _as_written(scheme: str) -> str:
    return f"{scheme}:" if scheme in {"data", "upload"} else f"{scheme}://"
