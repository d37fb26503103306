"""From `kubectl apply` to an answered query: an Edge collection behind a Standalone Retriever.

The tests of this module share one namespace and go on from one another, as a cluster's life does;
each says what it needs and can be run after the first alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster.api import Refused
from e2e.tests.chart import Chart
from e2e.tests.endpoint import Endpoint
from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import condition, story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 240
"""More than one process ingests by itself, so that the Job's pod starts its workers."""
COLLECTION = "catalogue"
RETRIEVER = "similarity-retriever"


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.open("standalone") as stage:
        stage.catalogue(PICTURES)
        stage.apply_example("standalone-edge.yaml")
        yield stage


@pytest.fixture(scope="module")
def endpoint(stage: Stage) -> Endpoint:
    until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 300)
    until_condition(stage.api, stage.collection(COLLECTION), "Ingested", "True", 300)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(60)
    return endpoint


def test_every_picture_is_there_once_and_the_status_says_so(
    stage: Stage, endpoint: Endpoint
) -> None:
    assert endpoint.documents(COLLECTION) == PICTURES
    collection = until_condition(stage.api, stage.collection(COLLECTION), "Ready", "True", 60)
    assert collection["status"]["documents"] == PICTURES
    assert collection["status"]["failed"] == 0
    [source] = collection["status"]["sources"]
    assert (source["listed"], source["ingested"]) == (PICTURES, PICTURES)


def test_words_find_what_they_name(endpoint: Endpoint) -> None:
    found = endpoint.search_by_words("a mug", top_k=5)
    assert [each["metadata"]["kind"] for each in found] == ["mug"] * 5


def test_a_picture_finds_itself(stage: Stage, endpoint: Endpoint) -> None:
    entry = stage.entries[7]
    found = endpoint.search_by_picture(stage.picture(entry), top_k=3)
    assert found[0]["document_id"] == entry["document_id"]
    assert found[0]["score"] > 0.999


def test_nobody_gets_in_without_the_key(endpoint: Endpoint) -> None:
    with endpoint.client() as client:
        answer = client.get("/v1/collections", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


def test_the_status_says_where_to_ask(stage: Stage, endpoint: Endpoint) -> None:
    retriever = stage.api.get(stage.retriever(RETRIEVER))
    assert retriever["status"]["url"].startswith(f"http://{RETRIEVER}.{stage.namespace}.svc")
    assert retriever["status"]["replicas"] == 1


def test_a_changed_default_takes_effect_without_a_restart(stage: Stage, endpoint: Endpoint) -> None:
    before = stage.serving_pod(RETRIEVER)
    stage.change_default(endpoint, top_k=4)
    after = stage.serving_pod(RETRIEVER)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_restarted_pod_has_lost_nothing(stage: Stage, endpoint: Endpoint) -> None:
    before = stage.serving_pod(RETRIEVER)
    stage.api.delete(stage.pod(before["metadata"]["name"]))
    stage.until_gone(stage.pod(before["metadata"]["name"]), 120)
    until_condition(stage.api, stage.retriever(RETRIEVER), "Available", "True", 240)
    endpoint.until_it_answers(60)
    assert endpoint.documents(COLLECTION) == PICTURES
    entry = stage.entries[3]
    assert (
        endpoint.search_by_picture(stage.picture(entry))[0]["document_id"] == (entry["document_id"])
    )


@pytest.mark.parametrize(
    "child",
    [
        f"/api/v1/namespaces/{{}}/services/{RETRIEVER}",
        f"/api/v1/namespaces/{{}}/configmaps/{RETRIEVER}-config",
        f"/apis/apps/v1/namespaces/{{}}/deployments/{RETRIEVER}",
    ],
)
def test_a_deleted_child_comes_back(stage: Stage, endpoint: Endpoint, child: str) -> None:
    path = child.format(stage.namespace)
    before = stage.api.get(path)["metadata"]["uid"]
    stage.api.delete(path)

    def back() -> bool | None:
        found = stage.api.find(path)
        return True if found and found["metadata"]["uid"] != before else None

    until(f"new {path}", back, 60, lambda: story(stage.api, stage.retriever(RETRIEVER)))
    until_condition(stage.api, stage.retriever(RETRIEVER), "Available", "True", 240)
    fresh = stage.endpoint(RETRIEVER)
    fresh.until_it_answers(60)
    assert fresh.documents(COLLECTION) == PICTURES


def test_an_upgrade_to_the_operators_own_image_disturbs_nobody(
    stage: Stage, endpoint: Endpoint, chart: Chart, operator_image: str
) -> None:
    endpoint = stage.endpoint(RETRIEVER)  # its Service may be another
    before = stage.serving_pod(RETRIEVER)
    chart.install(operator_image)
    assert chart.images() == {operator_image}
    # It takes over what the other one made: changes what is to change, and nothing else.
    stage.change_default(endpoint, top_k=6)
    after = stage.serving_pod(RETRIEVER)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert endpoint.documents(COLLECTION) == PICTURES


def test_what_the_api_server_can_refuse_it_refuses_in_words(stage: Stage) -> None:
    change = {"spec": {"vector": {"distance": "Dot"}}}
    with pytest.raises(Refused, match=r"vector\.distance is immutable"):
        stage.api.patch(stage.collection(COLLECTION), change)


def test_a_retriever_of_nothing_says_which_collection_is_missing(stage: Stage) -> None:
    stage.apply(
        {
            "apiVersion": "lookalike.dev/v1alpha1",
            "kind": "Retriever",
            "metadata": {"name": "lost"},
            "spec": {"collections": [{"name": "nowhere"}]},
        }
    )
    lost = until_condition(stage.api, stage.retriever("lost"), "Ready", "False", 60)
    found = condition(lost, "Ready")
    assert found is not None
    assert "nowhere" in found["message"]
    stage.api.delete(stage.retriever("lost"))
    stage.until_gone(stage.retriever("lost"), 60)


def test_deletion_leaves_nothing_behind(stage: Stage, endpoint: Endpoint) -> None:
    stage.api.delete(stage.retriever(RETRIEVER))
    stage.api.delete(stage.collection(COLLECTION))
    until(
        "empty namespace",
        lambda: True if not stage.children() else None,
        180,
        lambda: f"still there: {stage.children()}",
    )
