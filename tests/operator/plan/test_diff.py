"""What a person reads before an apply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.plan.known import (
    QDRANT,
    VIT,
    Server,
    collection,
    collection_spec,
    facts,
    retriever,
    rounds,
    said_of_changes,
)

from lookalike_crds.quantities import amount
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.compare import differences
from lookalike_operator.plan.model import RetrieverSnapshot
from lookalike_operator.plan.retriever import plan_retriever

GPU = {"limits": {"nvidia.com/gpu": "2"}}


def _told(before: RetrieverSnapshot, after: RetrieverSnapshot) -> tuple[str, ...]:
    """What is said of the way from one spec, applied, to another."""
    server = Server()
    server.take(plan_retriever(before), before.meta.uid)
    return _said(replace(after, children=server.children()))


def _said(snapshot: RetrieverSnapshot) -> tuple[str, ...]:
    return said_of_changes(snapshot, plan_retriever(snapshot))


def _one(told: tuple[str, ...], about: str) -> str:
    found = [line for line in told if about in line]
    assert len(found) == 1, told
    return found[0]


def _serving(**changes: Any) -> RetrieverSnapshot:
    return retriever({"serving": changes}, collections=(facts(QDRANT, VIT),))


def test_something_new_is_created_and_its_gpus_are_counted() -> None:
    told = _said(_serving(replicas=2, resources=GPU))
    assert _one(told, "Deployment/") == "creates Deployment/search; needs 4 GPUs"


def test_nothing_is_said_where_nothing_changes() -> None:
    assert _told(_serving(), _serving()) == ()


def test_another_image_restarts_pods_one_by_one_and_needs_a_place_more() -> None:
    line = _one(_told(_serving(resources=GPU), _serving(resources=GPU, image="b:2")), "Deployment/")
    assert line.startswith("restarts the pods of Deployment/search one by one, without a gap")
    assert "needs 2 more GPUs" in line
    assert "containers[serving].image" in line
    assert "b:2" in line


def test_recreating_says_that_there_is_a_gap() -> None:
    before = _serving(resources=GPU, updateStrategy="Recreate")
    after = _serving(resources=GPU, updateStrategy="Recreate", image="b:2")
    assert "old ones end before new ones start" in _one(_told(before, after), "Deployment/")


def test_more_replicas_restart_nothing() -> None:
    told = _told(_serving(), _serving(replicas=3))
    assert told == ("changes Deployment/search, no pod restarts: spec.replicas: 1 -> 3",)


def test_search_defaults_are_taken_over_by_running_pods() -> None:
    before = retriever(collections=(facts(QDRANT, VIT),))
    after = retriever({"search": {"topK": 50}}, collections=(facts(QDRANT, VIT),))
    assert _told(before, after) == (
        "changes ConfigMap/search-config; running pods apply it without a restart",
    )


def test_a_ray_cluster_is_replaced_and_its_price_is_told() -> None:
    before = _serving(runtime="KubeRay", resources=GPU, replicas=2)
    after = _serving(runtime="KubeRay", resources=GPU, replicas=2, image="b:2")
    line = _one(_told(before, after), "RayService/")
    assert line.startswith(
        "replaces the Ray cluster of RayService/search; needs 4 more GPUs for about 10 minutes"
    )


def test_a_serve_config_is_changed_in_place() -> None:
    before, after = _serving(runtime="KubeRay"), _serving(runtime="KubeRay", replicas=3)
    assert "changes the Serve config of RayService/search in place" in _one(
        _told(before, after), "RayService/"
    )


def test_a_changed_source_is_read_again_and_the_plan_says_which_and_why() -> None:
    def source(**s3: str) -> dict[str, Any]:
        return {"name": "cloud", "s3": {"bucket": "photos", **s3}}

    server = Server()
    snapshot = collection(QDRANT, VIT, {"sources": [source()]})
    rounds(snapshot, server, 2)
    more = {"sources": [source(prefix="2024/"), {"name": "more", "gcs": {"bucket": "more"}}]}
    changed = replace(snapshot, spec=collection_spec(QDRANT, VIT, more), children=server.children())
    told = said_of_changes(changed, plan_collection(changed))
    assert "reads source cloud again: s3.prefix:  -> 2024/" in told
    assert "reads source more, which is new" in told


def test_another_runtime_deletes_what_the_first_made() -> None:
    told = _told(_serving(), _serving(runtime="KubeRay"))
    assert "deletes Deployment/search" in told
    assert "deletes ConfigMap/search-config" in told


# -- comparing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "live", "paths"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": {}}, {}, []),
        ({"a": False}, {}, []),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"requests": {"cpu": "1000m"}}, {"requests": {"cpu": "1"}}, []),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}, ["requests.cpu"]),
        ({"data": {"x": "1000m"}}, {"data": {"x": "1"}}, ["data.x"]),
        (
            {"containers": [{"name": "a", "image": "x"}]},
            {"containers": [{"name": "injected"}, {"name": "a", "image": "y"}]},
            ["containers[a].image"],
        ),
        ({"ports": [{"port": 1}, {"port": 2}]}, {"ports": [{"port": 1}, {"port": 3}]},
         ["ports[1].port"]),
        ({"spec": {"a": 1}}, {"spec": None}, ["spec"]),
    ],
)  # fmt: skip
def test_what_is_rendered_must_be_there_and_more_may_be(
    wanted: dict[str, Any], live: dict[str, Any], paths: list[str]
) -> None:
    assert [found.path for found in differences(wanted, live)] == paths


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), _json), st.dictionaries(st.text(min_size=5), _json))
def test_an_object_never_differs_from_itself_with_more_in_it(
    manifest: dict[str, Any], more: dict[str, Any]
) -> None:
    assert differences(manifest, {**more, **manifest}) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("500m", 0.5), ("2Ki", 2048), ("1.5Gi", 1610612736), ("1e3", 1000), ("4k", 4000),
     ("", None), ("much", None), ("1Zi", None)],
)  # fmt: skip
def test_quantities_are_numbers(text: str, number: float | None) -> None:
    found = amount(text)
    assert (None if found is None else float(found)) == number
