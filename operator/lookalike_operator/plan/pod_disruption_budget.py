"""Lets a node drain evict one serving pod at a time."""

from __future__ import annotations

from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import Component, Owner


def serving_budget(owner: Owner) -> Manifest:
    """At most one pod may be unavailable, so that a drain continues even if there is only one."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(owner.name, Component.SERVING),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": owner.selector(Component.SERVING)},
            # A pod that does not answer protects nobody.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
