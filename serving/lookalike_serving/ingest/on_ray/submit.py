"""`python -m lookalike_serving.ingest.on_ray.submit --result FILE -- COMMAND`: the pod that submits
the Ray job of a RayJob.

KubeRay says in the environment where the cluster is and which id the job has. The command runs on
the head. What it logs is printed here, and how the run ended is written to FILE, which Kubernetes
keeps with the pod, as it keeps that of a pod of an ingestion Job.

The exit code is 0 whenever the job has ended: KubeRay asks Ray how. It is another one if the job
could not be submitted or followed; then this program is started again, and follows the job that it
finds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from lookalike_crds.progress import RunResult
from lookalike_crds.ray_job import result_in

_ADDRESS, _ID = "RAY_DASHBOARD_ADDRESS", "RAY_JOB_SUBMISSION_ID"
_PATIENCE_SECONDS = 120.0
"""The dashboard may still be starting."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="lookalike_serving.ingest.on_ray.submit")
    parser.add_argument("--result", type=Path, required=True, metavar="FILE")
    parser.add_argument("command", nargs="+", help="what runs on the head, after --")
    arguments = parser.parse_args()
    missing = [name for name in (_ADDRESS, _ID) if not os.environ.get(name)]
    if missing:
        print(f"{' and '.join(missing)} must be set: KubeRay does so", file=sys.stderr)
        return 2
    client = _client(os.environ[_ADDRESS])
    submission = os.environ[_ID]
    if not _is_there(client, submission):
        client.submit_job(entrypoint=shlex.join(arguments.command), submission_id=submission)
    asyncio.run(_show_log(client, submission))
    while not client.get_job_status(submission).is_terminal():
        time.sleep(1)
    result = _result(client.get_job_logs(submission))
    if result is None:
        info = client.get_job_info(submission)
        print(info.message or f"the Ray job ended as {info.status}", file=sys.stderr)
    else:
        arguments.result.write_bytes(result.to_json())
    return 0


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    url = address if "://" in address else f"http://{address}"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return JobSubmissionClient(url)
        except (ConnectionError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def _is_there(client: Any, submission: str) -> bool:
    return any(each.submission_id == submission for each in client.list_jobs())


async def _show_log(client: Any, submission: str) -> None:
    """Until the job has ended."""
    rest = ""
    async for part in client.tail_job_logs(submission):
        *lines, rest = (rest + part).split("\n")
        for line in lines:
            if result_in(line) is None:
                print(line, file=sys.stderr, flush=True)


def _result(log: str) -> RunResult | None:
    """What the job said last about how the run ended."""
    found = (result_in(line) for line in reversed(log.splitlines()))
    return next((each for each in found if each is not None), None)


if __name__ == "__main__":
    sys.exit(main())
