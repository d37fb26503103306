"""A plan beside what lives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.operator.plan.known import QDRANT, VIT, Server, facts, retriever, said_of_changes

from lookalike_operator.plan.changes import Changes, changes
from lookalike_operator.plan.model import Manifest, Plan, RetrieverSnapshot, Written, ref_of
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.retriever import plan_retriever

SEARCH = retriever(collections=(facts(QDRANT, VIT),))
OWNER = Owner("Retriever", SEARCH.meta)


def _applied(**more: Any) -> tuple[RetrieverSnapshot, Plan]:
    """The Retriever with all its objects as they were applied, and its plan."""
    server = Server()
    server.take(plan_retriever(SEARCH), SEARCH.meta.uid)
    snapshot = replace(SEARCH, children=server.children(), **more)
    return snapshot, plan_retriever(snapshot)


def _differing(found: Changes) -> dict[str, list[str]]:
    return {
        str(ref_of(change.wanted)): [each.path for each in change.differences]
        for change in found.objects
        if change.differences
    }


def test_of_a_new_resource_nothing_lives() -> None:
    found = changes(OWNER, SEARCH, plan_retriever(SEARCH))
    assert found.objects
    assert all(change.live is None for change in (*found.objects, *found.once))
    assert found.deleted == ()


def test_each_object_is_beside_its_own_live_one() -> None:
    snapshot, plan = _applied()
    found = changes(OWNER, snapshot, plan)
    assert [change.wanted for change in found.objects] == list(plan.objects)
    for change in found.objects:
        assert change.live is not None
        assert ref_of(change.live) == ref_of(change.wanted)
    assert _differing(found) == {}


def test_what_somebody_else_put_into_a_spec_is_a_difference_that_a_person_reads_of() -> None:
    snapshot, plan = _applied()
    (deployment,) = (each for each in snapshot.children if each["kind"] == "Deployment")
    paused = (Written("kubectl-edit", (("f:spec", "f:paused"),)),)
    edited = replace(snapshot, written_by_others={ref_of(deployment): paused})
    assert _differing(changes(OWNER, edited, plan)) == {"Deployment/search": ["spec.paused"]}
    (line,) = said_of_changes(edited, plan)
    assert "spec.paused: set by kubectl-edit -> (none)" in line


def test_what_a_plan_does_not_name_is_deleted_unless_it_is_anothers_or_on_its_way() -> None:
    snapshot, plan = _applied()

    def left_over(name: str, **meta: Any) -> Manifest:
        owned = {"name": name, "namespace": OWNER.namespace, "uid": name}
        owned["ownerReferences"] = meta.pop("owners", [{"uid": OWNER.meta.uid}])
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**owned, **meta}}

    more = (
        left_over("old"),
        left_over("theirs", owners=[{"uid": "another", "controller": True}]),
        left_over("going", deletionTimestamp="2026-03-01T12:00:00Z"),
    )
    with_more = replace(snapshot, children=(*snapshot.children, *more))
    assert changes(OWNER, with_more, plan).deleted == (more[0],)


def test_a_plan_that_keeps_its_hands_off_changes_nothing() -> None:
    snapshot, plan = _applied()
    assert changes(OWNER, snapshot, replace(plan, objects=(), hands_off=True)) == Changes()
