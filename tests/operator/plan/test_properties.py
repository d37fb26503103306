"""What holds for every plan, whatever the resources say and however often it is applied."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.plan.known import (
    ALL_APIS,
    EDGE,
    NOW,
    OTHER,
    QDRANT,
    VIT,
    Server,
    collection,
    facts,
    meta,
    retriever,
    rounds,
    said_of_changes,
    searching,
)

from lookalike_crds.retriever import RetrieverStatus
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    Plan,
    Recommendation,
    RetrieverSnapshot,
    Sample,
    ref_of,
)
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.retriever import plan_retriever

_names = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
_schedules = st.sampled_from([None, "0 3 * * *", "*/15 * * * *"])


@st.composite
def _sources(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(_names, max_size=3, unique=True))
    sources: list[dict[str, Any]] = []
    for name in names:
        place = draw(
            st.sampled_from(
                [
                    {"volume": {"path": "images", "claimName": "photos"}},
                    {"volume": {"path": "/mnt/images"}},
                    {"urls": {"manifest": "https://feeds.example/a.csv"}},
                    {"s3": {"bucket": "photos", "credentialsSecretRef": "s3"}},
                ]
            )
        )
        source = {"name": name, **place, "deleteMissing": draw(st.booleans())}
        schedule = draw(_schedules)
        sources.append({**source, "schedule": schedule} if schedule else source)
    return {"sources": sources}


@st.composite
def collections(draw: st.DrawFn) -> CollectionSnapshot:
    parts = [
        draw(st.sampled_from([EDGE, QDRANT])),
        draw(st.sampled_from([{}, VIT, OTHER])),
        draw(_sources()),
        {"deletionPolicy": draw(st.sampled_from(["Delete", "Retain"]))},
        {"suspend": draw(st.booleans())},
        {"ingestion": {"parallelism": draw(st.sampled_from([None, 1, 7]))}},
        {"fields": draw(st.sampled_from([[], [{"name": "kind", "type": "Keyword"}]]))},
    ]
    return collection(
        *parts,
        meta=meta(draw(_names)),
        retrievers=draw(
            st.sampled_from([(), (searching(),), (searching(available=False), searching("b"))])
        ),
        missing_secrets=draw(st.sampled_from([(), ("s3",)])),
    )


@st.composite
def retrievers(draw: st.DrawFn) -> RetrieverSnapshot:
    edge = draw(st.booleans())
    engine = EDGE if edge else QDRANT
    names = draw(st.lists(_names, min_size=1, max_size=3, unique=True))
    found = tuple(
        facts(engine, draw(st.sampled_from([{}, VIT])), draw(_sources()), name=name)
        for name in names
    )
    serving = {
        "runtime": draw(st.sampled_from(["Standalone", "KubeRay"])),
        "replicas": draw(st.integers(0, 1 if edge else 6)),
        "updateStrategy": draw(st.sampled_from(["Surge", "Recreate"])),
        "resources": draw(st.sampled_from([None, {"limits": {"nvidia.com/gpu": "1"}}])),
    }
    autoscaling = None
    if draw(st.booleans()):
        low, high = sorted(draw(st.tuples(st.integers(0, 9), st.integers(1, 9))))
        autoscaling = {
            "minReplicas": low,
            "maxReplicas": 1 if edge else max(1, high),
            "metrics": [{"preset": "Concurrency", "target": 5}],
            "idleTimeoutSeconds": draw(st.sampled_from([None, 600])),
        }
        autoscaling["minReplicas"] = min(low, int(autoscaling["maxReplicas"]))  # type: ignore[call-overload]
    access = draw(
        st.sampled_from(
            [
                {},
                {"ingress": {"host": "a.example"}, "networkPolicy": True},
                {"httpRoute": {"gateway": "g", "hostnames": ["a.example"]}},
            ]
        )
    )
    return retriever(
        {"serving": serving, "autoscaling": autoscaling, "access": access},
        {"suspend": draw(st.booleans())},
        collections=found,
        meta=meta(draw(_names)),
        apis=draw(st.sampled_from([ALL_APIS, frozenset({"ray.io/v1/RayService"})])),
        samples=(Sample(draw(st.none() | st.floats(0, 100))),),
        idle_seconds=draw(st.sampled_from([None, 10.0, 5000.0])),
        recommendations=draw(
            st.sampled_from([(), (Recommendation(NOW - timedelta(seconds=60), 3),)])
        ),
    )


def _plan(snapshot: CollectionSnapshot | RetrieverSnapshot) -> Plan:
    if isinstance(snapshot, CollectionSnapshot):
        return plan_collection(snapshot)
    return plan_retriever(snapshot)


_snapshots = collections() | retrievers()


@settings(max_examples=30, deadline=None)
@given(_snapshots)
def test_what_is_planned_is_planned_again_and_then_nothing_changes(
    snapshot: CollectionSnapshot | RetrieverSnapshot,
) -> None:
    # Numbers that move by themselves are not rest.
    if isinstance(snapshot, RetrieverSnapshot):
        snapshot = replace(snapshot, samples=(Sample(5.0),), recommendations=())
    server = Server()
    plans = rounds(snapshot, server)
    server.writes = 0
    before = plans[-1]
    again = rounds(_with_status(snapshot, before), server, count=2)
    assert server.writes == 0
    assert all(plan.status == before.status for plan in again)
    assert not any(plan.events or plan.index_ops for plan in again)
    live = replace(snapshot, children=server.children())
    assert not any(said_of_changes(live, plan) for plan in again)


def _with_status(
    snapshot: CollectionSnapshot | RetrieverSnapshot, plan: Plan
) -> CollectionSnapshot | RetrieverSnapshot:
    from lookalike_crds.image_collection import ImageCollectionStatus

    finalizers = ("lookalike.dev/index",) if _has_finalizer(snapshot) else ()
    meta_ = replace(snapshot.meta, finalizers=finalizers)
    if isinstance(snapshot, CollectionSnapshot):
        status = ImageCollectionStatus.model_validate(plan.status)
        return replace(snapshot, status=status, meta=meta_)
    return replace(snapshot, status=RetrieverStatus.model_validate(plan.status), meta=meta_)


def _has_finalizer(snapshot: CollectionSnapshot | RetrieverSnapshot) -> bool:
    if not isinstance(snapshot, CollectionSnapshot) or snapshot.spec is None:
        return False
    spec = snapshot.spec
    return spec.index.engine.value == "Qdrant" and spec.deletion_policy.value == "Delete"


@settings(max_examples=25, deadline=None)
@given(_snapshots)
def test_the_same_snapshot_gives_the_same_plan(
    snapshot: CollectionSnapshot | RetrieverSnapshot,
) -> None:
    assert _plan(snapshot) == _plan(replace(snapshot))


@settings(max_examples=25, deadline=None)
@given(_snapshots)
def test_every_object_has_a_name_of_its_own_and_an_owner(
    snapshot: CollectionSnapshot | RetrieverSnapshot,
) -> None:
    plan = _plan(snapshot)
    made = [*plan.objects, *plan.once]
    assert len({ref_of(manifest) for manifest in made}) == len(made)
    for manifest in made:
        metadata = manifest["metadata"]
        assert len(metadata["name"]) <= 63
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", metadata["name"])
        assert metadata["namespace"] == snapshot.meta.namespace
        owners = [owner["uid"] for owner in metadata.get("ownerReferences", ())]
        if manifest["kind"] == "PersistentVolumeClaim" and not owners:
            assert _retains(snapshot)
        else:
            assert owners == [snapshot.meta.uid]
        for value in metadata["labels"].values():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value)


def _retains(snapshot: CollectionSnapshot | RetrieverSnapshot) -> bool:
    if isinstance(snapshot, CollectionSnapshot):
        specs = [snapshot.spec]
    else:
        specs = [each.spec for each in snapshot.collections]
    return any(spec is not None and spec.deletion_policy.value == "Retain" for spec in specs)


@settings(max_examples=30, deadline=None)
@given(_snapshots, st.booleans())
def test_an_object_of_somebody_else_stops_everything_but_looking_whether_it_is_still_there(
    snapshot: CollectionSnapshot | RetrieverSnapshot, labelled: bool
) -> None:
    wanted = [*_plan(snapshot).objects]
    for manifest in wanted:
        stranger = {
            **manifest,
            "metadata": {
                **manifest["metadata"],
                "uid": "a-stranger",
                "ownerReferences": [{"uid": "another", "controller": True}],
            },
        }
        told = (
            replace(snapshot, children=(stranger,))
            if labelled
            else replace(snapshot, foreign=(ref_of(manifest),))
        )
        plan = _plan(told)
        # It is named alone, so that the next apply finds out whether the name is free.
        assert [ref_of(o) for o in (*plan.objects, *plan.once)] == [ref_of(manifest)]
        assert "NameTaken" in [c["reason"] for c in plan.status["conditions"]]


@settings(max_examples=30, deadline=None)
@given(retrievers(), st.integers(0, 30), st.integers(0, 30))
def test_replicas_stay_within_bounds(snapshot: RetrieverSnapshot, current: int, ready: int) -> None:
    assert snapshot.spec is not None
    spec = snapshot.spec.autoscaling
    plan = plan_retriever(replace(snapshot, status=RetrieverStatus(desired_replicas=current)))
    desired = plan.status.get("desiredReplicas")
    if spec is None or snapshot.spec.suspend or plan.hands_off or desired is None:
        return
    idle = any(c["reason"] == "Idle" for c in plan.status["conditions"])
    assert max(1, spec.min_replicas) <= desired <= max(1, spec.max_replicas) or (
        idle and desired == 0
    )


@settings(max_examples=30, deadline=None)
@given(_snapshots)
def test_every_condition_says_something_in_one_line(
    snapshot: CollectionSnapshot | RetrieverSnapshot,
) -> None:
    for condition in _plan(snapshot).status["conditions"]:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", condition["reason"])
        assert condition["message"].strip()
        assert "\n" not in condition["message"]
        assert condition["observedGeneration"] == snapshot.meta.generation


@settings(max_examples=30, deadline=None)
@given(_snapshots)
def test_a_plan_owns_what_it_makes(snapshot: CollectionSnapshot | RetrieverSnapshot) -> None:
    kind = "ImageCollection" if isinstance(snapshot, CollectionSnapshot) else "Retriever"
    owner = Owner(kind, snapshot.meta)
    assert all(owner.owns(manifest) for manifest in _plan(snapshot).objects)
