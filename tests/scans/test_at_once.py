"""Scans and reports of one collection that meet each other, deletions and cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.duplicates.pictures import edited, photograph
from tests.scans.test_scan import SCANS, encoded, ended, groups, scanned, service_of
from tests.support.configs import collection, serving_config
from tests.support.servers import api_of, client_of

from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.stored import remove_locked
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.problems import Problem
from lookalike_serving.scans import apply as applying
from lookalike_serving.scans import run as running
from lookalike_serving.scans.reading import Reading
from lookalike_serving.scans.record import Control, Keep, Order, Progress, Rule, Scan, ScanState
from lookalike_serving.scans.runner import next_of, scans_of
from lookalike_serving.scans.starting import begin
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.scans.turns import LEASE, Turns

DOCUMENTS = "/v1/collections/photos/documents"
NAMES = ("astronaut.png", "coffee.png")
NOW = datetime(2026, 3, 4, 3, 20, tzinfo=UTC)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def pictures() -> dict[str, bytes]:
    """Three photographs, each with one edit."""
    made = {}
    for name in NAMES:
        pixels = photograph(name, 160)
        made[f"originals/{name}"] = encoded(pixels)
        made[f"copies/{name}"] = encoded(edited(pixels, "half"))
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("data")
    app = api_of(serving_config(folder, collection(folder, "photos")))
    async with client_of(app) as client:
        client.app = app  # type: ignore[attr-defined]
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def photos(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of a collection that has all pictures, and none that a test has deleted."""
    there = await left(client)
    for id, data in pictures().items():
        if id not in there:
            stored = await client.post(
                DOCUMENTS, files={"image": (id, data)}, data={"document_id": id}
            )
            assert stored.status_code == 201, stored.text
    return client


async def left(client: httpx.AsyncClient) -> set[str]:
    return {each["document_id"] for each in (await client.get(DOCUMENTS)).json()["items"]}


async def reviewed(client: httpx.AsyncClient, folder: str) -> Callable[[], Awaitable[Any]]:
    """A report that keeps what is in a folder, after its dry run: what applies it."""
    scan = await scanned(client, keep={"rule": "folders", "folders": [folder]})
    where, asked = f"{SCANS}/{scan['scan_id']}/apply", {"report_id": scan["report_id"]}
    dry = await client.post(where, json=asked)
    assert dry.json()["deleted"] == len(NAMES)
    return lambda: client.post(where, json={**asked, "dry_run": False})


def deleting(id: str) -> Order:
    """As a schedule asks for it."""
    return Order(
        id * 32,
        "photos",
        datetime.now(UTC),
        sensitivity=Sensitivity.BALANCED,
        keep=Keep(Rule.FOLDERS, folders=("originals/",)),
        delete=(Verdict.COPY,),
    )


async def begun(client: httpx.AsyncClient, order: Order) -> None:
    service = service_of(client)
    await begin(await scans_of(service, "photos"), order, service.collection("photos").config)
    client.app.state.scans.look()  # type: ignore[attr-defined]


async def test_of_scans_that_are_asked_for_at_once_one_begins_and_the_others_name_it(
    photos: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(*(photos.post(SCANS, json={}) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [202, 409, 409, 409]
    [one] = [each.json()["scan_id"] for each in answers if each.status_code == 202]
    for each in answers:
        if each.status_code == 409:
            assert each.json()["code"] == "scan-active"
            assert f"{SCANS}/{one}/cancel" in each.json()["detail"]
    assert (await ended(photos, one))["state"] == "COMPLETED"


async def test_a_time_of_a_schedule_begins_one_scan_whoever_sees_it_first(
    photos: httpx.AsyncClient,
) -> None:
    store = await scans_of(service_of(photos), "photos")
    config = service_of(photos).collection("photos").config
    order = replace(deleting("a"), delete=(), planned_for=NOW)
    await begun(photos, order)
    assert (await ended(photos, order.id))["state"] == "COMPLETED"
    again = await begin(store, replace(order, created_at=datetime.now(UTC)), config)
    assert again.state is ScanState.COMPLETED


def scan(id: str, state: ScanState, owner: str | None = None, beat: datetime = NOW) -> Scan:
    order = Order(id * 32, "photos", NOW)
    return Scan(order, Control(), Progress(state=state, owner=owner, heartbeat=beat))


async def test_a_scan_waits_as_long_as_another_replica_runs_an_older_one() -> None:
    waits = scan("b", ScanState.QUEUED)
    runs = scan("a", ScanState.RUNNING, "other")
    assert next_of([waits, runs], "own", alone=False, now=NOW) is None
    killed = NOW + LEASE + timedelta(seconds=1)
    assert next_of([waits, runs], "own", alone=False, now=killed) is runs
    assert next_of([waits, runs], "own", alone=True, now=NOW) is runs
    over = scan("a", ScanState.COMPLETED, "other")
    assert next_of([waits, over], "own", alone=False, now=NOW) is waits


async def test_reports_that_keep_different_documents_are_not_applied_at_once(
    photos: httpx.AsyncClient,
) -> None:
    """Each would delete what the other keeps."""
    applies = [await reviewed(photos, folder) for folder in ("originals/", "copies/")]
    answers = await asyncio.gather(*(apply() for apply in applies))
    assert sorted(each.status_code for each in answers) == [200, 409]
    [refused] = [each.json() for each in answers if each.status_code == 409]
    assert refused["code"] == "apply-active"
    assert {id.partition("/")[2] for id in await left(photos)} == set(NAMES)
    for apply in applies:
        assert (await apply()).json()["deleted"] == 0
    assert len(await left(photos)) == len(NAMES)


async def test_one_report_is_applied_once_at_a_time(photos: httpx.AsyncClient) -> None:
    apply = await reviewed(photos, "originals/")
    answers = await asyncio.gather(apply(), apply())
    assert sorted(each.status_code for each in answers) == [200, 409]
    assert await left(photos) == {f"originals/{name}" for name in NAMES}


async def test_replicas_do_not_apply_two_reports_at_once(photos: httpx.AsyncClient) -> None:
    store = await scans_of(service_of(photos), "photos")
    one, other = [(await scanned(photos, full=True))["scan_id"] for _ in range(2)]
    here, there = Turns("here", alone=False), Turns("there", alone=False)
    async with here.turn(store, "photos", one):
        for id in (one, other):
            with pytest.raises(Problem, match=one):
                async with there.turn(store, "photos", id):
                    raise AssertionError("both have a turn")
    async with there.turn(store, "photos", other):
        pass
    # A process that was killed had a turn until its lease was over.
    found = await store.scan(one)
    assert found is not None
    assert found.turn is None
    async with here.turn(store, "photos", one):
        silent = Turns("there", alone=False, lease=timedelta(0))
        async with silent.turn(store, "photos", other):
            pass


async def test_a_document_stays_if_its_keeper_goes_while_the_report_is_applied(
    photos: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = service_of(photos).collection("photos").index
    apply = await reviewed(photos, "originals/")
    states, keeper = applying._states, f"originals/{NAMES[0]}"

    async def deleted_after(*asked: Any) -> Any:
        found = await states(*asked)
        await index.delete([point_id("photos", keeper)])  # as ingestion does
        return found

    monkeypatch.setattr(applying, "_states", deleted_after)
    told = (await apply()).json()
    assert {each["document_id"]: each["why"] for each in told["told"]} == {
        f"copies/{NAMES[0]}": f"{keeper!r}, which is to be kept instead, was deleted since the "
        "scan: scan again"
    }
    assert told["deleted"] == len(NAMES) - 1


async def test_a_scan_ends_with_a_report_while_documents_are_deleted(
    photos: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike_serving.scans.reading.PICTURES", 2)
    index = service_of(photos).collection("photos").index
    page, rest = Reading.page, sorted(pictures(), key=lambda id: point_id("photos", id))

    async def read(self: Reading, *asked: Any) -> Any:
        """A document that was read goes with each page."""
        found = await page(self, *asked)
        for id in (rest.pop(0),) if len(rest) > 2 else ():
            assert (await photos.delete(f"{DOCUMENTS}/{id.replace('/', '%2F')}")).is_success
        return found

    monkeypatch.setattr(Reading, "page", read)
    told = await scanned(photos, full=True)
    assert (told["state"], len(rest)) == ("COMPLETED", 2)
    where = f"{SCANS}/{told['scan_id']}/apply"
    for dry_run in (True, False):
        asked = {"report_id": told["report_id"], "dry_run": dry_run}
        assert (await photos.post(where, json=asked)).status_code == 200
    assert {id.partition("/")[2] for id in await left(photos)} == {
        id.partition("/")[2] for id in rest
    }
    assert await index.count() == len(await left(photos))


async def test_a_cancelled_scan_deletes_no_more_and_says_how_many_are_gone(
    photos: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_BEAT_SECONDS", 0)
    order = deleting("d")

    async def cancelled_after(*asked: Any, **more: Any) -> None:
        await remove_locked(*asked, **more)
        assert (await photos.post(f"{SCANS}/{order.id}/cancel")).json()["state"] == "CANCELLING"

    monkeypatch.setattr("lookalike_serving.scans.apply.remove_locked", cancelled_after)
    await begun(photos, order)
    told = await ended(photos, order.id)
    assert (told["state"], told["deleted"]) == ("CANCELLED", 1)
    assert len(await left(photos)) == len(pictures()) - 1


async def test_a_cancellation_at_the_very_end_leaves_no_report_or_a_complete_one(
    photos: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_groups, save_progress = ScanStore.save_groups, ScanStore.save_progress
    cancelled: dict[str, str] = {}
    over = asyncio.Event()

    async def cancel(id: str) -> None:
        cancelled[id] = (await photos.post(f"{SCANS}/{id}/cancel")).json()["state"]

    async def with_groups(self: ScanStore, id: str, some: Any) -> None:
        await save_groups(self, id, some)
        await cancel(id)

    async def with_the_end(self: ScanStore, id: str, progress: Progress) -> None:
        await save_progress(self, id, progress)
        if not progress.state.active:
            await cancel(id)
            over.set()

    with monkeypatch.context() as patch:
        patch.setattr(ScanStore, "save_groups", with_groups)
        told = await scanned(photos, full=True)
    assert (cancelled.pop(told["scan_id"]), told["state"]) == ("CANCELLING", "CANCELLED")
    assert told.get("report_id") is None
    with monkeypatch.context() as patch:
        patch.setattr(ScanStore, "save_progress", with_the_end)
        told = await scanned(photos, full=True)
        await over.wait()
    assert (cancelled.pop(told["scan_id"]), told["state"]) == ("COMPLETED", "COMPLETED")
    assert len(await groups(photos, told["scan_id"])) == len(NAMES)


async def test_a_scan_that_deletes_waits_for_a_report_that_is_being_applied(
    photos: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_TURN_SECONDS", 0.02)
    waits = asyncio.Event()
    turn = Turns.turn

    def noted(*asked: Any) -> Any:
        waits.set()
        return turn(*asked)

    runner = photos.app.state.scans  # type: ignore[attr-defined]
    store = await scans_of(service_of(photos), "photos")
    done = (await scanned(photos))["scan_id"]
    order = deleting("e")
    async with runner.turns.turn(store, "photos", done):
        monkeypatch.setattr(Turns, "turn", noted)
        await begun(photos, order)
        await waits.wait()
        await asyncio.sleep(0.05)
        assert len(await left(photos)) == len(pictures())
    assert (await ended(photos, order.id))["deleted"] == len(NAMES)
