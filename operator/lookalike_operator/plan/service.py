"""The Service in front of a Retriever's pods: `<retriever>`, port 8000."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike_operator.plan import places
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import Component, Owner


def serving_service(owner: Owner, extra_selector: Mapping[str, str] | None = None) -> Manifest:
    """`extra_selector` narrows it to some of the serving pods, as KubeRay's upgrades need."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(owner.name, Component.SERVING),
        "spec": {
            "type": "ClusterIP",
            "selector": {**owner.selector(Component.SERVING), **(extra_selector or {})},
            "ports": [
                # By number: the port has another name at a Ray head, as KubeRay wants it.
                {"name": "http", "port": places.PORT, "targetPort": places.PORT, "protocol": "TCP"}
            ],
        },
    }
