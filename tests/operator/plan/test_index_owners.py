"""Whose an index on a shared server is: names cannot meet, and what is another's is left alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.operator.plan.known import (
    OTHER,
    PHOTOS,
    QDRANT,
    VIT,
    collection,
    condition,
    facts,
    meta,
    named,
    retriever,
)
from tests.operator.plan.moments import ingested, on_server, status_of

from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_crds.naming import index_name
from lookalike_crds.ownership import IndexOwner
from lookalike_operator.plan import cron_job, places
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.indexes import alias_of, index_for_spec, wanted_index
from lookalike_operator.plan.model import CollectionSnapshot
from lookalike_operator.plan.retriever import plan_retriever

_names = st.text("ab-", min_size=1, max_size=12).filter(lambda s: s.strip("-") == s)
_pairs = st.tuples(_names, _names)


@settings(deadline=None)
@given(_pairs, _pairs)
@example(("shop", "eu-catalogue"), ("shop-eu", "catalogue"))
def test_collections_of_two_namespaces_never_have_one_index_or_alias(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assume(one != other)
    spec = on_server().spec
    assert spec is not None
    first, second = (replace(meta(name), namespace=space) for space, name in (one, other))
    assert wanted_index(first, spec) != wanted_index(second, spec)
    assert alias_of(first) != alias_of(second)


@settings(deadline=None)
@given(_pairs, _pairs)
@example(("shop", "eu-feed"), ("shop-eu", "feed"))
def test_sources_of_two_collections_never_have_one_cron_job_or_volume(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assume(one != other)
    names = [cron_job.cron_job(collection, source) for collection, source in (one, other)]
    assert names[0] != names[1]
    assert all(len(name) <= 52 for name in names)
    mounts = [
        places.sources(name, collection(QDRANT, _source(source)).spec)[0]  # type: ignore[arg-type]
        for name, source in (one, other)
    ]
    assert mounts[0].name != mounts[1].name


def _source(name: str) -> dict[str, object]:
    return {"sources": [{"name": name, "volume": {"path": "x", "claimName": "photos"}}]}


def test_a_retriever_of_two_such_collections_mounts_the_sources_of_both() -> None:
    found = tuple(
        facts(QDRANT, _source(source), name=name)
        for name, source in (("shop", "eu-feed"), ("shop-eu", "feed"))
    )
    deployment = named(plan_retriever(retriever(collections=found)), "Deployment")
    volumes = [v["name"] for v in deployment["spec"]["template"]["spec"]["volumes"]]
    assert len(volumes) == len(set(volumes))
    assert sum(name.startswith("source-") for name in volumes) == 2


def _of_an_early_release(*parts: dict[str, object]) -> CollectionSnapshot:
    """Filled under a name that joined namespace and collection with a dash."""
    here = on_server(*parts)
    full = ingested(replace(here, meta=replace(here.meta, namespace="shop-eu")))
    assert full.spec is not None
    assert full.index is not None
    name = index_name("shop-eu-catalogue", full.spec.model)
    record = full.status.run
    assert record is not None
    status = full.status.model_copy(update={"index_name": name})
    early = replace(full, status=status, index=replace(full.index, name=name, alias_target=name))
    # Its run had that name in its id.
    run = plan_collection(replace(early, children=(), pods=())).once[0]
    again = record.model_copy(
        update={
            "id": run["metadata"]["labels"]["lookalike.dev/run"],
            "job": run["metadata"]["name"],
        }
    )
    return replace(early, status=status.model_copy(update={"run": again}), children=(), pods=())


def test_an_index_of_an_early_release_is_kept_and_nothing_is_embedded_anew() -> None:
    early = _of_an_early_release(PHOTOS, VIT)
    plan = plan_collection(early)
    assert plan.once == ()
    assert plan.status["indexName"] == early.status.index_name
    rendered = IngestionConfig.model_validate_json(
        named(plan, "ConfigMap")["data"]["ingestion.json"]
    )
    index = rendered.collection.index
    assert index.name == early.status.index_name
    assert index.owner == IndexOwner(namespace="shop-eu", name="catalogue", uid="uid-of-catalogue")


def test_another_model_of_such_a_collection_has_an_index_of_todays_name() -> None:
    early = _of_an_early_release(PHOTOS, VIT)
    changed = replace(early, spec=on_server(PHOTOS, OTHER).spec)
    plan = plan_collection(changed)
    assert plan.status["indexName"] == early.status.index_name
    text = named(plan, "ConfigMap")["data"]["ingestion.json"]
    assert changed.spec is not None
    assert wanted_index(changed.meta, changed.spec) in text


def test_one_index_that_two_namespaces_had_is_left_to_the_one_that_it_names() -> None:
    early = _of_an_early_release(PHOTOS, VIT)
    assert early.index is not None
    theirs = IndexOwner(cluster="c", namespace="shop", name="eu-catalogue", uid="another")
    plan = plan_collection(replace(early, index=replace(early.index, owner=theirs)))
    assert plan.status["indexName"] != early.status.index_name
    assert len(plan.once) == 1, "our own sources go into an index of our own"
    assert plan.index_ops == ()
    said = [event for event in plan.events if event.reason == "IndexTaken"]
    assert len(said) == 1
    assert "shop/eu-catalogue" in said[0].message
    # From then on it is the status that says so, whatever is known of the server.
    settled = replace(early, status=status_of(plan), index=None)
    assert plan_collection(settled).status["indexName"] == plan.status["indexName"]


def test_the_same_name_in_another_cluster_has_another_index() -> None:
    snapshot = on_server(PHOTOS)
    assert snapshot.spec is not None
    assert snapshot.index is not None
    theirs = IndexOwner(cluster="another", namespace="shop", name="catalogue", uid="another")
    taken = replace(snapshot.index, owner=theirs)
    name = index_for_spec(snapshot.meta, snapshot.spec, snapshot.status, taken, "ours")
    assert name != snapshot.index.name


def test_an_index_that_its_predecessor_left_is_taken_over() -> None:
    snapshot = replace(
        on_server(PHOTOS), settings=replace(on_server(PHOTOS).settings, cluster_id="ours")
    )
    assert snapshot.index is not None
    before = IndexOwner(cluster="ours", namespace="shop", name="catalogue", uid="gone")
    plan = plan_collection(replace(snapshot, index=replace(snapshot.index, owner=before)))
    assert plan.status["indexName"] == snapshot.index.name


def test_an_alias_that_another_cluster_has_is_not_moved() -> None:
    snapshot = on_server(PHOTOS)
    assert snapshot.index is not None
    theirs = IndexOwner(cluster="another", namespace="shop", name="catalogue", uid="another")
    elsewhere = replace(snapshot.index, alias_target="shop-catalogue-0", alias_owner=theirs)
    assert plan_collection(replace(snapshot, index=elsewhere)).index_ops == ()
    assert condition(plan_collection(replace(snapshot, index=elsewhere)), "IndexReady")


def test_owners_are_those_of_the_collection_whoever_serves_it() -> None:
    plan = plan_retriever(retriever(collections=(facts(QDRANT, VIT),)))
    text = named(plan, "ConfigMap")["data"]["serving.json"]
    config = ServingConfig.model_validate_json(text)
    owner = config.collections[0].index.owner
    assert owner == IndexOwner(namespace="shop", name="catalogue", uid="uid-of-catalogue")
