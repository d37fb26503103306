"""A scan of a collection, through the API: from uploads to the deletion of duplicates."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from PIL import Image
from tests.duplicates.pictures import edited, photograph
from tests.support.configs import collection, serving_config
from tests.support.servers import api_of, client_of

from lookalike_crds.config import ServingConfig
from lookalike_serving.documents.ids import point_id
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.scans.pictures import Pictures
from lookalike_serving.scans.reading import Reading
from lookalike_serving.scans.record import Keep, Order, Rule
from lookalike_serving.scans.runner import scans_of
from lookalike_serving.scans.starting import begin
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.service import Service

NAMES = ("astronaut.png", "chelsea.png", "coffee.png")
_COPIES = ("half", "mirrored")
SCANS = "/v1/collections/photos/duplicate-scans"


def encoded(pixels: Any, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    """Three photographs, each in its own group with two edits; the first with a copy of its pixels
    as well; and one that is alone."""
    made = {}
    for name in NAMES:
        pixels = photograph(name, 240)
        made[f"originals/{name}"] = encoded(pixels)
        for edit in _COPIES:
            made[f"copies/{edit}-{name}"] = encoded(edited(pixels, edit))
    made["copies/same-pixels.tif"] = encoded(photograph(NAMES[0], 240), "TIFF")
    made["originals/alone.png"] = encoded(photograph("page.png", 240))
    return made


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServingConfig:
    folder = tmp_path_factory.mktemp("data")
    return serving_config(folder, collection(folder, "photos"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(config: ServingConfig) -> AsyncIterator[httpx.AsyncClient]:
    app = api_of(config)
    async with client_of(app) as client:
        client.app = app  # type: ignore[attr-defined]
        for id, data in pictures().items():
            stored = await client.post(
                "/v1/collections/photos/documents",
                files={"image": (id, data)},
                data={"document_id": id},
            )
            assert stored.status_code == 201, stored.text
        yield client


def service_of(client: httpx.AsyncClient) -> Service:
    found: Service = client.app.state.service  # type: ignore[attr-defined]
    return found


async def ended(client: httpx.AsyncClient, scan: str) -> dict[str, Any]:
    while True:
        told: dict[str, Any] = (await client.get(f"{SCANS}/{scan}")).json()
        if told["state"] not in ("QUEUED", "RUNNING", "CANCELLING"):
            return told
        await asyncio.sleep(0.05)


async def scanned(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    begun = await client.post(SCANS, json={"sensitivity": "balanced", **asked})
    assert begun.status_code == 202, begun.text
    assert begun.headers["location"] == f"{SCANS}/{begun.json()['scan_id']}"
    return await ended(client, begun.json()["scan_id"])


async def groups(client: httpx.AsyncClient, scan: str) -> dict[str, dict[str, str]]:
    """Keeper -> the others of its group with their verdicts."""
    told = (await client.get(f"{SCANS}/{scan}/groups")).json()
    return {
        each["keeper"]["document_id"]: {m["document_id"]: m["verdict"] for m in each["members"]}
        for each in told["items"]
    }


def expected() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for id in pictures():
        if not id.startswith("copies/"):
            continue
        name = NAMES[0] if id.endswith("same-pixels.tif") else id.partition("-")[2]
        verdict = "exact" if id.endswith("same-pixels.tif") else "copy"
        found.setdefault(f"originals/{name}", {})[id] = verdict
    return found


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_scan_finds_each_copy_and_says_why_the_original_is_kept(
    client: httpx.AsyncClient,
) -> None:
    keep = {"rule": "folders", "folders": ["originals/"]}
    scan = await scanned(client, keep=keep)
    assert scan["state"] == "COMPLETED"
    assert scan["documents"] == scan["done"] == len(pictures())
    assert await groups(client, scan["scan_id"]) == expected()
    assert (scan["groups"], scan["unreadable"]) == (len(NAMES), 0)
    assert scan["duplicates"] == sum(map(len, expected().values()))
    [first, *_] = (await client.get(f"{SCANS}/{scan['scan_id']}/groups?limit=1")).json()["items"]
    assert first["why"].startswith("in originals/, which comes before")
    evidence = first["members"][0]["evidence"]
    assert (
        evidence.keys() >= {"pdq", "agreement", "region", "transform"} or evidence["content_hash"]
    )
    table = await client.get(f"{SCANS}/{scan['scan_id']}/groups.csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert sum(row["keep"] == "yes" for row in rows) == scan["groups"]
    assert sum(row["keep"] == "no" for row in rows) == scan["duplicates"]


KILLS = int(os.environ.get("LOOKALIKE_SCAN_KILLS", "3"))
"""`make kill-scans` has more of them."""


async def test_a_scan_that_is_killed_at_random_moments_ends_with_the_same_report(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write may be the last one of a process, before or after it is done."""
    monkeypatch.setattr("lookalike_serving.scans.reading.PICTURES", 3)
    monkeypatch.setattr("lookalike_serving.scans.run.PICTURES", 3)
    monkeypatch.setattr("lookalike_serving.scans.runner._AFTER_FAILURE_SECONDS", 0)
    monkeypatch.setattr("lookalike_serving.scans.runner._LOOK_SECONDS", 0.01)
    whole = await scanned(client)
    random = Random(50)
    left = KILLS

    def killing(write: Any) -> Any:
        async def killed(*asked: Any) -> None:
            nonlocal left
            dies = left > 0 and random.random() < 0.3
            if dies and random.random() < 0.5:
                left -= 1
                raise OSError("killed before it was written")
            await write(*asked)
            if dies:
                left -= 1
                raise OSError("killed after it was written")

        return killed

    monkeypatch.setattr(ScanStore, "_write", killing(ScanStore._write))
    monkeypatch.setattr(ScanStore, "save_progress", killing(ScanStore.save_progress))
    while True:  # as many scans as it takes
        told = await scanned(client, full=True)
        assert told["state"] == "COMPLETED"
        assert told["report_id"] == whole["report_id"]
        assert told["unchanged"] == 0
        assert await groups(client, told["scan_id"]) == await groups(client, whole["scan_id"])
        if not left:
            return


async def test_a_scan_after_a_change_compares_what_has_changed_and_finds_the_same(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike_serving.scans.earlier._MARGIN", timedelta(0))
    before = await scanned(client, full=True)
    documents = "/v1/collections/photos/documents"
    new = "copies/half-page.png"
    await client.post(
        documents,
        files={"image": (new, encoded(edited(photograph("page.png", 240), "half")))},
        data={"document_id": new},
    )
    gone = "copies/same-pixels.tif"
    await client.delete(f"{documents}/{quote(gone, safe='')}")
    read: list[str] = []
    original = Pictures.picture

    async def noting(self: Any, document: Any) -> Any:
        read.append(document.document_id)
        return await original(self, document)

    monkeypatch.setattr(Pictures, "picture", noting)
    payloads: list[str] = []
    reading = Reading._scanned

    def noted(self: Any, record: Any) -> Any:
        payloads.append(record.id)
        return reading(self, record)

    monkeypatch.setattr(Reading, "_scanned", noted)
    after = await scanned(client)
    assert payloads == [point_id("photos", new)]
    assert (after["documents"], after["unchanged"]) == (len(pictures()), len(pictures()) - 1)
    assert after["candidates"] < before["candidates"]
    assert new in read
    told = await groups(client, after["scan_id"])
    whole = await scanned(client, full=True)
    assert whole["report_id"] == after["report_id"]
    assert told == await groups(client, whole["scan_id"])
    assert told["originals/alone.png"] == {new: "copy"}
    assert gone not in told[f"originals/{NAMES[0]}"]
    await client.delete(f"{documents}/{quote(new, safe='')}?forget=true")
    await client.post(
        documents,
        files={"image": (gone, pictures()[gone])},
        data={"document_id": gone},
    )


async def test_a_pair_that_a_person_dismissed_is_in_no_group(
    client: httpx.AsyncClient,
) -> None:
    pair = [f"originals/{NAMES[1]}", f"copies/mirrored-{NAMES[1]}"]
    dismissals = "/v1/collections/photos/duplicates/dismissals"
    twice = await client.post(dismissals, json={"documents": [pair[0], pair[0]]})
    assert twice.status_code == 422
    missing = await client.post(dismissals, json={"documents": [pair[0], "none.png"]})
    assert missing.status_code == 404
    said = await client.post(dismissals, json={"documents": pair})
    assert (said.status_code, said.json()["documents"]) == (201, sorted(pair))
    listed = (await client.get(dismissals)).json()["items"]
    assert [each["documents"] for each in listed] == [sorted(pair)]
    keep = {"rule": "folders", "folders": ["originals/"]}
    for full in (False, True):
        scan = await scanned(client, keep=keep, full=full)
        others = (await groups(client, scan["scan_id"]))[pair[0]]
        assert others == {f"copies/half-{NAMES[1]}": "copy"}
    lifted = await client.delete(dismissals, params={"document": pair})
    assert lifted.status_code == 204
    again = await client.delete(dismissals, params={"document": pair})
    assert again.status_code == 404
    scan = await scanned(client, keep=keep)
    assert pair[1] in (await groups(client, scan["scan_id"]))[pair[0]]


async def test_a_scan_of_a_schedule_deletes_what_the_spec_names_and_nothing_else(
    client: httpx.AsyncClient,
) -> None:
    service = service_of(client)
    order = Order(
        "c" * 32,
        "photos",
        datetime.now(UTC),
        sensitivity=Sensitivity.BALANCED,
        keep=Keep(Rule.FOLDERS, folders=("originals/",)),
        delete=(Verdict.EXACT,),
    )
    await begin(await scans_of(service, "photos"), order, service.collection("photos").config)
    client.app.state.scans.look()  # type: ignore[attr-defined]
    told = await ended(client, order.id)
    assert (told["state"], told["deleted"]) == ("COMPLETED", 1)
    documents = "/v1/collections/photos/documents"
    there = {each["document_id"] for each in (await client.get(documents)).json()["items"]}
    gone = "copies/same-pixels.tif"
    assert there == pictures().keys() - {gone}
    listed = (await client.get("/v1/collections/photos")).json()
    assert listed["last_duplicate_scan"]["deleted"] == 1
    await client.post(
        documents, files={"image": (gone, pictures()[gone])}, data={"document_id": gone}
    )


async def test_filters_and_a_cancellation(client: httpx.AsyncClient) -> None:
    refused = await client.post(SCANS, json={"filters": {"nested": {"bad": 1}}})
    assert refused.status_code == 422
    begun = (await client.post(SCANS, json={})).json()["scan_id"]
    twice = await client.post(SCANS, json={})
    assert (twice.status_code, twice.json()["code"]) == (409, "scan-active")
    assert (await client.post(f"{SCANS}/{begun}/cancel")).json()["state"] == "CANCELLING"
    assert (await ended(client, begun))["state"] == "CANCELLED"
    early = await client.get(f"{SCANS}/{begun}/groups")
    assert (early.status_code, early.json()["code"]) == (409, "scan-not-complete")
    assert (await client.get(f"{SCANS}/{'0' * 32}")).status_code == 404


async def test_decisions_are_kept_with_the_scan(client: httpx.AsyncClient) -> None:
    scan = await scanned(client)
    where = f"{SCANS}/{scan['scan_id']}/groups"
    [group, *_] = (await client.get(f"{where}?limit=1")).json()["items"]
    first, second, *_ = [each["document_id"] for each in group["members"]]
    own = f"{where}/{group['group']}/decisions"
    told = await client.put(own, json={"decisions": {first: "delete", second: "keep"}})
    assert told.status_code == 200, told.text
    await client.put(own, json={"decisions": {second: None}})
    [again, *_] = (await client.get(f"{where}?limit=1")).json()["items"]
    made = {each["document_id"]: each.get("decision") for each in again["members"]}
    assert (made[first], made[second]) == ("delete", None)
    keeper = group["keeper"]["document_id"]
    wrong = await client.put(own, json={"decisions": {keeper: "delete"}})
    assert (wrong.status_code, keeper in wrong.text) == (422, True)
    none = await client.put(f"{where}/999/decisions", json={"decisions": {}})
    assert none.status_code == 404
    metrics = (await client.get("/metrics")).text
    assert 'lookalike_duplicate_scans_total{collection="photos",state="completed"}' in metrics


async def test_a_report_is_applied_once_it_was_looked_at(client: httpx.AsyncClient) -> None:
    keep = {"rule": "folders", "folders": ["originals/"]}
    scan = await scanned(client, keep=keep)
    where, report = f"{SCANS}/{scan['scan_id']}/apply", scan["report_id"]
    documents = "/v1/collections/photos/documents"

    async def applied(**more: Any) -> dict[str, Any]:
        answer = await client.post(where, json={"report_id": report, **more})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    refused = await client.post(where, json={"report_id": report, "dry_run": False})
    assert (refused.status_code, refused.json()["code"]) == (409, "report-not-reviewed")
    wrong = await client.post(where, json={"report_id": "other"})
    assert wrong.status_code == 422
    dry = await applied()
    assert (dry["deleted"], dry["left"]) == (scan["duplicates"], 0)
    decided = {"copies/mirrored-coffee.png": "keep", "copies/half-coffee.png": "dismissed"}
    for group in (await client.get(f"{SCANS}/{scan['scan_id']}/groups")).json()["items"]:
        if group["keeper"]["document_id"] == "originals/coffee.png":
            own = f"{SCANS}/{scan['scan_id']}/groups/{group['group']}/decisions"
            assert (await client.put(own, json={"decisions": decided})).status_code == 200
    held = await applied()
    assert {each["document_id"]: each["why"] for each in held["told"]} == {
        "copies/mirrored-coffee.png": "it was decided to keep it",
        "copies/half-coffee.png": "it was decided that it is not a duplicate",
    }
    await client.put(own, json={"decisions": dict.fromkeys(decided)})
    dismissals = "/v1/collections/photos/duplicates/dismissals"
    assert (await client.get(dismissals)).json()["items"] == []
    pair = ["originals/coffee.png", "copies/half-coffee.png"]
    assert (await client.post(dismissals, json={"documents": pair})).status_code == 201
    assert [each["document_id"] for each in (await applied())["told"]] == pair[1:]
    assert (await client.delete(dismissals, params={"document": pair})).status_code == 204
    # Since the scan: one copy has new metadata, one is gone, and the keeper of a group has changed.
    await client.patch(f"{documents}/copies%2Fmirrored-astronaut.png", json={"metadata": {"a": 1}})
    await client.delete(f"{documents}/copies%2Fhalf-astronaut.png")
    await client.patch(f"{documents}/originals%2Fchelsea.png", json={"metadata": {"a": 1}})
    done = await applied(dry_run=False, spare=["copies/half-coffee.png"])
    left = {each["document_id"]: each["why"] for each in done["told"]}
    of_chelsea = set(expected()["originals/chelsea.png"])
    assert left.keys() == {"copies/mirrored-astronaut.png", "copies/half-coffee.png", *of_chelsea}
    assert left["copies/mirrored-astronaut.png"] == "it has changed since the scan: scan again"
    assert (
        "'originals/chelsea.png', which is to be kept instead, has changed" in left[min(of_chelsea)]
    )
    assert (done["gone"], done["more"]) == (1, False)
    assert done["deleted"] == scan["duplicates"] - 1 - len(left)
    there = {each["document_id"] for each in (await client.get(documents)).json()["items"]}
    assert there == {id for id in pictures() if id.startswith("originals/")} | left.keys()
    again = await applied(dry_run=False, spare=["copies/half-coffee.png"])
    assert (again["deleted"], again["gone"]) == (0, done["deleted"] + 1)
