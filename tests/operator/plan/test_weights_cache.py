"""The volume that keeps the weights of models: spec.model.cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.operator.plan.deployed import SERVER, pod_template
from tests.operator.plan.known import PHOTOS, named, retriever
from tests.operator.plan.moments import on_server

from lookalike_operator.plan import places
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.indexes import stored
from lookalike_operator.plan.model import CollectionFacts
from lookalike_operator.plan.retriever import plan_retriever

CACHED = {"model": {"provider": "Demo", "cache": {"claim": "models"}}}


def _mounted(pod: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    (container,) = pod["containers"]
    volumes = [each for each in pod["volumes"] if each["name"] == "weights"]
    return volumes, [each for each in container["volumeMounts"] if each["name"] == "weights"]


CLAIM = ([{"name": "weights", "persistentVolumeClaim": {"claimName": "models"}}],)
MOUNT = ([{"name": "weights", "mountPath": places.WEIGHTS}],)


def test_ingestion_pods_mount_it() -> None:
    job = named(plan_collection(on_server(PHOTOS, CACHED)), "Job")
    assert _mounted(job["spec"]["template"]["spec"]) == (*CLAIM, *MOUNT)
    plain = named(plan_collection(on_server(PHOTOS)), "Job")
    assert _mounted(plain["spec"]["template"]["spec"]) == ([], [])


def test_serving_pods_mount_it_once_whatever_their_collections_say() -> None:
    (first, *others) = SERVER
    spec = first.spec

    def with_claim(facts: CollectionFacts, claim: str) -> CollectionFacts:
        model = spec.model.model_copy(update={"cache": type(cache)(claim=claim)})
        return replace(facts, spec=spec.model_copy(update={"model": model}))

    cache = type(spec.model).model_validate(CACHED["model"]).cache
    assert cache is not None
    collections = (with_claim(first, "models"), *others)
    pod = pod_template(plan_retriever(retriever(collections=collections)))["spec"]
    assert _mounted(pod) == (*CLAIM, *MOUNT)


def test_where_it_is_kept_says_nothing_of_the_model() -> None:
    model = on_server(CACHED).spec.model  # type: ignore[union-attr]
    assert model.cache is not None
    assert model.alone.cache is None
    assert "models" not in stored(model)
