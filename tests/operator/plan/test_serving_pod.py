"""The serving pods, as both runtimes run them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.plan.deployed import pod_template
from tests.operator.plan.known import EDGE, PHOTOS, QDRANT, VIT, facts, retriever

from lookalike_crds.image_collection import ResourceList
from lookalike_operator.plan import serving_pod
from lookalike_operator.plan.retriever import plan_retriever


def _pod(*parts: dict[str, Any], **of: Any) -> Any:
    return pod_template(plan_retriever(retriever(*parts, **of)))["spec"]


def test_an_edge_retriever_mounts_its_index_and_sources_where_ingestion_does() -> None:
    mounts = _pod(collections=(facts(EDGE, PHOTOS),))["containers"][0]["volumeMounts"]
    paths = {mount["mountPath"] for mount in mounts}
    assert "/var/lib/lookalike-indexes/catalogue" in paths
    assert "/var/lib/lookalike-sources/catalogue/products" in paths


def test_its_own_keys_replace_the_generated_ones() -> None:
    def secrets(**access: Any) -> set[str]:
        volumes = _pod({"access": access}, collections=(facts(QDRANT, VIT),))["volumes"]
        return {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}

    assert secrets() == {"search-api-keys", "search-internal"}
    own = {"name": "keys", "key": "keys"}
    assert secrets(apiKeysSecretRef=own) == {"keys", "search-internal"}


def test_every_mount_has_its_volume_and_every_volume_its_mount() -> None:
    pod = _pod(collections=(facts(EDGE, PHOTOS), facts(QDRANT, VIT, name="archive")))
    mounts = [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
    assert sorted(mounts) == sorted(volume["name"] for volume in pod["volumes"])
    assert len(set(mounts)) == len(mounts)


def test_a_pod_that_loads_a_large_model_is_not_restarted_for_it() -> None:
    """The other probes begin once the startup probe has succeeded."""
    (container,) = _pod(collections=(facts(QDRANT, VIT),))["containers"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 900


def test_an_index_that_does_not_answer_takes_pods_out_of_the_service_and_restarts_none() -> None:
    (container,) = _pod(collections=(facts(QDRANT, VIT),))["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize(
    ("wanted", "resources", "gpus"),
    [
        (None, {"requests": {"cpu": "500m", "memory": "1280Mi"}}, 0),
        ({"limits": {"nvidia.com/gpu": "2"}}, {"limits": {"nvidia.com/gpu": "2"}}, 2),
        ({"requests": {"nvidia.com/gpu": "1"}}, {"requests": {"nvidia.com/gpu": "1"}}, 1),
        ({"requests": {"cpu": "2"}}, {"requests": {"cpu": "2"}}, 0),
    ],
)
def test_resources_are_those_of_the_spec_or_else_the_default_requests(
    wanted: dict[str, Any] | None, resources: dict[str, Any], gpus: int
) -> None:
    asked = None if wanted is None else ResourceList.model_validate(wanted)
    assert serving_pod.resources(asked) == resources
    assert serving_pod.gpus(asked) == gpus
