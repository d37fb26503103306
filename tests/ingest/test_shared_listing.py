"""The processes of one run list a bucket together: each key once, whoever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.configs import edge
from tests.support.object_store import keys_of_s3
from tests.support.simulated_bucket import BUCKET, Numbered, SimulatedBucket, running

from lookalike_crds.progress import Counts, total_of
from lookalike_serving.books.listings import Listings, Turn
from lookalike_serving.books.record import Scope
from lookalike_serving.images.buckets import Listed
from lookalike_serving.index.open import open_payload_index
from lookalike_serving.index.protocol import PointStore
from lookalike_serving.ingest import together as reading_together
from lookalike_serving.ingest.listing import decoded, encoded, list_bucket
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.ingest.together import Together

KEYS = 2_500
PAGE = 50
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Bucket:
    """Counts the pages that it is asked for; each takes a moment."""

    def __init__(self, keys: Sequence[str] = Numbered(KEYS)) -> None:
        self.keys = keys
        self.pages = 0
        self.broken: Exception | None = None

    async def list(
        self, prefix: str, start_after: str | None = None
    ) -> AsyncIterator[Sequence[Listed]]:
        wanted = [key for key in self.keys if key > (start_after or "")]
        for at in range(0, len(wanted), PAGE):
            self.pages += 1
            await asyncio.sleep(0.002)
            if self.broken is not None:
                raise self.broken
            yield [Listed(key, 1, NOW, "1") for key in wanted[at : at + PAGE]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[PointStore]:
    index = await open_payload_index(edge(tmp_path, "batches"))
    yield index
    await index.close()


def listings(store: PointStore, run: str = "job-1") -> Listings:
    return Listings(lambda: store, Scope("shop"), run)


async def go_through(together: Together, bucket: Any, pause: float = 0.0) -> list[str]:
    found: list[str] = []
    async for page in list_bucket(bucket, together, "cloud", "", None):
        found += [each.key for each in page]
        await asyncio.sleep(pause)
    return found


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_all_see_every_key_in_order_and_one_lists(store: PointStore, count: int) -> None:
    bucket = Bucket()
    some = [Together(listings(store)) for _ in range(count)]
    # One is slow with what it does with its keys, which the others do not wait for.
    found = await asyncio.gather(
        *(go_through(each, bucket, 0.02 if n == 0 else 0.0) for n, each in enumerate(some))
    )
    assert all(keys == list(bucket.keys) for keys in found)
    assert bucket.pages <= 1.2 * KEYS / PAGE


async def test_a_process_that_comes_later_reads_what_others_have_listed(store: PointStore) -> None:
    bucket = Bucket()
    await go_through(Together(listings(store)), bucket)
    pages = bucket.pages
    assert await go_through(Together(listings(store)), bucket) == list(bucket.keys)
    assert bucket.pages == pages
    # Another run lists anew.
    assert await go_through(Together(listings(store, "job-2")), bucket) == list(bucket.keys)
    assert bucket.pages == 2 * pages


async def test_when_the_one_that_lists_is_killed_another_goes_on(
    store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket()
    first, second = listings(store), listings(store)

    async def nothing(place: str) -> None:
        """A process that is killed says nothing."""

    monkeypatch.setattr(first, "end_turn", nothing)
    async with AsyncExitStack() as ending:
        killed = Together(first, silent_seconds=0.5)
        pages = list_bucket(bucket, killed, "cloud", "", None)  # type: ignore[arg-type]
        await anext(pages)
        survivor = Together(second, silent_seconds=0.5)
        going = asyncio.ensure_future(go_through(survivor, bucket))
        ending.callback(going.cancel)
        await asyncio.sleep(0.05)
        await killed.close()
        assert await going == list(bucket.keys)
    assert bucket.pages <= 1.2 * KEYS / PAGE


async def test_one_that_was_asleep_leaves_the_listing_to_the_one_that_took_over(
    store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_together, "BEAT_SECONDS", 0.05)
    bucket = Bucket(Numbered(KEYS * 4))
    sleeper = Together(listings(store))
    going = asyncio.ensure_future(go_through(sleeper, bucket))
    await asyncio.sleep(0.5)
    place = "\x00".join(("cloud", "", ""))
    await listings(store).take_turn(place, Turn("another", 1))
    await asyncio.sleep(0.3)
    pages = bucket.pages
    await asyncio.sleep(0.3)
    assert bucket.pages == pages, "it has stopped"
    await listings(store).end_turn(place)
    assert await going == list(bucket.keys)


async def test_why_a_bucket_cannot_be_listed_reaches_every_process(store: PointStore) -> None:
    bucket = Bucket()
    bucket.broken = RuntimeError("no such bucket")
    some = [Together(listings(store)) for _ in range(2)]
    ends = await asyncio.gather(
        *(go_through(each, bucket) for each in some), return_exceptions=True
    )
    assert [str(each) for each in ends] == ["no such bucket"] * 2


async def test_pages_of_ended_runs_are_forgotten(store: PointStore) -> None:
    bucket = Bucket()
    for job in ("job-1", "job-2"):
        await go_through(Together(listings(store, job)), bucket)
    await listings(store).drop_others({"job-2"})
    pages = bucket.pages
    await go_through(Together(listings(store, "job-2")), bucket)
    assert bucket.pages == pages
    await listings(store).drop_others(())
    assert await store.count() == 0


@given(
    st.lists(
        st.builds(
            Listed,
            key=st.text(min_size=1),
            bytes=st.integers(0, 2**50),
            modified=st.integers(-(10**15), 10**15).map(
                lambda n: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=n)
            ),
            version=st.text(),
            archived=st.none() | st.sampled_from(["GLACIER", "DEEP_ARCHIVE"]),
        )
    )
)
def test_a_page_is_read_as_it_was_written(page: list[Listed]) -> None:
    assert decoded(encoded(page)) == page


# --- whole runs ---------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path, paint: Any) -> Iterator[SimulatedBucket]:
    """A bucket of few pictures, in three pages of keys that no source takes."""
    (tmp_path / "painted").mkdir()
    bodies = {f"images/{n:02d}.png": paint(tmp_path / f"painted/{n}.png", n) for n in range(12)}
    data = {key: path.read_bytes() for key, path in bodies.items()}
    data["images/broken.png"] = b"broken"
    others = [f"{n:05d}.txt" for n in range(2_000)]
    with running(SimulatedBucket(sorted([*others, *data]), data.get)) as bucket:
        yield bucket


def all_parts(place: Any, source: dict[str, Any], count: int) -> Counts:
    """The sum of all parts, which run at the same time as those of a Job do."""
    config = place.config(source)

    async def part(number: int, writer: ProgressWriter) -> None:
        await run(config, writer, Partition(number, count))

    async def whole() -> Counts:
        with ExitStack() as open_:
            writers = [
                open_.enter_context(ProgressWriter(place.folder / f"{n}.json", "shop"))
                for n in range(count)
            ]
            await asyncio.gather(*(part(n, writer) for n, writer in enumerate(writers)))
            return total_of(writer.progress.total for writer in writers)

    return asyncio.run(whole())


def test_parts_of_a_run_ask_for_each_key_once_and_their_accounts_balance(
    place: Any, pictures: SimulatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys_of_s3(place.folder / "secrets")
    source = {
        "name": "cloud",
        "s3": {"bucket": BUCKET, "endpoint": pictures.url, "credentialsSecretRef": "keys"},
        "deleteMissing": True,
    }
    monkeypatch.setenv("LOOKALIKE_RUN", "job-1")
    total = all_parts(place, source, 3)
    assert (total.listed, total.skipped, total.new, total.failed) == (2_013, 2_000, 12, 1)
    assert total.left == 0
    assert pictures.calls["LIST"] == 3
    assert pictures.calls["GET"] == 13

    monkeypatch.setenv("LOOKALIKE_RUN", "job-2")
    pictures.keys = [key for key in pictures.keys if key != "images/03.png"]
    total = all_parts(place, source, 3)
    assert (total.unchanged, total.deleted, total.failed, total.left) == (11, 1, 1, 0)
    assert pictures.calls["LIST"] == 6
    assert len(place.documents()) == 11
