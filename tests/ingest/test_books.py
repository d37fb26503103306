"""Records of ingestion beside the index: runs, failures, deletions – asked for through the API."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.cli.command import Command

from lookalike import Lookalike
from lookalike_crds.progress import Counts, RunState, total_of
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run


def get(place: Any, what: str, **params: Any) -> dict[str, Any]:
    answer = httpx.get(f"{place.url}/v1/collections/shop/{what}", params=params)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def failures(place: Any) -> dict[str, dict[str, Any]]:
    return {each["key"]: each for each in get(place, "failures")["items"]}


def delete(place: Any, document_id: str, **params: Any) -> int:
    where = f"{place.url}/v1/collections/shop/documents/{document_id}"
    return httpx.delete(where, params=params).status_code


def retried(place: Any) -> Counts:
    config = place.config()
    with ProgressWriter(config.progress_file, "shop") as writer:
        asyncio.run(run(config, writer, only_failed=True))
    return place.progress().total


def test_a_run_is_recorded_with_its_balance_bytes_and_seconds(place: Any, paint: Any) -> None:
    for number in range(3):
        paint(place.images / f"{number}.png", number)
    (place.images / "broken.png").write_bytes(b"broken")
    (place.images / "notes.txt").write_text("x")
    place.ingest()
    [one] = get(place, "runs")["items"]
    assert one["state"] == "COMPLETED_WITH_ERRORS"
    assert one["balance"] == {
        "listed": 5,
        "new": 3,
        "updated": 0,
        "unchanged": 0,
        "skipped": 1,
        "failed": 1,
        "left": 0,
    }
    assert [(f["code"], f["count"]) for f in one["failures"]] == [("image-not-an-image", 1)]
    assert one["bytes"] == sum(path.stat().st_size for path in place.images.glob("*.png"))
    assert set(one["seconds"]) == {"list", "fetch", "decode", "embed", "write"}
    # Of so few files, a stage may take less than the millisecond to which they are rounded.
    assert sum(one["seconds"].values()) > 0


def test_the_last_twenty_runs_are_kept(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike_serving.books.store.KEPT_RUNS", 2)
    for _ in range(4):
        place.ingest()
    kept = get(place, "runs")["items"]
    assert len(kept) == 2
    assert kept[0]["started_at"] > kept[1]["started_at"]


def test_partitions_of_a_run_are_one(
    place: Any, paint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_RUN", "job-1")
    for number in range(6):
        paint(place.images / f"{number}.png", number)
    totals = []
    for index in range(2):
        config = place.config()
        with ProgressWriter(config.progress_file, "shop") as writer:
            asyncio.run(run(config, writer, Partition(index, 2)))
        totals.append(place.progress().total)
    [one] = get(place, "runs")["items"]
    assert (one["run_id"], one["parts"], one["attempts"]) == ("job-1", 2, 1)
    assert one["balance"]["new"] == total_of(totals).new == 6
    # A pod that is started again is the same part once more.
    with ProgressWriter(config.progress_file, "shop") as writer:
        asyncio.run(run(config, writer, Partition(1, 2)))
    [one] = get(place, "runs")["items"]
    assert one["attempts"] == 2


def test_a_failure_is_kept_until_its_image_is_in(place: Any, paint: Any) -> None:
    (place.images / "a.png").write_bytes(b"broken")
    (place.images / "b.png").write_bytes(b"")
    paint(place.images / "c.png", 3)
    place.ingest()
    first = failures(place)
    assert {key: each["code"] for key, each in first.items()} == {
        "a.png": "image-not-an-image",
        "b.png": "image-empty",
    }
    assert first["a.png"]["remedy"] == "Send an image file."
    counted = get(place, "failures")["by_code"]
    assert {each["code"]: each["count"] for each in counted} == {
        "image-not-an-image": 1,
        "image-empty": 1,
    }
    place.ingest()
    again = failures(place)["a.png"]
    assert (again["attempts"], again["first_at"]) == (2, first["a.png"]["first_at"])
    assert again["last_at"] > first["a.png"]["last_at"]

    paint(place.images / "a.png", 1)
    (place.images / "b.png").unlink()
    place.ingest()
    assert failures(place) == {}


def test_failures_are_paged_and_asked_for_by_code(place: Any) -> None:
    for number in range(7):
        (place.images / f"{number}.png").write_bytes(b"broken" if number % 2 else b"")
    place.ingest()
    found, cursor = [], None
    while True:
        page = get(place, "failures", limit=3, **({"cursor": cursor} if cursor else {}))
        assert ("by_code" in page) == (cursor is None)
        found += [each["key"] for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert sorted(found) == [f"{number}.png" for number in range(7)]
    some = get(place, "failures", code="image-empty")["items"]
    assert sorted(each["key"] for each in some) == ["0.png", "2.png", "4.png", "6.png"]
    wrong = httpx.get(f"{place.url}/v1/collections/shop/failures", params={"code": "x"})
    assert wrong.status_code == 422


def test_failures_are_retried_alone(place: Any, paint: Any) -> None:
    for number in range(3):
        paint(place.images / f"{number}.png", number)
    (place.images / "broken.png").write_bytes(b"broken")
    (place.images / "notes.txt").write_text("x")
    place.ingest()
    paint(place.images / "new.png", 9)
    paint(place.images / "broken.png", 8)
    total = retried(place)
    assert (total.listed, total.new, total.left) == (1, 1, 0)
    assert set(place.documents()) == {"0.png", "1.png", "2.png", "broken.png"}
    assert failures(place) == {}
    assert [each["only_failed"] for each in get(place, "runs")["items"]] == [True, False]


def test_a_mended_row_is_retried_although_it_had_no_name(place: Any, paint: Any) -> None:
    paint(place.images / "a.png", 1)
    paint(place.images / "b.png", 2)
    manifest = place.images / "rows.jsonl"
    manifest.write_text('{"url": "a.png"}\n{"url": "b.pn\n')
    source = {"name": "rows", "urls": {"manifest": str(manifest)}}
    total = place.ingest(source).total
    assert (total.listed, total.new, total.failed) == (2, 1, 1)
    [only] = failures(place).values()
    assert only["code"] == "entry-unreadable"
    manifest.write_text('{"url": "a.png"}\n{"url": "b.png"}\n')
    config = place.config(source)
    with ProgressWriter(config.progress_file, "shop") as writer:
        asyncio.run(run(config, writer, only_failed=True))
    assert set(place.documents()) == {"a.png", "b.png"}
    assert failures(place) == {}


def test_a_deleted_document_stays_away_until_its_image_changes(place: Any, paint: Any) -> None:
    for number in range(3):
        paint(place.images / f"{number}.png", number)
    place.ingest()
    assert delete(place, "1.png") == 204
    [deletion] = get(place, "deletions")["items"]
    assert (deletion["document_id"], deletion["source"]) == ("1.png", "disk")
    for _ in range(2):
        total = place.ingest().total
        assert (total.unchanged, total.skipped, total.left) == (2, 1, 0)
        assert set(place.documents()) == {"0.png", "2.png"}
    [skipped] = place.progress().skipped
    assert "somebody deleted" in skipped.cause
    paint(place.images / "1.png", 7)
    assert place.ingest().total.new == 1
    assert set(place.documents()) == {"0.png", "1.png", "2.png"}
    assert get(place, "deletions")["items"] == []


def test_a_document_that_is_deleted_while_its_row_is_read_fails_alone(
    place: Any, paint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        paint(place.images / f"{number}.png", number)

    def disk(status: str) -> dict[str, Any]:
        rows = "".join(f"{number}.png,{status}\n" for number in range(3))
        (place.images / "rows.csv").write_text("file,status\n" + rows)
        volume = {"path": str(place.images)}
        return {"name": "disk", "volume": volume, "metadata": {"file": "rows.csv"}}

    place.ingest(disk("new"))
    whole = RemoteIndex.replace_payload

    async def replace_payload(self: RemoteIndex, id: str, payload: dict[str, Any]) -> None:
        if payload["_lookalike"]["document_id"] == "1.png":
            assert await asyncio.to_thread(delete, place, "1.png") == 204
        await whole(self, id, payload)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(RemoteIndex, "replace_payload", replace_payload)
        total = place.ingest(disk("sold")).total
    assert (total.updated, total.failed, total.left) == (2, 1, 0)
    assert [each["code"] for each in failures(place).values()] == ["index-refused"]
    total = place.ingest(disk("sold")).total
    assert (total.unchanged, total.skipped, total.failed) == (2, 1, 0)
    assert failures(place) == {}


def test_a_deletion_is_lifted(place: Any, paint: Any) -> None:
    paint(place.images / "a b.png", 1)
    place.ingest()
    assert delete(place, "a%20b.png") == 204
    where = f"{place.url}/v1/collections/shop/deletions/a%20b.png"
    assert httpx.delete(where).status_code == 204
    assert httpx.delete(where).status_code == 404
    assert place.ingest().total.new == 1
    # Deleted and forgotten in one: the next run brings it again.
    assert delete(place, "a%20b.png", forget="true") == 204
    assert place.ingest().total.new == 1
    # Deleted, and forgotten later.
    assert delete(place, "a%20b.png") == 204
    assert delete(place, "a%20b.png") == 404
    assert delete(place, "a%20b.png", forget="true") == 204
    assert place.ingest().total.new == 1


def test_documents_are_deleted_by_filter_and_stay_away(place: Any, paint: Any) -> None:
    rows = ["file,status"]
    for number in range(5):
        paint(place.images / f"{number}.png", number)
        rows.append(f"{number}.png,{'old' if number < 3 else 'new'}")
    (place.images / "rows.csv").write_text("\n".join(rows))
    disk = {
        "name": "disk",
        "volume": {"path": str(place.images)},
        "metadata": {"file": "rows.csv"},
    }
    place.ingest(disk)
    where = f"{place.url}/v1/collections/shop/documents"
    assert httpx.delete(where).status_code == 422, "everything is not deleted by mistake"
    assert httpx.delete(where, params={"filters": "{}"}).status_code == 422
    asked = {"filters": '{"status": "old"}'}
    told = httpx.delete(where, params={**asked, "dry_run": "true"}).json()
    assert told == {"deleted": 0, "remaining": 3}
    assert len(place.documents()) == 5
    assert httpx.delete(where, params=asked).json() == {"deleted": 3, "remaining": 0}
    assert place.ingest(disk).total.skipped == 3
    assert set(place.documents()) == {"3.png", "4.png"}
    assert len(get(place, "deletions")["items"]) == 3


def test_commands_and_client_tell_the_same(
    place: Any,
    paint: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lookalike = Command(monkeypatch, capsys)
    at = ("--url", place.url)
    assert "No run yet." in lookalike("runs", *at).out
    assert "None." in lookalike("failures", *at).out
    paint(place.images / "a.png", 1)
    for name in ("b.png", "c.png"):
        (place.images / name).write_bytes(b"")
    place.ingest()

    shown = lookalike("runs", *at).out
    assert "COMPLETED_WITH_ERRORS" in shown
    assert "2 failed: image-empty." in shown
    [run_] = lookalike("runs", "--output", "json", *at).json
    assert (run_["balance"]["listed"], run_["balance"]["left"]) == (3, 0)
    shown = lookalike("failures", "--limit", "1", *at).out
    assert "image-empty: Send the file's content." in shown
    assert "There are more" in shown
    assert len(lookalike("failures", "--output", "json", *at).json) == 2
    assert lookalike("failures", "--retry", *at).code == 2
    shown = lookalike("status", *at).out
    assert "shop: 2 not ingested (2 image-empty): `lookalike failures` lists them" in shown

    with Lookalike(place.url) as client:
        counts = client.collections.failure_counts("shop")
        assert [(each.code, each.count) for each in counts] == [("image-empty", 2)]
        failed = client.collections.failures("shop", code="image-empty", limit=1)
        assert {each.key for each in failed} == {"b.png", "c.png"}
        unsold = {"NOT": [{"key": "status", "operator": "exists", "value": True}]}
        matching = client.documents.delete_matching("shop", unsold, dry_run=True)
        assert (matching.deleted, matching.remaining) == (0, 1)
        client.documents.delete("shop", "a.png")
        assert [each.document_id for each in client.collections.deletions("shop")] == ["a.png"]
        client.documents.restore("shop", "a.png")
        assert list(client.collections.deletions("shop")) == []
        assert [each.balance.new for each in client.collections.runs("shop")] == [1]


def test_a_run_that_is_killed_is_told_as_interrupted(place: Any, paint: Any) -> None:
    from datetime import UTC, datetime, timedelta

    from lookalike_serving.books.record import RunPart, runs_of

    then = datetime.now(UTC) - timedelta(minutes=5)
    part = RunPart("r", 0, 1, RunState.RUNNING, then, then)
    [one] = runs_of([part])
    assert one.interrupted(datetime.now(UTC))
    assert not one.interrupted(then + timedelta(seconds=30))
