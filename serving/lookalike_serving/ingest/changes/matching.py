"""Which sources an object lies in, by what a service of buckets tells of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookalike_crds.buckets import Bucket, Scheme, written
from lookalike_crds.config import CollectionSources
from lookalike_crds.source_kinds import UrlsSource
from lookalike_crds.sources import SourceSpec


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
    Any manifest may name an object of a declared bucket.
    """
    found: list[tuple[str, str]] = []
    why = "lies in no bucket that a source declares"
    secrets = collection.secrets_dir
    buckets = [
        bucket
        for source in collection.sources
        for bucket in (source.kind.as_bucket(secrets), _of_manifest(source))
        if bucket is not None and _is_of(notice, bucket)
    ]
    for source in collection.sources:
        if isinstance(source.kind, UrlsSource):
            lies = _of_manifest(source)
            if (
                lies is not None
                and lies in buckets
                and lies.address(notice.key) == (source.kind.address)
            ):
                found.append((source.name, source.kind.manifest))
            elif any(notice.key.startswith(bucket.prefix) for bucket in buckets):
                found.append((source.name, written(notice.scheme, notice.bucket, notice.key)))
            continue
        bucket = source.kind.as_bucket(secrets)
        if bucket is None or not _is_of(notice, bucket):
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


def _of_manifest(source: SourceSpec) -> Bucket | None:
    """The folder of a bucket that the source's manifest lies in, if it has one and it does."""
    kind = source.kind
    return kind.manifest_bucket(None) if isinstance(kind, UrlsSource) else None


def _is_of(notice: ObjectNotice, bucket: Bucket) -> bool:
    if (bucket.scheme, bucket.name) != (notice.scheme, notice.bucket):
        return False
    return None in (notice.account, bucket.account) or notice.account == bucket.account


def of_collection(declared: Iterable[CollectionSources], name: str) -> CollectionSources:
    """The sources of a collection whose changes are followed."""
    for each in declared:
        if each.collection == name:
            return each
    return CollectionSources(collection=name, sources=())
