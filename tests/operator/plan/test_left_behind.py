"""Which indexes of a shared server this cluster has left behind: none that may be in use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.operator.plan.known import OTHER, PHOTOS, QDRANT, VIT, collection_spec, meta
from tests.operator.plan.moments import ingested, on_server, status_of

from lookalike_crds.image_collection import ImageCollectionStatus
from lookalike_crds.naming import index_name
from lookalike_crds.ownership import IndexOwner
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.indexes import wanted_index
from lookalike_operator.plan.left_behind import Known, left_behind
from lookalike_operator.plan.model import CollectionSnapshot
from lookalike_operator.plan.names import index_owner

HERE = "this-cluster"
OURS = index_owner(meta("catalogue"), HERE)
BATCHES = IndexOwner(cluster=HERE, namespace="shop", name="lookalike-batches")


def known(*snapshots: CollectionSnapshot, serving: tuple[str, ...] = ("shop",)) -> Known:
    found = tuple((each.meta, each.spec, each.status) for each in snapshots)
    return Known(HERE, found, frozenset(serving))


def left(known: Known, name: str, owner: IndexOwner | None) -> bool:
    return bool(left_behind(known, [(name, owner)]))


def full(*parts: dict[str, object]) -> CollectionSnapshot:
    return ingested(on_server(*parts))


def test_the_index_of_an_earlier_model_is_left_behind_once_another_answers() -> None:
    before = full(PHOTOS, VIT)
    old = before.status.index_name
    assert old is not None
    assert not left(known(before), old, OURS)
    changed = replace(before, spec=on_server(PHOTOS, OTHER).spec)
    under_way = replace(changed, status=status_of(plan_collection(changed)))
    assert changed.spec is not None
    new = wanted_index(changed.meta, changed.spec)
    assert not left(known(under_way), old, OURS), "it answers until the other is filled"
    assert not left(known(under_way), new, OURS), "it is being filled"
    done = replace(changed, status=ImageCollectionStatus(index_name=new))
    [unused] = left_behind(known(done), [(old, OURS), (new, OURS)])
    assert (unused.name, unused.sources) == (old, ("products",))


def test_an_index_of_an_earlier_releases_name_is_in_use() -> None:
    early = full(PHOTOS, VIT)
    assert early.spec is not None
    name = index_name("shop-catalogue", early.spec.model)
    assert not left(known(early), name, OURS)


def test_a_collection_that_cannot_be_read_may_use_any_index() -> None:
    assert not left(known(replace(full(PHOTOS, VIT), spec=None)), "shop-catalogue-0", OURS)


def test_the_index_of_a_collection_that_is_gone_is_left_behind() -> None:
    [unused] = left_behind(known(), [("shop-catalogue-0", OURS)])
    assert unused.sources == (), "nothing can bring its documents again"
    successor = full(PHOTOS, VIT)
    successor = replace(successor, meta=replace(successor.meta, uid="another"))
    name = successor.status.index_name
    assert name is not None
    assert not left(known(successor), name, OURS), "one of its name takes it over"


@pytest.mark.parametrize(
    "owner",
    [
        None,
        IndexOwner(cluster="another", namespace="shop", name="catalogue", uid="x"),
        IndexOwner(cluster="", namespace="shop", name="catalogue", uid="x"),
        IndexOwner(cluster="data-folder", name="catalogue"),
        IndexOwner(name="what no release has written", uid="unknown"),
    ],
)
def test_what_is_not_known_to_be_ours_is_left_alone(owner: IndexOwner | None) -> None:
    assert not left(known(full(PHOTOS, VIT)), "shop-catalogue-0", owner)


def test_a_cluster_that_does_not_know_itself_drops_nothing_of_what_is_gone() -> None:
    nobody = replace(known(), cluster="")
    assert not left(nobody, "shop-catalogue-0", index_owner(meta("catalogue"), ""))


def test_records_of_batches_are_left_behind_with_the_last_retriever() -> None:
    assert not left(known(), "lookalike-batches-shop", BATCHES)
    assert left(known(serving=()), "lookalike-batches-shop", BATCHES)


def test_a_collection_that_was_just_made_uses_the_index_that_it_will_have() -> None:
    spec = collection_spec(QDRANT, VIT)
    fresh = Known(HERE, ((meta("catalogue"), spec, ImageCollectionStatus()),), frozenset())
    assert not left(fresh, wanted_index(meta("catalogue"), spec), OURS)
