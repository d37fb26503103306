"""Accounts of a run: whatever a source yields, each entry becomes one thing, exactly once.

listed = new + updated + unchanged + skipped + failed
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.pictures import paint

from lookalike_crds.progress import Counts, RunState
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.index.protocol import IndexUnavailable, Point
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.ingest import dispatch, models
from lookalike_serving.ingest import run as running
from lookalike_serving.ingest.sources import Item, LeftOut, Rejected, Skipped, SourceError

ENTRIES = ("image", "same id", "broken", "gone", "rejected", "left out", "no image")
ENDS = ("ends", "listing fails", "listing breaks")

_RUNS = itertools.count()


class Scripted:
    """A source that yields what a test says, under ids that no other test has."""

    def __init__(self, name: str, script: Sequence[str], pictures: Path, end: str = "ends") -> None:
        self.name = name
        self.skipped = Skipped()
        self.version = "1"
        self._script = script
        self._end = end
        self._pictures = pictures
        self._own = f"{next(_RUNS)}-"

    async def list(self) -> AsyncIterator[Any]:
        self.skipped = Skipped()
        for number, what in enumerate(self._script):
            key = f"{self._own}{number}.png"
            picture = self._pictures / f"{number % 4}.png"
            match what:
                case "image":
                    yield self._item(key, key, picture)
                case "same id":
                    yield self._item(key, f"{self._own}same.png", picture)
                case "broken":
                    yield self._item(key, key, self._pictures / "broken.png")
                case "gone":
                    yield self._item(key, key, self._pictures / "not-there.png")
                case "rejected":
                    yield Rejected(key, "cannot be read")
                case "left out":
                    self.skipped.add("left out", key)
                    yield LeftOut(picture.as_uri())
                case "no image":
                    self.skipped.add("no image", key)
        if self._end == "listing fails":
            raise SourceError("the listing broke off")
        if self._end == "listing breaks":
            raise ZeroDivisionError

    def documents(self) -> set[str]:
        """Ids that are to be in the index in the end."""
        ids = {f"{self._own}{n}.png" for n, what in enumerate(self._script) if what == "image"}
        return ids | ({f"{self._own}same.png"} if "same id" in self._script else set())

    def _item(self, key: str, document_id: str, picture: Path) -> Item:
        return Item(key, document_id, picture.as_uri(), self.version, {})


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for number in range(4):
        paint(folder / f"{number}.png", number)
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    return folder


@pytest.fixture
def ingest(place: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(source: Scripted) -> Counts:
        monkeypatch.setattr(running, "open_source", lambda *_: source)
        return place.ingest().sources["disk"]

    loaded = functools.cache(lambda: load_embedder(place.collection.model, place.folder))
    monkeypatch.setattr(models, "load_embedder", lambda *_, **__: loaded())
    monkeypatch.setattr(dispatch, "CHUNK", 2)
    monkeypatch.setattr(running, "LISTED_AT_ONCE", 3)
    return run


def test_what_is_left_is_what_nothing_became_of() -> None:
    counts = Counts(listed=20, new=1, updated=2, unchanged=3, skipped=4, failed=5)
    assert (counts.images, counts.done, counts.left) == (16, 11, 5)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8, deadline=None
)
@given(script=st.lists(st.sampled_from(ENTRIES), max_size=12), end=st.sampled_from(ENDS))
def test_each_entry_becomes_one_thing(
    place: Any, pictures: Path, ingest: Any, script: list[str], end: str
) -> None:
    source = Scripted("disk", script, pictures, end)
    for again in (False, True):
        counts = ingest(source)
        there = len(source.documents())
        kinds = Counter(script)
        assert counts.listed == len(script)
        assert counts.left == 0, counts
        assert (counts.new, counts.unchanged) == ((0, there) if again else (there, 0))
        assert counts.skipped == kinds["left out"] + kinds["no image"]
        assert counts.failed == len(script) - counts.skipped - there
        assert "balance" not in (place.progress().message or "")
    source.version = "2"
    assert ingest(source).updated == there


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8, deadline=None
)
@given(script=st.lists(st.sampled_from(ENTRIES), min_size=4, max_size=12), writes=st.integers(0, 4))
def test_a_run_that_ends_early_says_what_it_left_and_the_next_one_takes_it(
    place: Any, pictures: Path, ingest: Any, script: list[str], writes: int
) -> None:
    source = Scripted("disk", script, pictures)
    left = iter(range(writes))
    whole = RemoteIndex.upsert

    async def upsert(self: RemoteIndex, points: Sequence[Point]) -> None:
        if next(left, None) is None:
            raise IndexUnavailable("gone away")
        await whole(self, points)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(RemoteIndex, "upsert", upsert)
        try:
            first = ingest(source)
        except IndexUnavailable:
            first = place.progress().sources.get("disk", Counts())
            assert first.left >= 0
    second = ingest(source)
    assert second.left == 0
    assert second.new + second.unchanged == len(source.documents())
    # What the first run had written is not embedded again, but for the chunk that it was in.
    assert second.unchanged >= first.new
    assert source.documents() <= set(place.documents())


def test_a_run_whose_accounts_do_not_balance_says_so_and_deletes_nothing(
    place: Any, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    for number in range(3):
        paint(place.images / f"{number}.png", number)
    place.ingest(disk)
    (place.images / "2.png").unlink()
    whole = running.Run._sort_out

    async def loses_one(self: Any, source: str, items: list[Any]) -> None:
        await whole(self, source, items[1:])

    monkeypatch.setattr(running.Run, "_sort_out", loses_one)
    told = place.ingest(disk)
    assert told.state is RunState.COMPLETED_WITH_ERRORS
    assert "the accounts of source disk do not balance: 2 listed, 1 unchanged" in str(told.message)
    assert (told.total.left, told.total.deleted) == (1, 0)
    assert len(place.documents()) == 3
