"""The client against the real service: uvicorn on loopback, a real model, Edge indexes on disk."""

from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.support.configs import collection, retriever, serving_config
from tests.support.pictures import drawn, encoded
from tests.support.servers import serving

from lookalike import (
    APIError,
    AsyncLookalike,
    BatchState,
    InvalidRequest,
    Lookalike,
    NotFound,
    SearchResults,
    Unauthorized,
)
from lookalike_crds.config import (
    AccessConfig,
)
from lookalike_crds.image_collection import (
    FieldSpec,
    FieldType,
    ModelSpec,
    Precision,
    Provider,
)

KEY = "test-key-0123456789"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "keys").write_text(KEY)
    model = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-S-32-alt", precision=Precision.FP32)
    shop = collection(
        folder,
        "catalogue",
        model=model,
        fields=(
            FieldSpec(name="status", type=FieldType.KEYWORD),
            FieldSpec(name="price", type=FieldType.FLOAT),
        ),
    )
    config = serving_config(
        folder,
        shop,
        retrievers=(retriever("similarity-retriever", "catalogue"),),
        access=AccessConfig(api_keys_file=folder / "keys"),
        random_weights_for_benchmarks=True,
    )
    with serving(config) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Lookalike]:
    with Lookalike(url, KEY) as client:
        for i, colour in enumerate(("red", "green", "blue", "orange")):
            client.documents.upload(
                "catalogue",
                drawn(colour),
                document_id=f"{colour}/1",
                metadata={"status": "active" if i % 2 == 0 else "sold", "price": 10.0 * (i + 1)},
            )
        yield client


def test_the_snippet_of_the_documentation_runs(client: Lookalike, tmp_path: Path) -> None:
    reference = tmp_path / "reference-image.png"
    reference.write_bytes(encoded(drawn("red")))
    results = client.retrievers.search(
        retriever_id="similarity-retriever",
        queries=[{"type": "image", "value": str(reference), "embedding_model": "ViT-S-32-alt"}],
        filters={"AND": [{"key": "status", "value": "active", "operator": "eq"}]},
        top_k=25,
        min_score=0.75,
    )
    lines = [f"Score: {result.score:.3f}, ID: {result.document_id}" for result in results]
    assert lines[0] == "Score: 1.000, ID: red/1"
    assert {result.metadata["status"] for result in results} == {"active"}


@pytest.mark.parametrize(
    "value", [drawn("green"), encoded(drawn("green")), io.BytesIO(encoded(drawn("green")))]
)
def test_an_image_is_found_however_it_is_handed_over(client: Lookalike, value: object) -> None:
    queries = [{"type": "image", "value": value}]
    best = client.retrievers.search("similarity-retriever", queries)[0]
    assert (best.document_id, round(best.score, 3)) == ("green/1", 1.0)


def test_text_document_and_vector_queries_go_together(client: Lookalike) -> None:
    vector = client.documents.get("catalogue", "blue/1", include="vector").vector
    assert vector is not None
    queries = [
        {"type": "vector", "value": vector},
        {"type": "document", "value": "blue/1"},
        {"type": "text", "value": "a blue circle", "weight": 0.1},
    ]
    results = client.retrievers.search(
        "similarity-retriever", queries, include=["query_document"], explain=True, top_k=2
    )
    assert results[0].document_id == "blue/1"
    assert results[0].explanation is not None
    assert len(results) == 2
    assert (results.total, results.facets) == (None, ())


def test_several_searches_are_asked_at_once(client: Lookalike) -> None:
    gone = {"queries": [{"type": "document", "value": "gone"}]}
    searches = [{"queries": "a blue circle", "top_k": 1}, gone, {"queries": [drawn("red")]}]
    blue, failed, red = client.retrievers.search_batch("similarity-retriever", searches)
    assert isinstance(blue, SearchResults)
    assert isinstance(red, SearchResults)
    assert len(blue) == 1
    assert red[0].document_id == "red/1"
    assert isinstance(failed, APIError)
    assert (failed.status, failed.errors[0].path) == (422, "queries[0].value")
    with pytest.raises(TypeError, match="topk"):
        client.retrievers.search_batch("similarity-retriever", [{"queries": "x", "topk": 1}])


def test_a_picture_that_is_there_is_told_and_refused(client: Lookalike) -> None:
    found = client.collections.duplicates("catalogue", drawn("red"), similar=False)
    (match,) = found.matches
    assert (match.document_id, match.verdict) == ("red/1", "exact")
    assert match.evidence.content_hash
    assert match.image_url.startswith("http")
    with pytest.raises(APIError) as refused:
        client.documents.upload("catalogue", drawn("red"), on_duplicate="reject")
    assert refused.value.status == 409
    assert "'red/1'" in refused.value.detail


def test_copies_are_searched_for_and_dismissed(client: Lookalike) -> None:
    def found() -> list[str]:
        query = drawn("red")
        results = client.retrievers.search("similarity-retriever", query, mode="copies")
        assert all(each.evidence is not None for each in results)
        return [each.document_id for each in results]

    assert found() == ["red/1"]
    content = client.collections.duplicates("catalogue", drawn("red")).content_hash
    client.collections.dismiss("catalogue", "red/1", content_hash=content)
    assert found() == []
    (noted,) = client.collections.dismissals("catalogue")
    assert (noted.documents, noted.content_hash) == (("red/1",), content)
    client.collections.lift_dismissal("catalogue", "red/1", content_hash=content)
    assert found() == ["red/1"]


def test_what_was_decided_about_a_scan_is_kept_and_only_that_is_deleted(client: Lookalike) -> None:
    scans, name = client.duplicate_scans, "catalogue"
    twins = {"red/2": "red", "green/2": "green", "blue/2": "blue"}
    for id, colour in twins.items():
        client.documents.upload(name, drawn(colour), document_id=id)
    try:
        scan = scans.wait(name, scans.create(name, keep={"rule": "oldest"}).scan_id)
        assert scan.report_id is not None
        report = (name, scan.scan_id, scan.report_id)
        groups = {each.keeper.document_id: each for each in scans.groups(name, scan.scan_id)}
        assert sorted(groups) == ["blue/1", "green/1", "red/1"]

        told = scans.decide(name, scan.scan_id, groups["red/1"], {"red/2": "delete"})
        assert [each.decision for each in told.members] == ["delete"]
        scans.decide(name, scan.scan_id, groups["green/1"], {"green/2": "dismissed"})
        scans.decide(name, scan.scan_id, groups["blue/1"], {"blue/2": "keep"})
        [dismissed] = client.collections.dismissals(name)
        assert dismissed.documents == ("green/1", "green/2")
        with pytest.raises(InvalidRequest, match="is no member of group"):
            scans.decide(name, scan.scan_id, groups["red/1"], {"green/2": "dismissed"})
        with pytest.raises(TypeError, match="decisions"):
            scans.decide(name, scan.scan_id, groups["red/1"], ["red/2"])  # type: ignore[arg-type]

        with pytest.raises(InvalidRequest) as refused:
            scans.apply_decisions(*report, dry_run=False)
        assert refused.value.status == 409  # nobody has looked at what it would delete
        with pytest.raises(InvalidRequest, match="report_id"):
            scans.apply_decisions(name, scan.scan_id, "another")
        for dry_run in (True, False):
            done = scans.apply_decisions(*report, dry_run=dry_run)
            assert (done.dry_run, done.deleted, done.documents) == (dry_run, 1, ("red/2",))
        again = scans.apply_decisions(*report, dry_run=False)
        assert (again.deleted, again.gone) == (0, 1)
        left = {each.document_id for each in client.documents.list(name)}
        assert {"red/1", "green/2", "blue/2"} <= left
        assert "red/2" not in left

        groups = {each.keeper.document_id: each for each in scans.groups(name, scan.scan_id)}
        assert groups["green/1"].members[0].decision == "dismissed"
        for instead in ("keep", None):
            told = scans.decide(name, scan.scan_id, groups["green/1"], {"green/2": "dismissed"})
            assert len(list(client.collections.dismissals(name))) == 1
            told = scans.decide(name, scan.scan_id, groups["green/1"], {"green/2": instead})
            assert told.members[0].decision == instead
            assert list(client.collections.dismissals(name)) == []
        scans.decide(name, scan.scan_id, groups["red/1"], {"red/2": None})
        assert scans.apply_decisions(*report).documents == ()
    finally:
        for id in twins:
            with contextlib.suppress(NotFound):
                client.documents.delete(name, id, forget=True)


async def test_decisions_are_noted_and_applied_without_blocking(url: str) -> None:
    async with AsyncLookalike(url, KEY) as client:
        scans = client.duplicate_scans
        with pytest.raises(NotFound):
            await scans.apply_decisions("catalogue", "0" * 32, "report")


def test_the_picture_of_a_result_can_be_fetched(client: Lookalike) -> None:
    stored = client.documents.image("catalogue", "red/1")
    small = client.documents.thumbnail("catalogue", "red/1", size=64)
    assert Image.open(io.BytesIO(stored)).size == (96, 96)
    assert max(Image.open(io.BytesIO(small)).size) == 64


def test_image_urls_are_whole(client: Lookalike, url: str) -> None:
    best = client.retrievers.search(
        "similarity-retriever", [{"type": "document", "value": "red/1"}], top_k=1
    )[0]
    assert best.image_url is not None
    assert best.image_url.startswith(f"{url}/v1/collections/catalogue/documents/")


def test_documents_are_counted_by_value(client: Lookalike) -> None:
    status = {"field": "status", "missing": True}
    price = {"field": "price", "type": "range", "ranges": [{"to": 25}, {"from": 25}]}
    for told in (
        client.collections.facets("catalogue", [status, price], filters={"status": "sold"}),
        client.retrievers.facets(
            "similarity-retriever", [status, price], filters={"status": "sold"}
        ),
        client.retrievers.search(
            "similarity-retriever",
            [{"type": "text", "value": "a red circle"}],
            filters={"status": "sold"},
            top_k=1,
            facets=[status, price],
        ),
    ):
        by_status, by_price = told.facets
        assert told.total == 2
        assert [(each.value, each.count) for each in by_status.values] == [
            ("active", 2),
            ("sold", 2),
        ]
        assert (by_status.missing, by_status.exact) == (0, True)
        assert [(each.low, each.high, each.count) for each in by_price.buckets] == [
            (None, 25, 1),
            (25, None, 1),
        ]
    told = client.retrievers.facets("similarity-retriever", ["status"])
    assert (told.total, told["status"].distinct) == (4, 2)
    with pytest.raises(InvalidRequest, match="declares no field 'nope'"):
        client.collections.facets("catalogue", ["nope"])


def test_metadata_can_be_changed_and_removed(client: Lookalike) -> None:
    client.documents.upload(
        "catalogue",
        encoded(drawn("pink")),
        document_id="pink",
        metadata={"status": "new", "price": 1},
    )
    client.documents.update("catalogue", "pink", metadata={"status": "sold", "price": None})
    assert client.documents.get("catalogue", "pink").metadata == {"status": "sold"}
    client.documents.delete("catalogue", "pink")
    with pytest.raises(NotFound):
        client.documents.get("catalogue", "pink")


def test_an_upload_without_an_id_twice_is_one_document(client: Lookalike) -> None:
    first = client.documents.upload("catalogue", encoded(drawn("brown")))
    second = client.documents.upload("catalogue", encoded(drawn("brown")))
    assert first.document_id == second.document_id
    client.documents.delete("catalogue", first.document_id)


def test_documents_are_listed_over_several_pages(client: Lookalike) -> None:
    listed = list(client.documents.list("catalogue", limit=1))
    assert sorted(d.document_id for d in listed) == ["blue/1", "green/1", "orange/1", "red/1"]
    cheap = client.documents.list("catalogue", filters={"price": {"lt": 25}})
    assert sorted(d.document_id for d in cheap) == ["green/1", "red/1"]


def test_collections_retrievers_and_models_are_told(client: Lookalike) -> None:
    (collection,) = client.collections.list()
    (retriever,) = client.retrievers.list()
    (model,) = client.models.list()
    assert (collection.name, collection.documents, collection.state) == ("catalogue", 4, "Ready")
    assert [f.name for f in collection.fields] == ["status", "price"]
    assert retriever.collections[0].name == "catalogue"
    assert model.dimension == collection.dimension
    assert client.collections.get("catalogue").name == "catalogue"
    assert client.retrievers.get("similarity-retriever").name == "similarity-retriever"


def test_health_is_told(client: Lookalike) -> None:
    assert client.health().ready


def test_a_batch_runs_to_its_end_and_tells_of_what_failed(client: Lookalike) -> None:
    batch = client.batches.create(
        "catalogue",
        [
            {"image": drawn("purple"), "document_id": "purple", "metadata": {"price": 5}},
            {"image": b"no image at all", "document_id": "broken"},
        ],
    )
    done = client.batches.wait(batch.batch_id, timeout=120)
    assert done.state is BatchState.COMPLETED_WITH_ERRORS
    assert (done.counts.succeeded, done.counts.failed) == (1, 1)
    (failed,) = client.batches.items(batch.batch_id, state="FAILED")
    assert failed.document_id == "broken"
    assert failed.error is not None
    assert batch.batch_id in [b.batch_id for b in client.batches.list(collection="catalogue")]
    again = client.batches.wait(client.batches.retry(batch.batch_id).batch_id, timeout=120)
    assert again.attempt == 2
    client.documents.delete("catalogue", "purple")


def test_the_same_idempotency_key_makes_one_batch(client: Lookalike) -> None:
    key = str(uuid.uuid4())
    items = [{"image": encoded(drawn("red")), "document_id": "red/1"}]
    first = client.batches.create("catalogue", items, idempotency_key=key)
    second = client.batches.create("catalogue", items, idempotency_key=key)
    assert first.batch_id == second.batch_id
    client.batches.wait(first.batch_id, timeout=120)


def test_cancelling_a_finished_batch_is_refused(client: Lookalike) -> None:
    items = [{"image": encoded(drawn("red")), "document_id": "red/1"}]
    batch = client.batches.create("catalogue", items)
    client.batches.wait(batch.batch_id, timeout=120)
    with pytest.raises(InvalidRequest, match="COMPLETED already"):
        client.batches.cancel(batch.batch_id)


def test_every_wrong_part_of_a_request_is_named(client: Lookalike) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.retrievers.search(
            "similarity-retriever", [{"type": "txt", "value": "x"}], top_k=5000
        )
    assert {error.path for error in caught.value.errors} == {"queries[0].type", "top_k"}


def test_an_unknown_retriever_is_not_found_and_known_ones_are_named(client: Lookalike) -> None:
    with pytest.raises(NotFound, match="similarity-retriever"):
        client.retrievers.search("nope", [{"type": "text", "value": "x"}])


def test_a_wrong_key_is_unauthorized(url: str) -> None:
    with Lookalike(url, "wrong") as stranger, pytest.raises(Unauthorized):
        next(stranger.collections.list())


async def test_the_asyncio_client_does_the_same(url: str, client: Lookalike) -> None:
    async with AsyncLookalike(url, KEY) as asynchronous:
        queries = [{"type": "image", "value": encoded(drawn("blue"))}]
        best = (await asynchronous.retrievers.search("similarity-retriever", queries))[0]
        listed = [d.document_id async for d in asynchronous.documents.list("catalogue", limit=3)]
    assert best.document_id == "blue/1"
    assert len(listed) == 4
