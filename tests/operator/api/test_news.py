"""What the operator itself writes is news, too: one resource's new status wakes another."""

from __future__ import annotations

import pytest
from e2e.cluster.api import Api
from e2e.cluster.waiting import until
from fault_proxy import FaultProxy
from operators import InThread, collection, retriever

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

_READY = {
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": None}],
    }
}


def test_ingestion_begins_when_the_retriever_has_become_available(
    proxy: FaultProxy, api: Api, namespace: str
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    with InThread(proxy, namespace):
        api.apply(collection(namespace))
        api.apply(retriever(namespace))
        until(lambda: bool(api.get(pods)["items"]), "the serving pod", 60)
        assert api.get(jobs)["items"] == []
        # There is no kubelet here: what it would say of a pod that serves.
        name = api.get(pods)["items"][0]["metadata"]["name"]
        api.patch(f"{pods}/{name}/status", _READY)
        until(lambda: bool(api.get(jobs)["items"]), "the ingestion Job", 30)
