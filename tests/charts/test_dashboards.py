"""Dashboards and alerts ask for metrics that exist, in PromQL that parses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart import CHART, VALUES, Helm, Object, one
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from lookalike_operator.metrics import Metrics as OperatorMetrics
from lookalike_serving.gateway import metrics as serving_metrics
from lookalike_serving.gateway.traffic import Traffic

DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "")
# Only there with a GPU, or once a model is loaded.
_SOMETIMES = {
    "lookalike_gpu_utilization_percent",
    "lookalike_embed_batch_size",
    "lookalike_embed_queue_depth",
    "lookalike_embed_model_seconds",
    "lookalike_embed_overloaded",
}


def panels(dashboard: Object) -> list[Object]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Object) -> Iterator[str]:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield target["expr"]


def alerts(helm: Helm) -> list[dict[str, Any]]:
    rule = one(helm.objects(VALUES / "everything.yaml"), "PrometheusRule")
    return [each for group in rule["spec"]["groups"] for each in group["rules"]]


def existing() -> set[str]:
    """Names of metric families that serving and operator expose."""
    families: set[str] = set()
    serving = serving_metrics.Metrics(Traffic())
    for registry in (serving.registry, OperatorMetrics().registry):
        families |= _families(registry)
    source = Path(serving_metrics.__file__).read_text()
    for name in _SOMETIMES:
        assert f'"{name}"' in source, f"{name} is no metric of the serving pods any more"
    return families | _SOMETIMES


def _families(registry: CollectorRegistry) -> set[str]:
    from prometheus_client import generate_latest

    text = generate_latest(registry).decode()
    return {family.name for family in text_string_to_metric_families(text)}


def asked_for(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:lookalike|process)_\w+", re.sub(r'"[^"]*"', "", expression)))


def unknown(expression: str, families: set[str]) -> set[str]:
    return {
        name
        for name in asked_for(expression)
        if not any(name.removesuffix(s) in families for s in _SUFFIXES if name.endswith(s))
    }


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_a_dashboard_asks_only_for_metrics_that_exist(path: Path) -> None:
    families = existing()
    asked = list(expressions(json.loads(path.read_text())))
    assert asked
    for expression in asked:
        assert asked_for(expression), expression
        assert not unknown(expression, families), expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_a_dashboards_panels_do_not_lie_on_each_other(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_alerts_ask_only_for_metrics_that_exist(helm: Helm) -> None:
    families = existing()
    for alert in alerts(helm):
        assert not unknown(alert["expr"], families), alert["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_every_alert_and_every_panel(helm: Helm, tmp_path: Path) -> None:
    asked = [
        {"record": f"panel:{path.stem}:{i}", "expr": expression.replace("$__rate_interval", "5m")}
        for path in DASHBOARDS
        for i, expression in enumerate(expressions(json.loads(path.read_text())))
    ]
    rules = tmp_path / "rules.yaml"
    groups = [{"name": "alerts", "rules": alerts(helm)}, {"name": "panels", "rules": asked}]
    rules.write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run(
        ["promtool", "check", "rules", rules],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_are_installed_for_grafanas_sidecar(helm: Helm) -> None:
    objects = helm.objects(VALUES / "everything.yaml")
    maps = [o for o in objects if o["kind"] == "ConfigMap"]
    assert len(maps) == len(DASHBOARDS)
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((name, text),) = each["data"].items()
        assert json.loads(text) == json.loads((CHART / "files" / "dashboards" / name).read_text())
