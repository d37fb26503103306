"""`helm uninstall` before anything else: no namespace is left that cannot be deleted.

The last module, since it takes away the operator that all the others share.
"""

from __future__ import annotations

import os

import pytest

from e2e.tests.chart import Chart
from e2e.tests.stage import Stages
from e2e.tests.waiting import until_condition

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(
        os.environ.get("LOOKALIKE_E2E_KEEP") == "1", reason="LOOKALIKE_E2E_KEEP=1: it stays"
    ),
]


def test_a_namespace_can_go_after_the_operator_went(stages: Stages, chart: Chart) -> None:
    with stages.open("uninstall") as stage:
        index = {"engine": "Qdrant", "qdrant": {"serviceRef": "nobody"}}
        stage.apply(
            {
                "apiVersion": "lookalike.dev/v1alpha1",
                "kind": "ImageCollection",
                "metadata": {"name": "photos"},
                "spec": {"model": {"provider": "Demo"}, "index": index},
            }
        )
        photos = stage.collection("photos")
        until_condition(stage.api, photos, "IndexReady", "False", 60, reason="QdrantUnavailable")
        # The operator wants to delete the index before the collection may go.
        assert stage.api.get(photos)["metadata"]["finalizers"] == ["lookalike.dev/index"]
        chart.uninstall()
        # The CRDs stay, and with them what people wrote.
        assert "finalizers" not in stage.api.get(photos)["metadata"]
    stage.until_gone(f"/api/v1/namespaces/{stage.namespace}", 120)
