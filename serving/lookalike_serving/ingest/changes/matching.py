"""Which sources an object lies in, by what a service of buckets tells of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookalike_crds.buckets import Scheme
from lookalike_crds.config import CollectionSources


@dataclass(frozen=True, slots=True)
class ObjectNotice:
    """An object that was made, changed or removed."""

    scheme: Scheme
    bucket: str
    """Of Azure: the container."""
    key: str
    account: str | None = None
    """Of Azure."""

    def __str__(self) -> str:
        at = f"@{self.account}" if self.account else ""
        return f"{self.scheme}://{self.bucket}{at}/{self.key}"


def sources_of(
    notice: ObjectNotice, collection: CollectionSources
) -> tuple[list[tuple[str, str]], str | None]:
    """(source, key within it) of each source that the object may lie in, and if there is none, why.

    A notice does not say at which endpoint its bucket is: of buckets of one name each is looked at.
    """
    found: list[tuple[str, str]] = []
    why = "lies in no bucket that a source declares"
    for source in collection.sources:
        bucket = source.kind.as_bucket(collection.secrets_dir)
        if bucket is None or bucket.scheme != notice.scheme or bucket.name != notice.bucket:
            continue
        if None not in (notice.account, bucket.account) and notice.account != bucket.account:
            continue
        if not notice.key.startswith(bucket.prefix):
            why = "lies outside of the prefix of every source of its bucket"
            continue
        key = notice.key[len(bucket.root) :]
        if key and not key.endswith("/"):
            found.append((source.name, key))
        else:
            why = "stands for a folder"
    return found, None if found else why


def of_collection(declared: Iterable[CollectionSources], name: str) -> CollectionSources:
    """The sources of a collection whose changes are followed."""
    for each in declared:
        if each.collection == name:
            return each
    return CollectionSources(collection=name, sources=())
