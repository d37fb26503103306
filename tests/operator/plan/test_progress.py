"""How far a run is: in the status while it is under way, and not written more often than of use."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.operator.plan.known import (
    CLAIM,
    EDGE,
    NOW,
    PHOTOS,
    VIT,
    collection,
    condition,
    ended,
    pod,
    result,
    searching,
)
from tests.operator.plan.moments import after, done, on_server, status_of

from lookalike_crds.progress import WorkerProgress
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import CollectionSnapshot, Manifest

RUNNING = {"phase": "Running", "podIP": "10.0.0.1"}


def worker(listed: int, done: int, *, all: bool = True, **more: Any) -> WorkerProgress:
    return WorkerProgress(listed=listed, done=done, listed_all=all, failed=0, **more)


def under_way(workers: int, **statuses: dict[str, Any]) -> CollectionSnapshot:
    """A run whose pods have these statuses, by name; each is a partition of its own."""
    snapshot = on_server(PHOTOS, {"ingestion": {"parallelism": workers}})
    snapshot = after(snapshot, plan_collection(snapshot))
    job = next(c for c in snapshot.children if c["kind"] == "Job")

    def partition(index: int, name: str) -> Manifest:
        key = {"batch.kubernetes.io/job-completion-index": str(index)}
        at = "2026-03-01T11:00:00Z"
        status = statuses[name]
        return pod(name, owner=job, status=status, annotations=key, creationTimestamp=at)

    return replace(snapshot, pods=tuple(partition(i, name) for i, name in enumerate(statuses)))


def progress(snapshot: CollectionSnapshot) -> dict[str, Any] | None:
    found: dict[str, Any] | None = plan_collection(snapshot).status["run"].get("progress")
    return found


def message(snapshot: CollectionSnapshot) -> str:
    said: str = condition(plan_collection(snapshot), "Ingested")["message"]
    return said.partition(" is in progress; ")[2]


def test_workers_that_are_through_and_workers_that_answer_are_added_up() -> None:
    snapshot = under_way(3, a=ended(result(listed=100, new=98, failed=2)), b=RUNNING, c=RUNNING)
    answers = {
        "b": worker(100, 50, images_per_second=2.0, eta_seconds=25.0),
        "c": worker(120, 20, images_per_second=1.5, eta_seconds=66.0),
    }
    snapshot = replace(snapshot, progress=answers)
    assert progress(snapshot) == {
        "listed": 320,
        "total": 320,
        "done": 170,
        "failed": 2,
        "imagesPerSecond": 3.5,
        "estimatedCompletion": "2026-03-01T12:01:06Z",
        "workers": 3,
        "updatedAt": "2026-03-01T12:00:00Z",
    }
    assert message(snapshot) == (
        "0 of 3 workers have finished; 170 of 320 images, 2 failed; 3.5 per second, complete at "
        "about 2026-03-01 12:01 UTC"
    )


def test_while_images_are_listed_neither_their_number_nor_the_end_is_told() -> None:
    one = worker(40, 10, all=False, images_per_second=2.0)
    snapshot = replace(under_way(1, a=RUNNING), progress={"a": one})
    found = progress(snapshot)
    assert found is not None
    assert (found["listed"], found["done"], found["imagesPerSecond"]) == (40, 10, 2.0)
    assert not {"total", "estimatedCompletion"} & found.keys()
    assert message(snapshot) == (
        "10 of 40 found so far; 2 per second; the remaining time is known when all images are "
        "listed"
    )


def test_of_a_worker_that_does_not_answer_nothing_is_guessed() -> None:
    one = worker(40, 10, images_per_second=2.0, eta_seconds=15.0)
    snapshot = replace(under_way(2, a=RUNNING, b=RUNNING), progress={"a": one})
    found = progress(snapshot)
    assert found is not None
    assert found["workers"] == 1
    assert not {"total", "estimatedCompletion"} & found.keys()
    assert "(from the 1 of 2 workers that answer)" in message(snapshot)
    silent = replace(snapshot, progress={})
    assert progress(silent) is None
    assert message(silent).endswith("no worker has reported its progress yet: see its log")


def test_a_worker_that_is_tried_again_is_not_counted_twice() -> None:
    snapshot = under_way(1, a=ended(result(listed=50, new=30), exit_code=1))
    again = pod(
        "b",
        owner=next(c for c in snapshot.children if c["kind"] == "Job"),
        status=RUNNING,
        annotations={"batch.kubernetes.io/job-completion-index": "0"},
        creationTimestamp="2026-03-01T12:00:00Z",
    )
    snapshot = replace(snapshot, pods=(*snapshot.pods, again), progress={"b": worker(50, 35)})
    found = progress(snapshot)
    assert found is not None
    assert (found["total"], found["done"], found["workers"]) == (50, 35, 1)


def test_it_is_written_at_most_every_half_minute_and_only_if_it_is_another() -> None:
    snapshot = replace(under_way(1, a=RUNNING), progress={"a": worker(100, 0, all=False)})
    written = []
    for second in range(601):
        now = NOW + timedelta(seconds=second)
        done = min(second, 300)
        made = worker(100 + second, done, all=False, images_per_second=1.0)
        if second > 300:
            made = worker(400, 300, images_per_second=None)  # it hangs
        plan = plan_collection(replace(snapshot, now=now, progress={"a": made}))
        if status_of(plan) != snapshot.status:
            written.append(second)
        snapshot = replace(snapshot, status=status_of(plan))
    assert written == list(range(0, 331, 30))
    assert plan.requeue_after == 30


def test_it_goes_when_the_run_has_ended() -> None:
    snapshot = replace(under_way(1, a=RUNNING), progress={"a": worker(10, 5)})
    snapshot = replace(snapshot, status=status_of(plan_collection(snapshot)))
    assert progress(done(snapshot)) is None


def test_weights_that_a_serving_pod_fetches_are_told_by_the_models_condition() -> None:
    arrived = "312 of 605 MB of the weights of a model have arrived"
    fetching = replace(searching(available=False), downloading=arrived)
    waiting = collection(EDGE, PHOTOS, VIT, children=(CLAIM,), retrievers=(fetching,))
    model = condition(plan_collection(waiting), "ModelReady")
    assert (model["status"], model["reason"]) == ("False", "Downloading")
    assert f": {arrived} (Retriever search)" in model["message"]


def test_weights_that_are_fetched_are_told_by_the_models_condition() -> None:
    snapshot = under_way(2, a=RUNNING, b=RUNNING)
    fetching = {"done": 312_400_000, "total": 605_200_000}
    answers = {"a": worker(0, 0, all=False, fetching=fetching), "b": worker(5, 1, all=False)}
    plan = plan_collection(replace(snapshot, progress=answers))
    model = condition(plan, "ModelReady")
    assert (model["status"], model["reason"]) == ("False", "Downloading")
    assert model["message"].endswith(": 312 of 605 MB of its weights have arrived")
    assert plan.status["run"]["progress"]["downloading"] == "312 of 605 MB"
    assert condition(plan, "Stalled")["status"] == "False"
    later = replace(snapshot, progress={"a": worker(9, 1), "b": worker(5, 1)})
    assert condition(plan_collection(later), "ModelReady")["reason"] == "NotTried"
