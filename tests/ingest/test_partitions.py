"""One run shared out to processes: nothing twice, nothing left out, nothing of another's."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.progress import Progress, RunState, total_of
from lookalike_serving.documents.ids import point_id
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run


def ingest(place, partition: Partition, source: dict[str, object] | None = None) -> Progress:
    config = place.config(*([source] if source else []))
    with ProgressWriter(config.progress_file, place.collection.name) as writer:
        asyncio.run(run(config, writer, partition))
    return place.progress()


def all_of(place, count: int, source: dict[str, object] | None = None) -> list[Progress]:
    return [ingest(place, Partition(i, count), source) for i in range(count)]


@given(st.text(), st.integers(1, 1000))
def test_every_document_is_in_exactly_one_partition(document_id: str, count: int) -> None:
    point = point_id("shop", document_id)
    assert sum(Partition(i, count).has(point) for i in range(count)) == 1
    assert sum(Partition(i, count).has_entry(document_id) for i in range(count)) == 1


@pytest.mark.parametrize("count", [2, 3, 64])
def test_documents_are_shared_out_evenly(count: int) -> None:
    points = [point_id("shop", f"{i}.png") for i in range(64_00)]
    shares = [sum(Partition(i, count).has(p) for p in points) for i in range(count)]
    mean = len(points) / count
    assert max(shares) < mean + 6 * mean**0.5


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "a/b", "0/2/3"])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no partition"):
        Partition.parse(text)


def test_partitions_together_ingest_everything_once(place, paint) -> None:
    for i in range(9):
        paint(place.images / f"{i}.png", i)
    (place.images / "notes.pdf").write_bytes(b"%PDF")
    (place.images / "broken.png").write_bytes(b"broken")
    ends = all_of(place, 3)
    total = total_of(p.total for p in ends)
    assert (total.listed, total.new, total.failed, total.skipped) == (11, 9, 1, 1)
    assert all(0 < p.total.new < 9 for p in ends), "9 documents in 3 shares, ids as they are"
    assert set(place.documents()) == {f"{i}.png" for i in range(9)}
    assert ends[-1].documents == 9
    again = total_of(p.total for p in all_of(place, 3))
    assert (again.unchanged, again.new) == (9, 0)


def test_a_partition_deletes_only_what_is_its_own(place, paint) -> None:
    source = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    for i in range(12):
        paint(place.images / f"{i:02d}.png", i)
    all_of(place, 2, source)
    for path in sorted(place.images.iterdir())[1:]:
        path.unlink()
    mine = [f"{i:02d}.png" for i in range(1, 12) if of(f"{i:02d}.png", 2) == 0]
    assert ingest(place, Partition(0, 2), source).total.deleted == len(mine)
    assert set(place.documents()) == {"00.png"} | {f"{i:02d}.png" for i in range(12)} - set(mine)
    ingest(place, Partition(1, 2), source)
    assert set(place.documents()) == {"00.png"}


def test_a_share_without_a_listed_document_still_deletes_its_own(place, paint) -> None:
    """The listing is trusted as a whole: another share's images prove that the folder is there."""
    source = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    paint(place.images / "a.png", 1)
    other = next(f"{i}.png" for i in range(50) if of(f"{i}.png", 2) != of("a.png", 2))
    paint(place.images / other, 2)
    all_of(place, 2, source)
    (place.images / other).unlink()
    all_of(place, 2, source)
    assert set(place.documents()) == {"a.png"}


def test_an_entry_without_an_id_keeps_its_document_in_every_partition(place, paint) -> None:
    """Which document it would be is unknown: the one that came from the same file stays."""
    (place.images / "rows.jsonl").write_text('{"file": "a.png", "sku": "A"}\n')
    for name in ("a.png", "b.png"):
        paint(place.images / name, ord(name[0]))
    disk = {"name": "disk", "volume": {"path": str(place.images)}}
    all_of(place, 2, disk)
    source = {
        **disk,
        "metadata": {"file": "rows.jsonl", "documentId": "sku"},
        "deleteMissing": True,
    }
    ends = all_of(place, 2, source)
    total = total_of(p.total for p in ends)
    assert (total.new, total.failed, total.deleted) == (1, 1, 1)
    assert set(place.documents()) == {"A", "b.png"}
    assert RunState.COMPLETED_WITH_ERRORS in {p.state for p in ends}


def of(document_id: str, count: int) -> int:
    return uuid.UUID(point_id("shop", document_id)).int % count
