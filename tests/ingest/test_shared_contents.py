"""The processes of one run read what is in archives together: each header once."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ingest.test_archives import BLUE, RED, SHARD, tar
from tests.ingest.test_shared_listing import all_parts
from tests.support.configs import edge
from tests.support.object_store import keys_of_s3
from tests.support.simulated_bucket import BUCKET, Asked, SimulatedBucket, running

from lookalike_crds.config import FetchPolicy
from lookalike_crds.sources import SourceSpec
from lookalike_serving.books.listings import Listings
from lookalike_serving.books.record import Scope
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.index.open import open_payload_index
from lookalike_serving.ingest.sources import Entry, Source, contents, open_source
from lookalike_serving.ingest.together import Together


def parquet(**columns: list[Any]) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made, row_group_size=2)
    return made.getvalue()


DAMAGED = tar({"1.jpg": RED, "2.jpg": BLUE})
FILES = {
    "a/1.tar": tar(SHARD),
    "a/2.tar": DAMAGED[: len(DAMAGED) // 2 - 700],
    "c.parquet": parquet(image=[RED, BLUE, RED], price=[1, 2, 3]),
    "d.parquet": parquet(price=[1]),
    "e.tar": tar({f"{n:03d}.jpg": RED for n in range(150)}),
    "f.tar": b"",
    "g.jpg": RED,
}


@pytest.fixture
def bucket() -> Iterator[tuple[SimulatedBucket, Counter[str]]]:
    reads: Counter[str] = Counter()

    def count(asked: Asked) -> None:
        if asked.what == "GET":
            reads[asked.key] += 1

    with running(
        SimulatedBucket(sorted(FILES), FILES.get, lambda key: len(FILES[key]), fault=count)
    ) as made:
        yield made, reads


def source(url: str, folder: Path, together: Together | None) -> Source:
    keys_of_s3(folder / "secrets")
    spec = SourceSpec.model_validate(
        {
            "name": "cloud",
            "s3": {
                "bucket": BUCKET,
                "endpoint": url,
                "credentialsSecretRef": "keys",
                "archives": True,
            },
        }
    )
    as_bucket = spec.kind.as_bucket(folder / "secrets")
    assert as_bucket is not None
    reader = for_sources(ImageFetcher(FetchPolicy()), (as_bucket,))
    return open_source(spec, (), folder, reader, folder / "secrets", together)


async def listed(one: Source) -> tuple[list[Entry], Counter[str]]:
    return [entry async for entry in one.list()], one.skipped.counts


@pytest.fixture
async def listings(tmp_path: Path) -> AsyncIterator[Listings]:
    index = await open_payload_index(edge(tmp_path, "batches"))
    yield Listings(lambda: index, Scope("shop"), "job-1")
    await index.close()


@pytest.mark.parametrize("count", [2, 4])
async def test_each_file_is_read_once_and_all_are_told_the_same(
    bucket: tuple[SimulatedBucket, Counter[str]],
    listings: Listings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    monkeypatch.setattr(contents, "_PAGE_ENTRIES", 40)
    server, reads = bucket
    alone = await listed(source(server.url, tmp_path, None))
    once, listing = Counter(reads), server.calls["LIST"]
    assert once["a/1.tar"] == 1
    reads.clear()
    every = await asyncio.gather(
        *(listed(source(server.url, tmp_path, Together(listings))) for _ in range(count))
    )
    assert all(each == alone for each in every)
    assert reads == once
    assert server.calls["LIST"] == 2 * listing


async def test_when_the_one_that_reads_is_killed_another_goes_on_from_its_page(
    bucket: tuple[SimulatedBucket, Counter[str]],
    listings: Listings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contents, "_PAGE_ENTRIES", 40)
    server, reads = bucket
    alone = await listed(source(server.url, tmp_path, None))
    reads.clear()
    ended = asyncio.Event()
    write = listings.write

    async def written(place: str, after: str, page: str) -> None:
        await write(place, after, page)
        if after.startswith('["e.tar"') and after.endswith(" 40]"):
            ended.set()
            await asyncio.Event().wait()

    async def nothing(place: str) -> None:
        """A process that is killed says nothing."""

    first = Listings(listings._index, listings._scope, "job-1")
    monkeypatch.setattr(first, "write", written)
    monkeypatch.setattr(first, "end_turn", nothing)
    async with AsyncExitStack() as ending:
        killed = Together(first, silent_seconds=0.5)
        going = asyncio.ensure_future(listed(source(server.url, tmp_path, killed)))
        ending.callback(going.cancel)
        await ended.wait()
        await killed.close()
        going.cancel()
        survivor = Together(listings, silent_seconds=0.5)
        assert await listed(source(server.url, tmp_path, survivor)) == alone
    assert reads["a/1.tar"] == 1
    assert reads["e.tar"] == 2


def test_the_accounts_of_parts_that_share_archives_balance(
    place: Any, bucket: tuple[SimulatedBucket, Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, reads = bucket
    keys_of_s3(place.folder / "secrets")
    shards = {
        "name": "cloud",
        "s3": {
            "bucket": BUCKET,
            "endpoint": server.url,
            "credentialsSecretRef": "keys",
            "archives": True,
            "prefix": "a/",
        },
    }
    monkeypatch.setenv("LOOKALIKE_RUN", "job-1")
    total = all_parts(place, shards, 3)
    # Of the first archive three images, one with bad metadata, one other file; of the second,
    # which is damaged, one image.
    assert (total.listed, total.new, total.failed, total.skipped) == (7, 4, 2, 1)
    assert reads["a/1.tar"] == 1 + 3, "its headers, and each of its images"
    assert reads["a/2.tar"] == 1 + 1
