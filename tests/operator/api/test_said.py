"""What events tell, read from a real API server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from e2e.cluster.api import Api
from fault_proxy import FaultProxy

from lookalike_operator.observe.said import Explanations

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

CLAIMS = 12


def claim(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": f"of-{namespace}",
        },
    }


def event(about: dict[str, Any], note: str, at: datetime, name: str) -> dict[str, Any]:
    meta = about["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": meta["namespace"]},
        "regarding": {
            "kind": about["kind"],
            **{key: meta[key] for key in ("name", "namespace", "uid")},
        },
        "reason": "ProvisioningFailed",
        "note": note,
        "type": "Warning",
        "action": "Provision",
        "reportingController": "example.com/provisioner",
        "reportingInstance": "a",
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


async def test_one_list_explains_every_claim_of_a_namespace_and_each_by_its_last_event(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    # Without a class, the cluster's own controller would say that there is none.
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"}
    named = {"metadata": {"name": f"of-{namespace}"}, "provisioner": "example.com/provisioner"}
    api.apply(storage | named)
    claims = []
    for number in range(CLAIMS):
        name = f"claim-{number}"
        api.apply(claim(namespace, name))
        path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
        claims.append(api.get(path) | {"kind": "PersistentVolumeClaim"})
    now = datetime.now(UTC)
    for number, each in enumerate(claims[1:], start=1):
        api.apply(event(each, f"no room for {number}", now, f"new-{number}"))
        api.apply(event(each, "an older one", now - timedelta(minutes=5), f"old-{number}"))
    cluster = proxy.cluster()
    try:
        explanations = Explanations(cluster)
        later = now + timedelta(minutes=10)
        told = await asyncio.gather(*(explanations.unprovisioned([each], later) for each in claims))
        assert told[0] == {}
        assert told[1:] == [
            {f"claim-{number}": f"no room for {number}"} for number in range(1, CLAIMS)
        ]
        assert len([call for call in proxy.calls if "/events" in call.path]) == 1
        assert await explanations.refused_pods(claims) == {}
        assert len([call for call in proxy.calls if "/events" in call.path]) == 1
    finally:
        await cluster.close()
