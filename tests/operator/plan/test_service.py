"""The Service in front of serving pods."""

from __future__ import annotations

import pytest
from tests.operator.plan.deployed import pod_template
from tests.operator.plan.known import QDRANT, VIT, facts, named, retriever

from lookalike_operator.plan.names import Component, Owner
from lookalike_operator.plan.retriever import plan_retriever
from lookalike_operator.plan.service import serving_service

OWNER = Owner("Retriever", retriever().meta)


@pytest.mark.parametrize("runtime", ["Standalone", "KubeRay"])
def test_its_port_is_one_that_the_serving_container_listens_on(runtime: str) -> None:
    serving = {"serving": {"runtime": runtime}}
    plan = plan_retriever(retriever(serving, collections=(facts(QDRANT, VIT),)))
    (port,) = named(plan, "Service")["spec"]["ports"]
    assert port["targetPort"] == 8000, "by number: a Ray head names the port otherwise"


def test_it_finds_the_pods_of_its_retriever_and_no_others() -> None:
    plan = plan_retriever(retriever(collections=(facts(QDRANT, VIT),)))
    selector = named(plan, "Service")["spec"]["selector"]
    assert selector.items() <= pod_template(plan)["metadata"]["labels"].items()
    assert not selector.items() <= OWNER.labels(Component.INGESTION).items()


def test_it_can_be_narrowed_to_some_of_the_pods_and_still_finds_no_others() -> None:
    narrowed = serving_service(OWNER, {"ray.io/cluster": "a"})["spec"]["selector"]
    assert narrowed == {**serving_service(OWNER)["spec"]["selector"], "ray.io/cluster": "a"}
