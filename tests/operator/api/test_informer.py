"""Kinds of other projects: absent, forbidden, installed later, gone again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from e2e.cluster.api import Api
from e2e.cluster.waiting import until
from fault_proxy import Fault, FaultProxy
from operators import InThread, kind_named

from lookalike_operator.cluster import Cluster
from lookalike_operator.engine.informer import Informer
from lookalike_operator.metrics import Metrics
from lookalike_operator.observe.store import Store

pytestmark = pytest.mark.apiserver

LABELS = {
    "app.kubernetes.io/managed-by": "lookalike-operator",
    "lookalike.dev/kind": "Retriever",
    "lookalike.dev/name": "search",
}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "servicemonitors.monitoring.coreos.com",
        "annotations": {"api-approved.kubernetes.io": "unapproved, test"},
    },
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {
            "plural": "servicemonitors",
            "singular": "servicemonitor",
            "kind": "ServiceMonitor",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@contextlib.asynccontextmanager
async def watching(cluster: Cluster, store: Store, namespace: str) -> AsyncIterator[Informer]:
    informer = Informer(
        cluster,
        store,
        kind_named("ServiceMonitor"),
        namespace,
        labels="app.kubernetes.io/managed-by=lookalike-operator",
        metrics=Metrics(),
        look_for_absent=0.2,
    )
    running = asyncio.create_task(informer.run())
    try:
        yield informer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def becomes(ready: Any, what: str) -> None:
    await asyncio.to_thread(until, ready, what, 60)


async def test_a_kind_that_is_installed_later_is_watched_from_then_on_and_may_go_again(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    store = Store()
    async with watching(cluster, store, namespace) as informer:
        await asyncio.wait_for(informer.synced.wait(), 60)
        assert not informer.present
        api.apply(DEFINITION)
        try:
            await becomes(lambda: informer.present, "the new kind")
            monitor = {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "ServiceMonitor",
                "metadata": {"name": "m", "namespace": namespace, "labels": LABELS},
                "spec": {},
            }
            await cluster.create(monitor)
            await becomes(lambda: len(store) == 1, "the ServiceMonitor in the store")
        finally:
            root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            api.delete(f"{root}/{DEFINITION['metadata']['name']}")
        await becomes(lambda: not informer.present, "the kind to be gone")
        assert len(store) == 0


@pytest.mark.slow
def test_a_kind_that_may_not_be_listed_is_as_good_as_absent(
    proxy: FaultProxy, namespace: str
) -> None:
    proxy.rule = lambda call: Fault(403, "Forbidden") if "/ray.io/" in call.path else None
    with InThread(proxy, namespace) as operator:
        until(lambda: operator.working, "the operator to work", 60)
        assert operator.operator is not None
        assert operator.operator.apis() == frozenset()


@pytest.mark.slow
def test_without_the_right_to_list_what_it_needs_it_waits_and_says_so(
    proxy: FaultProxy, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    forbidden = True
    proxy.rule = lambda call: (
        Fault(403, "Forbidden") if forbidden and call.path.endswith("/deployments") else None
    )
    with InThread(proxy, namespace) as operator:
        until(
            lambda: sum("watch of deployments" in line for line in caplog.messages) >= 2,
            "the refusal in the log",
            60,
        )
        assert not operator.working
        forbidden = False
        until(lambda: operator.working, "the operator to work", 60)
