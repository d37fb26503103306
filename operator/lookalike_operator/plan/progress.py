"""The progress of the current run, for the status: of workers that have finished or that answer.

The status is not written more often than every SHOWN_SECONDS for this, however often the resource
is reconciled, because each write wakes every watcher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from lookalike_crds.image_collection import RunProgress
from lookalike_crds.progress import WorkerProgress, total_of
from lookalike_operator.plan.conditions import parsed, timestamp
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.runs import latest, pods_of, result_of

SHOWN_SECONDS = 30.0


def progress_of(
    job: Manifest,
    pods: Iterable[Manifest],
    answers: Mapping[str, WorkerProgress],
    before: RunProgress | None,
    now: datetime,
) -> RunProgress | None:
    """`answers`: of pods that run, by name. `before`: what the status says of the same Job."""
    if before is not None and _is_fresh(before, now):
        return before
    own = latest(pods_of(job, pods))
    under_way = [answers[name] for pod in own if (name := pod["metadata"]["name"]) in answers]
    told = [*filter(None, map(_through, own)), *under_way]
    if not told:
        return before
    listed = sum(each.listed for each in told)
    complete = len(told) >= workers_of(job) and all(each.listed_all for each in told)
    rates = [each.images_per_second for each in under_way if each.images_per_second is not None]
    left = [_left(each) for each in under_way]
    # Each has a share of its own, so the slowest tells when all are through.
    known = [each for each in left if each is not None]
    seconds = max(known) if complete and known and len(known) == len(left) else None
    made = RunProgress(
        listed=listed,
        total=listed if complete else None,
        done=sum(each.done for each in told),
        failed=sum(each.failed for each in told),
        images_per_second=round(sum(rates), 2) if rates else None,
        estimated_completion=(
            None if seconds is None else timestamp(now + timedelta(seconds=round(seconds)))
        ),
        workers=len(told),
        downloading=downloading(under_way),
        updated_at=timestamp(now),
    )
    same = before is not None and made.model_copy(update={"updated_at": before.updated_at})
    return before if same == before else made


def downloading(workers: Iterable[WorkerProgress]) -> str | None:
    """Weights that have arrived, in words. Of the one that has the least: the others wait for
    nothing else."""
    fetching = [each.fetching for each in workers if each.fetching is not None]
    return min(fetching, key=lambda each: each.done).told() if fetching else None


def told(progress: RunProgress, workers: int) -> str:
    """In words: "1,200 of 5,000 images, 12 failed; 3.2 per second, complete at about 14:05 UTC"."""
    of = "found so far" if progress.total is None else "images"
    count = progress.listed if progress.total is None else progress.total
    said = f"{progress.done:,} of {count:,} {of}"
    if progress.failed:
        said += f", {progress.failed:,} failed"
    if progress.workers < workers:
        said += f" (from the {progress.workers} of {workers} workers that answer)"
    if progress.images_per_second is not None:
        said += f"; {progress.images_per_second:g} per second"
    if (end := parsed(progress.estimated_completion)) is not None:
        said += f", complete at about {end:%Y-%m-%d %H:%M} UTC"
    elif progress.total is None:
        said += "; the remaining time is known when all images are listed"
    return said


def workers_of(job: Manifest) -> int:
    return int((job.get("spec") or {}).get("completions") or 1)


def _is_fresh(progress: RunProgress, now: datetime) -> bool:
    at = parsed(progress.updated_at)
    return at is not None and timedelta(0) <= now - at < timedelta(seconds=SHOWN_SECONDS)


def _left(worker: WorkerProgress) -> float | None:
    """Seconds; a worker whose images are done is as good as through."""
    if worker.listed_all and worker.done >= worker.listed:
        return 0.0
    return worker.eta_seconds


def _through(pod: Manifest) -> WorkerProgress | None:
    result = result_of(pod)
    if result is None or (pod.get("status") or {}).get("phase") != "Succeeded":
        return None
    total = total_of(result.sources.values())
    return WorkerProgress(
        # An image of an early release does not count what it skips as listed.
        listed=max(total.images, total.done),
        listed_all=True,
        done=total.done,
        failed=total.failed,
    )
