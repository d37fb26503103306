"""A Retriever over a Qdrant server, and its Deployment as a cluster shows it."""

from __future__ import annotations

from tests.operator.plan.known import (
    QDRANT,
    VIT,
    facts,
    named,
)

from lookalike_operator.plan.model import (
    Manifest,
    Plan,
)

SERVER = (facts(QDRANT, VIT),)


def live_deployment(plan: Plan, **status: int) -> Manifest:
    """The plan's Deployment as its controller leaves it."""
    deployment = named(plan, "Deployment")
    return {
        **deployment,
        "metadata": {**deployment["metadata"], "generation": 2},
        "status": {"observedGeneration": 2, **status},
    }


def all_ready(count: int) -> dict[str, int]:
    fields = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
    return dict.fromkeys(fields, count)


def pod_template(plan: Plan) -> Manifest:
    found: Manifest = named(plan, "Deployment")["spec"]["template"]
    return found


CRASH = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "serving",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {
                "terminated": {"exitCode": 1, "message": "model weights not found: x.safetensors"}
            },
        }
    ],
}
