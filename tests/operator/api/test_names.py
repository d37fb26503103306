"""The API server takes the names that `lookalike validate` takes, and what follows from them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from e2e.cluster import definitions
from e2e.cluster.api import Api, Refused
from e2e.cluster.paths import ROOT
from e2e.cluster.waiting import until
from operators import ByHand, collection, kind_named, retriever
from tests.crds.name_examples import EDGES
from tests.operator.plan import known

from lookalike_crds.load import load_resources
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Manifest, Plan
from lookalike_operator.plan.names import FINALIZER
from lookalike_operator.plan.retriever import plan_retriever

pytestmark = pytest.mark.apiserver

MAKERS = (collection, retriever)
_MINUTE = 29_000_000
"""As the Jobs of a CronJob have it in their names."""


def some_names() -> list[str]:
    """The edges, and names made at random, the same ones each time."""
    dice = random.Random(7)
    made = ["".join(dice.choices("ab09-.", k=dice.randint(1, 6))) for _ in range(80)]
    return [*dict.fromkeys([*EDGES, *made])]


def fits(manifest: Manifest) -> bool:
    return not load_resources(json.dumps(manifest)).errors


async def is_taken(cluster: Cluster, manifest: Manifest) -> bool:
    try:
        await cluster.create(manifest, dry_run=True)
    except ApiError as error:
        if error.status not in (400, 422):
            raise
        return False
    return True


async def test_names_are_those_of_validate(cluster: Cluster, namespace: str) -> None:
    manifests = [make(namespace, name) for name in some_names() for make in MAKERS]
    taken = await asyncio.gather(*(is_taken(cluster, each) for each in manifests))
    differing = [
        (each["kind"], each["metadata"]["name"], "taken" if ok else "refused")
        for each, ok in zip(manifests, taken, strict=True)
        if ok != fits(each)
    ]
    assert differing == []
    assert 20 < sum(taken) < len(taken) - 20


async def test_the_refusal_says_what_to_write(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError, match=r"metadata.name: write at most 63 .* beginning with a let"):
        await cluster.create(retriever(namespace, "0shop"), dry_run=True)


@pytest.mark.parametrize("value", [0.25, 1, -3, "auto"])
async def test_a_cut_off_is_a_number_or_auto(cluster: Cluster, namespace: str, value: Any) -> None:
    manifest = retriever(namespace, "shop", search={"minScore": value})
    assert fits(manifest)
    assert await is_taken(cluster, manifest)


@pytest.mark.parametrize("value", ["automatic", "0.5", True, False, [], [1], {}, {"a": 1}])
async def test_no_cut_off_is_anything_else(cluster: Cluster, namespace: str, value: Any) -> None:
    manifest = retriever(namespace, "shop", search={"minScore": value})
    assert not fits(manifest)
    with pytest.raises(ApiError, match=r"spec\.search\.minScore"):
        await cluster.create(manifest, dry_run=True)


# Everything that a name can become part of.
_BUSY: tuple[dict[str, Any], ...] = (
    {"ingestion": {"parallelism": 1000}, "deletionPolicy": "Retain"},
    known.VIT,
)
_SECRET = {"name": "team.key", "key": ".keys_1"}
_ACCESS = {
    "apiKeysSecretRef": _SECRET,
    "ingress": {"host": "*.search.example", "tlsSecretName": "tls.example"},
    "networkPolicy": True,
}


def plans(name: str) -> Iterable[Plan]:
    """Of a collection and of Retrievers so named, whose sources and collections are so named."""
    source = {"name": name, "volume": {"path": "images", "claimName": "photos.example"}}
    sources = {"sources": [{**source, "schedule": "0 3 * * *"}, {**source, "name": "b"}]}
    qdrant = {"index": {"qdrant": {"serviceRef": "qdrant", "apiKeySecretRef": _SECRET}}}
    meta = known.meta(name)
    for index in (known.EDGE, qdrant):
        parts = (index, *_BUSY, sources)
        asks = replace(known.searching("search"), meta=known.meta("search"))
        yield plan_collection(known.collection(*parts, meta=meta, retrievers=(asks,)))
        if name[0].isdigit():
            continue
        found = (known.facts(*parts, name=name),)
        for runtime in ("Standalone", "KubeRay"):
            spec = {"serving": {"runtime": runtime}, "access": _ACCESS}
            yield plan_retriever(known.retriever(spec, collections=found, meta=meta))


@pytest.fixture
def shop(api: Api) -> str:
    """The namespace that the plans are for."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": known.NAMESPACE}})
    return known.NAMESPACE


async def test_every_object_that_follows_from_a_name_is_taken(cluster: Cluster, shop: str) -> None:
    names = [n for n in EDGES if fits(collection(shop, n))]
    assert len(names) > 20
    objects: list[Manifest] = []
    for name in names:
        for plan in plans(name):
            assert not plan.hands_off, plan.status
            objects += [*plan.objects, *plan.once]
    kinds = {each["kind"] for each in objects}
    assert kinds >= {"CronJob", "Job", "Deployment", "Service", "Ingress", "NetworkPolicy"}
    objects += [_job_of(each) for each in objects if each["kind"] == "CronJob"]
    services = [each for each in objects if each["kind"] == "RayService"]
    # KubeRay's operator asks for at most 47, and for the name of a Service.
    assert services
    assert all(len(each["metadata"]["name"]) <= 41 for each in services)
    asked = {json.dumps(_unowned(each), sort_keys=True) for each in objects if _is_served(each)}
    refusals = [r for r in await asyncio.gather(*(refusal(cluster, each) for each in asked)) if r]
    assert refusals == []


def _job_of(cron_job: Manifest) -> Manifest:
    """The Job that its controller makes of it."""
    template = cron_job["spec"]["jobTemplate"]
    name = f"{cron_job['metadata']['name']}-{_MINUTE}"
    meta = {**template["metadata"], "name": name, "namespace": cron_job["metadata"]["namespace"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": template["spec"]}


def _unowned(manifest: Manifest) -> Manifest:
    kept = {k: v for k, v in manifest["metadata"].items() if k != "ownerReferences"}
    return {**manifest, "metadata": kept}


def _is_served(manifest: Manifest) -> bool:
    return manifest["kind"] not in ("RayService", "ServiceMonitor")


async def refusal(cluster: Cluster, manifest: str) -> str | None:
    try:
        await cluster.create(json.loads(manifest), dry_run=True)
    except ApiError as error:
        return error.message
    return None


@pytest.fixture
def without_rules(api: Api) -> Iterator[None]:
    """The definitions as they were when any object's name would do; those of today afterwards."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml.safe_load(file.read_text())
        for version in definition["spec"]["versions"]:
            free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            version["schema"]["openAPIV3Schema"] = {
                "type": "object",
                "properties": {"spec": free, "status": free},
            }
            version["subresources"].pop("scale", None)
        api.apply(definition)
    yield
    definitions.install(api)


@pytest.mark.parametrize("name", ["a.b", "0shop"])
async def test_an_object_of_an_earlier_time_is_told_of_and_can_go(
    api: Api, cluster: Cluster, namespace: str, without_rules: None, name: str
) -> None:
    """Neither its name nor the names in its spec would be taken today."""
    qdrant = {"serviceRef": "0qdrant", "apiKeySecretRef": {"name": "keys", "key": "a b"}}
    wrong = collection(namespace, name, index={"engine": "Qdrant", "qdrant": qdrant})
    wrong["metadata"]["finalizers"] = [FINALIZER]

    until(lambda: _applied(api, wrong, retriever(namespace, name)), "objects so named", 60)
    definitions.install(api)
    await _enforced(cluster, namespace)
    hand = ByHand(cluster, namespace)
    await hand.settle()
    for kind in ("ImageCollection", "Retriever"):
        live = await cluster.get(kind_named(kind), namespace, name)
        assert live is not None
        stalled = next(c for c in live["status"]["conditions"] if c["type"] == "Stalled")
        assert stalled["reason"] == "InvalidSpec", stalled
        # Others can go on writing, too.
        path = kind_named(kind).path(namespace, name)
        own = live["metadata"].get("finalizers") or []
        api.patch(path, {"metadata": {"annotations": {"a": "b"}, "finalizers": [*own, "x.y/z"]}})
        api.delete(path)
        api.patch(path, {"metadata": {"finalizers": own or None}})
    await hand.settle()
    for kind in ("ImageCollection", "Retriever"):
        assert await cluster.get(kind_named(kind), namespace, name) is None


def _applied(api: Api, *manifests: Manifest) -> bool:
    """Not while the definitions of before are still in force."""
    try:
        for manifest in manifests:
            api.apply(manifest)
    except Refused:
        return False
    return True


async def _enforced(cluster: Cluster, namespace: str) -> None:
    """The definitions of today have reached the server's handlers."""
    news = (retriever(namespace, "0new"), collection(namespace, "a.c"))
    for _ in range(300):
        if not any([await is_taken(cluster, each) for each in news]):
            return
        await asyncio.sleep(0.2)
    raise AssertionError("names that are refused today are still taken")
