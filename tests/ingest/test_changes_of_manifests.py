"""Objects that a manifest names, and manifests themselves, change while the service runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.ingest.test_changes import Photo, Shop, photo, shop  # noqa: F401 - fixtures

from lookalike_crds.config import CollectionSources
from lookalike_crds.sources import SourceSpec
from lookalike_serving.ingest.changes.line import Line
from lookalike_serving.ingest.changes.matching import ObjectNotice, sources_of
from lookalike_serving.ingest.sources.manifest import ManifestSource
from lookalike_serving.ingest.sources.named import Named

HEADER = "url,price\n"


@pytest.fixture
def named(shop: Shop, photo: Photo) -> Shop:  # noqa: F811
    """A manifest in a bucket that names two of its objects, which are ingested."""
    keys = {"endpoint": shop.s3.url, "credentialsSecretRef": "keys"}
    shop.put("in/a.jpg", photo(1))
    shop.put("in/b.jpg", photo(2))
    shop.put("in/list.csv", f"{HEADER}a.jpg,1\nb.jpg,2\n".encode())
    shop.source = {"name": "cloud"}
    shop.serve(urls={"manifest": f"s3://{shop.bucket}/in/list.csv", **keys})
    assert shop.tell("in/list.csv").json()["accepted"] == 1
    assert prices(shop) == {"a.jpg": 1, "b.jpg": 2}
    return shop


def prices(shop: Shop) -> dict[str, Any]:  # noqa: F811
    return {name: each.get("price") for name, each in shop.metadata().items()}


def not_here(source: ManifestSource) -> None:
    raise AssertionError("the process that serves goes through a source")


def test_an_object_that_a_manifest_names_is_read_again(named: Shop, photo: Photo) -> None:  # noqa: F811
    before = named.settled()
    named.put("in/a.jpg", photo(3))
    named.put("in/c.jpg", photo(4))
    assert named.tell("in/a.jpg", "in/c.jpg").json()["accepted"] == 2
    after = named.settled()
    assert after.keys() == before.keys(), "no row names c.jpg"
    assert after["a.jpg"]["updated_at"] != before["a.jpg"]["updated_at"]
    assert after["a.jpg"]["metadata"] == {"price": 1}
    assert after["b.jpg"] == before["b.jpg"]


def test_a_manifest_is_gone_through_apart_and_images_that_it_named_are_not_read_again(
    named: Shop,
    photo: Photo,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever goes through the source, it is not the process that serves.
    monkeypatch.setattr(ManifestSource, "list", not_here)
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def starting(*args: Any, **more: Any) -> asyncio.subprocess.Process:
        process = await start(*args, **more)
        if not started:
            process.kill()  # it is started again
        started.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    before = named.settled()
    named.put("in/b.jpg", photo(5))  # nobody tells of it
    named.put("in/c.jpg", photo(6))
    named.put("in/list.csv", f"{HEADER}a.jpg,10\nb.jpg,2\nc.jpg,3\n".encode())
    named.tell("in/list.csv")
    assert prices(named) == {"a.jpg": 10, "b.jpg": 2, "c.jpg": 3}
    assert len(started) == 2
    after = named.settled()
    assert after["b.jpg"] == before["b.jpg"]
    [counts] = named.run()["sources"]
    assert (counts["listed"], counts["new"], counts["updated"], counts["unchanged"]) == (3, 1, 1, 1)


def test_an_object_that_no_row_names_starts_no_process_until_the_manifest_changes(
    named: Shop,
    photo: Photo,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    apart = Line._go_through

    async def going(line: Line, session: Any, spec: SourceSpec, taken: Any) -> Any:
        started.extend(key.key for key in taken)
        return await apart(line, session, spec, taken)

    monkeypatch.setattr(Line, "_go_through", going)
    named.put("in/c.jpg", photo(3))
    for _ in range(3):
        named.tell("in/c.jpg")
        assert prices(named) == {"a.jpg": 1, "b.jpg": 2}
    assert len(started) == 1, "the first tells which objects the manifest names"

    # What few rows name is read by the process that serves.
    before = named.settled()["a.jpg"]
    named.put("in/a.jpg", photo(4))
    named.tell("in/a.jpg")
    assert named.settled()["a.jpg"]["updated_at"] != before["updated_at"]
    assert len(started) == 1
    monkeypatch.setattr(Named, "few", False)
    named.put("in/a.jpg", photo(5))
    named.tell("in/a.jpg")
    named.settled()
    assert len(started) == 2

    # Nobody tells of the manifest itself.
    named.put("in/list.csv", f"{HEADER}a.jpg,1\nb.jpg,2\nc.jpg,3\n".encode())
    named.tell("in/c.jpg")
    assert prices(named) == {"a.jpg": 1, "b.jpg": 2, "c.jpg": 3}
    assert len(started) == 3


def test_an_id_stays_with_the_row_that_has_it(named: Shop, photo: Photo) -> None:  # noqa: F811
    named.serve(metadata={"documentId": "sku"})
    named.put("in/list.csv", b"url,sku\na.jpg,x\nb.jpg,x\n")
    named.tell("in/list.csv")
    first = named.settled()["x"]
    named.tell("in/b.jpg")
    assert named.settled()["x"] == first
    codes = {each["key"]: each["code"] for each in named.get("/failures").json()["items"]}
    assert codes == {"b.jpg": "entry-id-taken"}


@pytest.mark.parametrize(
    ("notice", "found"),
    [
        (ObjectNotice("s3", "lists", "in/list.csv"), [("m", "s3://lists/in/list.csv")]),
        (ObjectNotice("s3", "lists", "in/a b.jpg"), [("m", "s3://lists/in/a%20b.jpg")]),
        (ObjectNotice("s3", "photos", "a.jpg"), [("m", "s3://photos/a.jpg"), ("p", "a.jpg")]),
        (ObjectNotice("s3", "lists", "out/a.jpg"), []),
        (ObjectNotice("gs", "lists", "in/a.jpg"), []),
    ],
)
def test_a_manifest_may_name_any_object_of_a_declared_bucket(
    notice: ObjectNotice, found: list[tuple[str, str]]
) -> None:
    sources = [
        {"name": "m", "urls": {"manifest": "s3://lists/in/list.csv"}},
        {"name": "p", "s3": {"bucket": "photos"}},
    ]
    specs = tuple(SourceSpec.model_validate(each) for each in sources)
    told, why = sources_of(notice, CollectionSources(collection="shop", sources=specs))
    assert told == found
    assert (why is None) == bool(found)
