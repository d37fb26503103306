"""Records of a collection, the same in an Edge index and on a Qdrant server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.qdrant_server.process import StandIn, running
from tests.support.configs import collection, edge

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.progress import Counts, RunState
from lookalike_serving.batches.record import is_batch_id, is_item_point_id
from lookalike_serving.books.record import (
    Deletion,
    FailedEntry,
    Kind,
    Rejection,
    RunPart,
    Scope,
    decode_part,
    encode,
    runs_of,
)
from lookalike_serving.books.store import Books
from lookalike_serving.copies.dismissals import Dismissal, Dismissals
from lookalike_serving.index.open import open_payload_index

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with running() as server:
        yield server


@pytest.fixture(params=["edge", "qdrant"])
async def both(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Books, Books]]:
    """Books of two collections in one index."""
    place = edge(tmp_path, "batches")
    if request.param == "qdrant":
        server: StandIn = request.getfixturevalue("stand_in")
        place = IndexConfig(
            engine=Engine.QDRANT,
            name=f"batches-{tmp_path.name}",
            url=server.url,
            grpc_port=server.grpc_port,
        )
    index = await open_payload_index(place)
    yield Books(lambda: index, Scope("shop")), Books(lambda: index, Scope("other"))
    await index.drop()
    await index.close()


def entry(key: str, code: str = "image-empty") -> FailedEntry:
    return FailedEntry("disk", key, code, "it is empty", 1, "2026-01-01", "2026-01-01")


async def test_failures_are_each_collections_own(both: tuple[Books, Books]) -> None:
    books, other = both
    await other.note_failures([entry("x.png", "image-corrupt")])
    await books.note_failures([entry(f"{n}.png") for n in range(5)] + [entry("c", "image-corrupt")])
    await books.note_failures([replace(entry("0.png"), last_at="2026-01-03", cause="still")])
    found, after = {}, None
    while True:
        page = await books.failures(after=after, limit=2)
        found |= {each.key: each for each in page.items}
        if (after := page.next) is None:
            break
    assert set(found) == {*(f"{n}.png" for n in range(5)), "c"}
    again = found["0.png"]
    assert (again.attempts, again.first_at, again.last_at, again.cause) == (
        2,
        "2026-01-01",
        "2026-01-03",
        "still",
    )
    assert await books.failures_by_code() == {"image-empty": 5, "image-corrupt": 1}
    assert [e.key for e in (await books.failures(code="image-corrupt")).items] == ["c"]
    await books.settle([id async for id, _, _ in books.failure_ids()])
    assert (await books.failures()).items == ()
    assert len((await other.failures()).items) == 1


async def test_deletions_are_found_by_document(both: tuple[Books, Books]) -> None:
    books, other = both
    made = Deletion("mug", "2026-01-01", "disk", "file:///mug.png", "12-34")
    await books.note_deletions({"p1": made, "p2": Deletion("upload", "2026-01-01")})
    assert await books.deletions_of(["p1", "p3"]) == {"p1": made}
    assert await other.deletions_of(["p1"]) == {}
    assert {each.document_id for each in (await books.deletions()).items} == {"mug", "upload"}
    await books.lift(["p1"])
    assert [each.document_id for each in (await books.deletions()).items] == ["upload"]


async def test_what_was_rejected_as_a_copy_of_a_dismissed_document_is_looked_at_again(
    both: tuple[Books, Books],
) -> None:
    books, other = both
    made = Rejection("12-34", "mug", "ab" * 32, "Strict")
    await books.note_rejection("p1", made)
    await books.note_rejection("p2", replace(made, document="cup"))
    assert await books.rejections_of(["p1", "p3"]) == {"p1": made}
    assert await other.rejections_of(["p1"]) == {}
    said = Dismissal(("mug",), ("ab" * 32,), "2026-01-01", "00ff")
    await Dismissals(books._index, books._scope).note(said)
    assert (await books.rejections_of(["p1", "p2"])).keys() == {"p2"}


async def test_only_the_last_runs_stay(both: tuple[Books, Books]) -> None:
    books, other = both
    for number in range(25):
        for part in range(2):
            at = NOW + timedelta(minutes=number)
            await books.save_run(RunPart(f"r{number}", part, 2, RunState.COMPLETED, at, at))
    await other.save_run(RunPart("theirs", 0, 1, RunState.COMPLETED, NOW, NOW))
    await books.drop_old_runs()
    kept = await books.runs()
    assert [run.id for run in kept] == [f"r{number}" for number in range(24, 4, -1)]
    assert all(run.complete for run in kept)
    assert await books.run_part("r0", 0) is None
    assert len(await other.runs()) == 1


counts = st.builds(Counts, **{name: st.integers(0, 99) for name in Counts.model_fields})
parts = st.builds(
    RunPart,
    run=st.just("r"),
    part=st.integers(0, 5),
    parts=st.just(6),
    state=st.sampled_from(RunState),
    started_at=st.just(NOW),
    updated_at=st.just(NOW),
    attempt=st.integers(1, 7),
    only_failed=st.booleans(),
    reason=st.none() | st.text(min_size=1),
    message=st.none() | st.text(min_size=1),
    sources=st.dictionaries(st.text(min_size=1), counts, max_size=3),
    failures=st.dictionaries(st.text(min_size=1), st.integers(0, 9), max_size=3),
    bytes=st.integers(0, 2**40),
    seconds=st.dictionaries(st.sampled_from(["list", "fetch"]), st.floats(0, 1e6)),
)


@given(parts)
def test_a_run_is_read_as_it_was_written(part: RunPart) -> None:
    assert decode_part(encode(part)) == part


@given(st.lists(parts, min_size=1, max_size=6, unique_by=lambda part: part.part))
def test_a_run_is_the_sum_of_its_parts(some: list[RunPart]) -> None:
    [run] = runs_of(some)
    assert run.counts.listed == sum(c.listed for part in some for c in part.sources.values())
    assert sum(c.left for c in run.sources.values()) == run.counts.left
    assert sum(run.failures.values()) == sum(n for part in some for n in part.failures.values())
    assert run.state.ended == all(part.state.ended for part in some)


@given(st.text(), st.text(), st.sampled_from(Kind))
def test_records_lie_behind_batches_and_beside_their_own(name: str, key: str, kind: Kind) -> None:
    scope, other = Scope(name), Scope(name + "'")
    id = scope.id(kind, key)
    assert scope.has(kind, id)
    assert scope.id_of_first(kind) <= id
    assert not other.has(kind, id)
    assert not any(scope.has(each, id) for each in Kind if each is not kind)
    assert not is_batch_id(id)
    assert not is_item_point_id(id)


def test_on_a_cluster_a_new_collection_of_an_old_name_begins_anew(tmp_path: Path) -> None:
    def shop(**owner: str) -> CollectionConfig:
        place = edge(tmp_path, "i", owner=IndexOwner(name="shop", **owner))
        return collection(tmp_path, "shop", index=place)

    first = Scope.of(shop(namespace="a", uid="1"))
    assert first != Scope.of(shop(namespace="a", uid="2"))
    assert first != Scope.of(shop(namespace="b", uid="1"))
    # On one machine it finds its index again, too.
    assert Scope.of(shop(cluster="x")) == Scope.of(shop(cluster="y"))
