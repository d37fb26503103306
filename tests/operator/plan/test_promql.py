"""The queries on series as our pods write them, answered by Prometheus's own engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lookalike_crds.retriever import Metric, Preset
from lookalike_operator.plan.promql import idle_query, metric_query

OURS = 'namespace="shop",retriever="search"'
OTHERS = 'namespace="shop",retriever="other"'


def _series(name: str, values: str, labels: str = OURS, pod: str = "a") -> dict[str, str]:
    return {"series": f'{name}{{{labels},pod="{pod}"}}', "values": values}


def _latency(le: str, step: int) -> dict[str, str]:
    labels = f'{OURS},route="/v1/retrievers/{{retriever}}/search",le="{le}"'
    return _series("lookalike_request_seconds_bucket", f"0+{step}x20", labels)


IN_FLIGHT = [
    _series("lookalike_requests_in_flight", "6x20"),
    _series("lookalike_requests_in_flight", "2x20", pod="b"),
    _series("lookalike_requests_in_flight", "100x20", OTHERS),
]
CASES: dict[str, tuple[str, list[dict[str, str]], float | None]] = {
    "requests under way, for one replica": (
        metric_query(Metric(preset=Preset.CONCURRENCY, target=1), "shop", "search"), IN_FLIGHT, 4,
    ),
    "no replica is scraped": (
        metric_query(Metric(preset=Preset.CONCURRENCY, target=1), "shop", "search"),
        IN_FLIGHT[2:], None,
    ),
    "latency of all answered within a quarter of a second": (
        metric_query(Metric(preset=Preset.LATENCY, target=1), "shop", "search"),
        [*IN_FLIGHT, _latency("0.1", 0), _latency("0.25", 10), _latency("+Inf", 10)], 242.5,
    ),
    "latency without a request": (
        metric_query(Metric(preset=Preset.LATENCY, target=1), "shop", "search"),
        [*IN_FLIGHT, _latency("0.1", 0), _latency("0.25", 0), _latency("+Inf", 0)], 0,
    ),
    "latency without a replica": (
        metric_query(Metric(preset=Preset.LATENCY, target=1), "shop", "search"), IN_FLIGHT[2:],
        None,
    ),
    "GPUs": (
        metric_query(Metric(preset=Preset.GPU_UTILIZATION, target=1), "shop", "search"),
        [_series("lookalike_gpu_utilization_percent", "80x20"),
         _series("lookalike_gpu_utilization_percent", "40x20", pod="b")], 60,
    ),
    "idle since the last request to any replica": (
        idle_query("shop", "search"),
        [_series("lookalike_last_request_timestamp_seconds", "100x20"),
         _series("lookalike_last_request_timestamp_seconds", "240x20", pod="b")], 60,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_query_gives_one_number(name: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool here (Debian: prometheus)")
    query, series, value = CASES[name]
    expected: list[dict[str, Any]] = [] if value is None else [{"labels": "{}", "value": value}]
    test = {
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": series,
                "promql_expr_test": [{"expr": query, "eval_time": "5m", "exp_samples": expected}],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_query_of_ones_own_is_asked_as_it_stands() -> None:
    assert metric_query(Metric(query="up", target=1), "shop", "search") == "up"


def test_names_are_quoted() -> None:
    query = idle_query("shop", 'a"b')
    assert json.dumps('a"b') in query
