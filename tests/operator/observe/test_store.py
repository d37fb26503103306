"""The store: the newer version wins, the deleted stays deleted, and a reader has a copy."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_operator.engine.routing import concerned, patience
from lookalike_operator.observe.store import Change, Store
from lookalike_operator.plan.model import Key, ref_of

CATALOGUE = Key("ImageCollection", "n", "catalogue")
SEARCH = Key("Retriever", "n", "search")


def thing(version: int, uid: str = "u1", name: str = "x", **extra: Any) -> dict[str, Any]:
    labels = {"lookalike.dev/kind": "Retriever", "lookalike.dev/name": "search"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": labels,
            "managedFields": [{"manager": "someone"}],
        },
        **extra,
    }


def retriever(version: int, *collections: str, name: str = "search", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "generation": version,
            **meta,
        },
        "spec": {"collections": [{"name": c} for c in collections]},
    }


def collection(version: int, generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "ImageCollection",
        "metadata": {
            "name": "catalogue",
            "namespace": "n",
            "uid": "uid-c",
            "resourceVersion": str(version),
            "generation": generation,
        },
        "spec": {},
        "status": status,
    }


def test_an_older_version_that_arrives_late_is_no_news() -> None:
    store = Store()
    assert store.put(thing(10, data={"a": "new"}))
    assert store.put(thing(9, data={"a": "old"})) is None
    assert store.put(thing(10, data={"a": "same"})) is None
    live = store.get(ref_of(thing(1)))
    assert live is not None
    assert live["data"] == {"a": "new"}


def test_versions_are_numbers_and_not_texts() -> None:
    store = Store()
    store.put(thing(99))
    assert store.put(thing(100)) is not None


def test_a_deleted_object_stays_deleted_whatever_late_answer_still_has_it() -> None:
    store = Store()
    store.put(thing(10))
    assert store.remove(thing(12))
    assert store.put(thing(11)) is None
    assert store.get(ref_of(thing(1))) is None


def test_a_late_deletion_does_not_take_the_next_object_of_that_name() -> None:
    store = Store()
    store.put(thing(10, uid="old"))
    store.put(thing(20, uid="new"))
    assert store.remove(thing(15, uid="old")) is None
    assert store.get(ref_of(thing(1))) is not None


def test_an_object_that_left_what_is_watched_may_come_back() -> None:
    store = Store()
    store.put(thing(10))
    store.remove(thing(12))
    assert store.put(thing(13)) is not None


def test_managed_fields_are_dropped_and_a_reader_has_a_copy_of_its_own() -> None:
    store = Store()
    store.put(thing(10, data={"a": "1"}))
    first, second = (store.get(ref_of(thing(1))) for _ in range(2))
    assert first is not None
    assert second is not None
    assert "managedFields" not in first["metadata"]
    first["data"]["a"] = "changed"
    assert second["data"] == {"a": "1"}


def test_a_list_drops_what_it_lacks_but_nothing_newer_than_itself() -> None:
    store = Store()
    store.put(thing(10, uid="lost", name="lost"))
    store.put(thing(30, uid="ours", name="just-written"))
    changes: list[Change] = []
    store.listen(changes.append)
    store.relisted("v1", "ConfigMap", None, [thing(11, uid="k", name="kept")], 20)
    names = {ref_of(child).name for child in store.children(SEARCH)}
    assert names == {"kept", "just-written"}
    assert len(changes) == 2


def test_a_list_of_one_namespace_says_nothing_of_another() -> None:
    store = Store()
    store.put(thing(10))
    store.relisted("v1", "ConfigMap", "other", [], 20)
    assert len(store) == 1


def test_children_are_found_by_label_in_a_stable_order() -> None:
    store = Store()
    for name in ("b", "c", "a"):
        store.put(thing(10, uid=name, name=name))
    assert [ref_of(child).name for child in store.children(SEARCH)] == ["a", "b", "c"]
    assert list(store.children(CATALOGUE)) == []


def test_the_retrievers_of_a_collection_follow_their_spec() -> None:
    store = Store()
    store.put(retriever(1, "catalogue", "other"))
    assert store.searching(CATALOGUE) == [SEARCH]
    store.put(retriever(2, "other"))
    assert store.searching(CATALOGUE) == []
    store.drop_resource(SEARCH, "uid-search")
    assert store.searching(Key("ImageCollection", "n", "other")) == []


# -- routing ---------------------------------------------------------------------------------------


def test_a_child_concerns_the_resource_it_is_labelled_as() -> None:
    store = Store()
    change = store.put(thing(10))
    assert change is not None
    assert concerned(change, store) == {SEARCH}


def test_a_new_retriever_concerns_its_collections_and_its_rivals() -> None:
    store = Store()
    store.put(retriever(1, "catalogue", name="first"))
    change = store.put(retriever(2, "catalogue"))
    assert change is not None
    assert concerned(change, store) == {SEARCH, CATALOGUE, Key("Retriever", "n", "first")}


def test_a_retriever_that_turns_away_concerns_the_collection_that_it_named() -> None:
    store = Store()
    store.put(retriever(1, "catalogue"))
    change = store.put(retriever(2, "other"))
    assert change is not None
    assert CATALOGUE in concerned(change, store)


def test_a_collection_concerns_its_retrievers_when_what_they_see_changes() -> None:
    store = Store()
    store.put(retriever(1, "catalogue"))
    store.put(collection(2, indexName="a"))
    seen = store.put(collection(3, indexName="b"))
    unseen = store.put(collection(4, indexName="b"))
    settled = store.put(collection(5, indexName="b", previous={"index": "a", "level": True}))
    assert seen is not None
    assert unseen is not None
    assert settled is not None
    assert concerned(seen, store) == {CATALOGUE, SEARCH}
    assert concerned(unseen, store) == {CATALOGUE}
    assert concerned(settled, store) == {CATALOGUE, SEARCH}, "a pod has the former index open"


def test_a_retriever_whose_pods_fetch_weights_concerns_its_collections_with_each_step() -> None:
    def at(version: int, reason: str, message: str) -> dict[str, Any]:
        told = {"type": "Available", "status": "False", "reason": reason, "message": message}
        made = retriever(version, "catalogue", generation=1)
        return {**made, "status": {"conditions": [told]}}

    store = Store()
    store.put(at(1, "Starting", "0 of 1 replicas are ready"))
    for version, message in ((2, "1 of 9 MB"), (3, "5 of 9 MB")):
        change = store.put(at(version, "Downloading", message))
        assert change is not None
        assert CATALOGUE in concerned(change, store)
    store.put(at(4, "Starting", "0 of 1 replicas are ready"))
    change = store.put(at(5, "Starting", "still 0 of 1 replicas are ready"))
    assert change is not None
    assert concerned(change, store) == {SEARCH}


def test_how_far_an_ingestion_run_is_concerns_no_retriever() -> None:
    def at(version: int, done: int, index: str) -> dict[str, Any]:
        progress = {"listed": 10, "done": done, "failed": 0, "workers": 1, "updatedAt": "now"}
        conditions = [
            {"type": "Ingested", "status": "False", "message": f"{done} of 10 images"},
            {"type": "IndexReady", "status": "False", "reason": "X", "message": index},
        ]
        run = {"id": "1", "progress": progress}
        return collection(version, indexName="a", run=run, conditions=conditions)

    store = Store()
    store.put(retriever(1, "catalogue"))
    store.put(at(2, 3, "http://qdrant does not answer"))
    further = store.put(at(3, 4, "http://qdrant does not answer"))
    mended = store.put(at(4, 4, "index a answers"))
    assert further is not None
    assert mended is not None
    assert concerned(further, store) == {CATALOGUE}
    assert concerned(mended, store) == {CATALOGUE, SEARCH}


def test_only_a_new_resource_another_spec_and_a_deletion_are_looked_at_at_once() -> None:
    store = Store()
    made = store.put(collection(1))
    told = store.put(collection(2, documents=5))
    edited = store.put(collection(3, generation=2, documents=5))
    child = store.put(thing(10))
    changed = store.put(thing(11))
    gone = store.remove(thing(12))
    changes = (made, told, edited, child, changed, gone)
    at_once = [change is not None and patience(change) == 0.0 for change in changes]
    assert at_once == [True, False, True, False, False, True]


Version = st.integers(1, 40)


@given(st.lists(st.tuples(st.sampled_from(["put", "gone"]), Version), max_size=30), st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_order_in_which_news_arrives_does_not_matter(
    news: list[tuple[str, int]], random: Any
) -> None:
    """One object, one truth: of any set of versions the newest decides."""
    versions = {version: what for what, version in news}
    steps = [(what, version) for version, what in versions.items()]
    random.shuffle(steps)
    store = Store()
    for what, version in steps:
        store.put(thing(version)) if what == "put" else store.remove(thing(version))
    live = store.get(ref_of(thing(1)))
    newest = max(versions, default=None)
    if newest is None or versions[newest] == "gone":
        assert live is None
    else:
        assert live is not None
        assert live["metadata"]["resourceVersion"] == str(newest)
