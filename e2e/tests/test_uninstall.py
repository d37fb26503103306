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
        stage.catalogue("product-images", 3)
        stage.apply_example("standalone-edge.yaml")
        catalogue = stage.collection("catalogue")
        until_condition(stage.api, catalogue, "IndexReady", "True", 120)
        assert stage.api.get(catalogue)["metadata"].get("finalizers")
        chart.uninstall()
        # The CRDs stay, and with them what people wrote.
        assert not stage.api.get(catalogue)["metadata"].get("finalizers")
    stage.until_gone(f"/api/v1/namespaces/{stage.namespace}", 120)
