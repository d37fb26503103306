"""What is planned while a collection changes its model, and afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operator.plan.known import (
    CLAIM,
    EDGE,
    OTHER,
    PHOTOS,
    SETTINGS,
    VIT,
    collection,
    condition,
    meta,
    named,
    result,
    retriever_spec,
    searching,
    told,
)
from tests.operator.plan.moments import after, done, index_facts, ingested, on_server, status_of

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.config import heavy_digest
from lookalike_crds.progress import CARRIED, Counts, GateResult, ItemError, RunResult, RunState
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.collection_deletion import plan_deletion
from lookalike_operator.plan.model import (
    CollectionFacts,
    CollectionSnapshot,
    IndexAction,
    Plan,
)
from lookalike_operator.plan.names import ROLLBACK, RUN_NOW, SWITCH, Owner
from lookalike_operator.plan.serving_config import serving_config

GATE = {"model": {**OTHER["model"], "gate": {"minOverlap": 0.5}}}


def filled(*, missing: int = 0, gate: GateResult | None = None) -> str:
    """The result of a run that carried ten documents over, but for some of them."""
    made = RunResult.model_validate_json(result())
    carried = Counts(listed=10, new=10 - missing, failed=missing)
    errors = [
        ItemError(source=CARRIED, key=f"mug-{number}", cause="not stored")
        for number in range(missing)
    ]
    state = RunState.COMPLETED_WITH_ERRORS if missing else RunState.COMPLETED
    return (
        made.model_copy(
            update={
                "state": state,
                "sources": {**made.sources, CARRIED: carried},
                "errors": errors,
                "gate": gate,
            }
        )
        .to_json()
        .decode()
    )


def changing(*parts: dict[str, Any], sources: dict[str, Any] = PHOTOS) -> CollectionSnapshot:
    """A full collection whose spec names another model since."""
    full = on_server(sources, VIT)
    full = ingested(full) if sources else replace(full, status=status_of(plan_collection(full)))
    spec = on_server(sources, *(parts or (OTHER,))).spec
    return replace(full, spec=spec, children=(), pods=(), retrievers=(searching(),))


def through(snapshot: CollectionSnapshot, message: str | None = None) -> CollectionSnapshot:
    """The run that fills the new index has ended; the status does not say it yet."""
    return done(after(snapshot, plan_collection(snapshot)), message or filled())


def switched(snapshot: CollectionSnapshot) -> CollectionSnapshot:
    """The new model answers, as the status says."""
    status = status_of(plan_collection(snapshot))
    return replace(snapshot, status=status, index=index_facts(str(status.index_name)))


def ingestion(plan: Plan) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(named(plan, "ConfigMap")["data"]["ingestion.json"])
    return config


def answering(snapshot: CollectionSnapshot) -> Any:
    """What a Retriever of the collection serves."""
    assert snapshot.spec is not None
    facts = CollectionFacts(snapshot.meta, snapshot.spec, snapshot.status)
    spec = retriever_spec(collections=(snapshot.meta.name,))
    return serving_config(meta("search"), spec, (facts,), SETTINGS)


def annotated(snapshot: CollectionSnapshot, **by: str) -> CollectionSnapshot:
    names = {"switch": SWITCH, "rollback": ROLLBACK, "run_now": RUN_NOW}
    annotations = {names[key]: value for key, value in by.items()}
    return replace(snapshot, meta=replace(snapshot.meta, annotations=annotations))


def later(snapshot: CollectionSnapshot, **span: float) -> CollectionSnapshot:
    return replace(snapshot, now=snapshot.now + timedelta(**span))


@pytest.mark.parametrize("sources", [PHOTOS, {}], ids=["sources", "uploads-alone"])
def test_the_new_index_is_filled_from_the_former_one_which_answers_meanwhile(
    sources: dict[str, Any],
) -> None:
    changed = changing(sources=sources)
    old = changed.status.index_name
    plan = plan_collection(changed)
    [job] = plan.once
    assert plan.status["indexName"] == old
    assert plan.status["activeModel"] == "OpenClip ViT-B-32 laion2b_s34b_b79k"
    config = ingestion(plan)
    assert config["collection"]["model"]["name"] == "ViT-L-14"
    assert config["carry"]["index"] == config["carry"]["on_server"]["name"] == old
    assert config["carry"]["model"]["name"] == "ViT-B-32"
    assert config["gateway_url"] == "http://search.shop.svc.cluster.local:8000"
    mounted = [each["name"] for each in job["spec"]["template"]["spec"]["volumes"]]
    assert "internal" in mounted, "the server gives no image without the token"
    plan = plan_collection(through(changed))
    assert plan.status["indexName"] != old
    assert plan.status["activeModel"] == "OpenClip ViT-L-14 laion2b_s32b_b82k"
    [event] = [each for each in plan.events if each.reason == "ModelChanged"]
    assert f"index {old} of the former model is kept until 2026-" in event.message
    assert ROLLBACK in event.message


def test_while_the_new_model_fails_the_old_one_stays() -> None:
    changed = changing()
    running = after(changed, plan_collection(changed))
    plan = plan_collection(done(running, result(RunState.FAILED, "no weights"), "Failed"))
    assert plan.status["indexName"] == changed.status.index_name
    assert told(plan, "Stalled") == ("True", "IngestionFailed")


def test_images_are_carried_through_a_retriever() -> None:
    alone = replace(changing(), retrievers=())
    plan = plan_collection(alone)
    assert plan.once == ()
    assert told(plan, "Ingested") == ("False", "WaitingForRetriever")
    assert "which reads their stored images" in condition(plan, "Ingested")["message"]
    assert alone.index is not None
    sourced = replace(alone, index=replace(alone.index, only_here=0))
    plan = plan_collection(sourced)
    assert len(plan.once) == 1, "its sources bring every document"
    assert "carry" not in ingestion(plan)


def test_an_empty_collection_changes_at_once() -> None:
    changed = changing(sources={})
    assert changed.index is not None
    empty = replace(changed, index=replace(changed.index, points=0))
    plan = plan_collection(empty)
    assert plan.once == ()
    assert plan.status["indexName"] != changed.status.index_name


def test_documents_that_cannot_be_carried_wait_for_a_person() -> None:
    changed = changing()
    waiting = through(changed, filled(missing=2))
    plan = plan_collection(waiting)
    assert plan.status["indexName"] == changed.status.index_name
    assert told(plan, "Stalled") == ("True", "DocumentsNotCarried")
    message = condition(plan, "ModelReady")["message"]
    assert "2 documents (mug-0, mug-1) cannot be embedded by the new model" in message
    assert "OpenClip ViT-B-32 laion2b_s34b_b79k keeps answering" in message
    wanted = message.rpartition(f"{SWITCH}=")[2].rstrip("`")
    recorded = replace(waiting, status=status_of(plan), children=(), pods=())
    assert plan_collection(recorded).status["run"]["notCarriedDocuments"] == ["mug-0", "mug-1"]
    assert plan_collection(recorded).status["indexName"] == changed.status.index_name
    plan = plan_collection(annotated(recorded, switch=wanted))
    assert plan.status["indexName"] == wanted
    again = plan_collection(annotated(recorded, run_now="2"))
    assert len(again.once) == 1, "the run is made again"


@pytest.mark.parametrize("passed", [True, False])
def test_the_gate_decides_whether_the_new_model_answers(passed: bool) -> None:
    changed = changing(GATE)
    assert ingestion(plan_collection(changed))["collection"]["gate"]["minOverlap"] == 0.5
    gate = GateResult(passed=passed, queries=100, overlap=0.42, told="overlap 0.42")
    plan = plan_collection(through(changed, filled(gate=gate)))
    assert (plan.status["indexName"] != changed.status.index_name) is passed
    assert plan.status["run"]["gate"]["overlap"] == 0.42
    if passed:
        [event] = [each for each in plan.events if each.reason == "ModelChanged"]
        assert "(overlap 0.42)" in event.message
    else:
        assert told(plan, "ModelReady") == ("False", "GateNotPassed")
        assert told(plan, "Stalled") == ("True", "GateNotPassed")
        assert "overlap 0.42" in condition(plan, "Ready")["message"]
        [event] = [each for each in plan.events if each.reason == "GateNotPassed"]
        assert "overlap 0.42" in event.message


def test_a_gate_that_was_not_measured_is_not_passed() -> None:
    plan = plan_collection(through(changing(GATE)))
    assert told(plan, "ModelReady") == ("False", "GateNotPassed")


def test_what_was_stored_during_the_change_is_carried_over_by_one_more_run() -> None:
    first = through(changing())
    now = switched(first)
    assert now.status.previous is not None
    plan = plan_collection(replace(now, children=(), pods=()))
    assert plan.once == ()
    assert told(plan, "Ready")[0] == "True", "every document that was there answers"
    assert told(plan, "Ingested") == ("True", "Settling")
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 60
    settled = later(replace(now, children=(), pods=(), status=status_of(plan)), seconds=61)
    plan = plan_collection(settled)
    assert len(plan.once) == 1
    assert ingestion(plan)["carry"]["index"] == now.status.previous.index
    level = replace(switched(through(settled)), children=(), pods=())
    assert level.status.previous is not None
    assert level.status.previous.level
    at_rest = plan_collection(level)
    assert at_rest.once == ()
    assert "carry" not in ingestion(at_rest)
    assert told(at_rest, "Ingested") == ("True", "Completed")


def test_a_change_can_be_taken_back_while_the_former_index_is_kept() -> None:
    first = switched(through(changing()))
    new, old = first.status.index_name, first.status.previous
    assert new is not None
    assert old is not None
    level = status_of(plan_collection(first)).model_copy(
        update={"previous": old.model_copy(update={"level": True})}
    )
    now = annotated(replace(first, status=level, children=(), pods=()), rollback=new)
    plan = plan_collection(now)
    assert ingestion(plan)["collection"]["index"]["name"] == old.index
    assert ingestion(plan)["carry"]["index"] == new
    assert plan.status["indexName"] == new, "until the former index has what came since"
    plan = plan_collection(through(now))
    assert plan.status["indexName"] == old.index
    assert plan.status["previous"]["index"] == new
    back = replace(now, status=status_of(plan))
    assert answering(back).collections[0].index.name == old.index
    assert plan_collection(replace(back, children=(), pods=())).status["indexName"] == old.index


@pytest.mark.parametrize("why", [None, "there is no file vit.pt"])
def test_what_came_late_is_carried_over_once_the_pods_have_switched(why: str | None) -> None:
    now = later(replace(switched(through(changing())), children=(), pods=()), seconds=90)
    previous = now.status.previous
    assert previous is not None
    reported = CollectionReport(index=previous.index, not_switched=why)
    plan = plan_collection(replace(now, report=reported))
    assert plan.once == ()
    settling = condition(plan, "Ingested")
    assert settling["status"] == "True"
    assert f"still answers from index {previous.index}" in settling["message"]
    assert plan.requeue_after == 15
    if why is not None:
        assert told(plan, "ModelReady") == ("False", "NotSwitched")
        assert told(plan, "Stalled") == ("True", "NotSwitched")
        assert condition(plan, "ModelReady")["message"].endswith(why)
    reported = CollectionReport(index=now.status.index_name)
    [run] = plan_collection(replace(now, report=reported)).once
    assert run["kind"] == "Job"
    assert plan_collection(now).once, "pods of another release do not tell it"


def test_the_former_index_is_deleted_when_its_time_has_passed_and_that_is_said() -> None:
    asked = {"model": {**OTHER["model"], "keepPrevious": "2d"}}
    first = switched(through(changing(asked)))
    old = first.status.previous
    assert old is not None
    level = first.status.model_copy(update={"previous": old.model_copy(update={"level": True})})
    now = replace(first, status=level, children=(), pods=())
    deleted = list(plan_collection(later(now, hours=47)).index_ops)
    assert not [each for each in deleted if each.action is IndexAction.DELETE]
    over = later(now, hours=49)
    plan = plan_collection(over)
    [op] = [each for each in plan.index_ops if each.action is IndexAction.DELETE]
    assert op.index == old.index
    [event] = [each for each in plan.events if each.reason == "FormerIndexDeleted"]
    assert old.index in event.message
    gone = replace(over, status=status_of(plan))
    assert gone.status.previous is not None
    assert gone.status.previous.removed
    assert not [e for e in plan_collection(gone).events if e.reason == "FormerIndexDeleted"]
    assert plan_collection(later(gone, hours=1)).index_ops == ()
    taken_back = annotated(gone, rollback=str(gone.status.index_name))
    assert plan_collection(taken_back).status["indexName"] == gone.status.index_name


def test_the_former_index_goes_with_the_collection() -> None:
    now = switched(through(changing()))
    assert now.status.previous is not None
    ending = replace(
        now,
        children=(),
        pods=(),
        meta=replace(now.meta, deleting=True, finalizers=("lookalike.dev/index",)),
    )
    plan = plan_deletion(ending, Owner("ImageCollection", ending.meta))
    assert now.status.previous.index in [each.index for each in plan.index_ops]


def test_the_pod_of_an_edge_index_opens_the_new_one_beside_it_without_a_restart() -> None:
    edge = collection(EDGE, PHOTOS, VIT, children=(CLAIM,), retrievers=(searching(),))
    full = ingested(edge)
    old = full.status.index_name
    changed = replace(full, spec=collection(EDGE, PHOTOS, OTHER).spec, children=(CLAIM,), pods=())
    served = answering(changed)
    assert served.collections[0].index.name == old
    [beside] = served.filling
    assert beside.model.name == "ViT-L-14"
    assert beside.index.path.parent == served.collections[0].index.path.parent
    plan = plan_collection(changed)
    assert ingestion(plan)["carry"] == {**ingestion(plan)["carry"], "index": old}
    assert "on_server" not in ingestion(plan)["carry"]
    assert plan.status["indexName"] == old
    now = replace(changed, status=status_of(plan_collection(through(changed))))
    before, served = served, answering(now)
    assert served.collections[0].model.name == "ViT-L-14"
    assert heavy_digest(served) == heavy_digest(before)
    assert [each.index.name for each in served.filling] == [old], "it is read once more"
    previous = now.status.previous
    assert previous is not None
    gone = previous.model_copy(update={"level": True, "removed": True})
    served = answering(replace(now, status=now.status.model_copy(update={"previous": gone})))
    assert served.filling == ()
    assert [each.name for each in served.removed] == [old]


COPIES = {"model": {"provider": "Timm", "name": "resnet50.a1_in1k"}}


def test_a_copy_model_that_is_added_fills_another_index_and_can_be_taken_back() -> None:
    snapshot = changing(VIT, {"duplicates": COPIES})
    run = ingestion(plan_collection(snapshot))["collection"]
    served = answering(snapshot).collections[0]
    assert run["copy_model"]["name"] == "resnet50.a1_in1k"
    assert (served.copy_model, served.index.name) == (None, snapshot.status.index_name)
    assert run["index"]["name"] != served.index.name
    full = switched(through(snapshot))
    served = answering(full).collections[0]
    assert served.copy_model is not None
    assert served.index.name == run["index"]["name"]
    assert str(full.status.active_model).endswith("+ Timm resnet50.a1_in1k")
    back = annotated(replace(full, children=(), pods=()), rollback=served.index.name)
    taken_back = ingestion(plan_collection(back))["collection"]
    assert taken_back["index"]["name"] == snapshot.status.index_name
    assert taken_back.get("copy_model") is None
