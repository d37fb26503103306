"""The queries on series as our pods write them, answered by Prometheus's own engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_crds.retriever import Metric, Preset
from lookalike_operator.plan.promql import Queries, QueryRefused, idle_query, metric_query, within

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


def test_a_query_of_ones_own_is_asked_of_ones_own_namespace() -> None:
    metric = Metric(query="up", target=1)
    assert metric_query(metric, "shop", "search") == 'up{namespace="shop"}'
    assert metric_query(metric, "shop", "search", Queries.ANY) == "up"


QUERIES = [
    "sum(rate(orders_total[5m])) / 3",
    'a{namespace="other"} or {__name__=~".+"}',
    'max_over_time(rate(a{b="c"}[5m])[1h:1m] offset 5m) > bool on (x) group_left (y) b @ start()',
    'label_replace(a, "namespace", "shop", "", "") * -(count_values("v", b))',
    'a{namespace!="shop",c="\\"} or secret{d=\\""}',
    "topk(3, a) + scalar(absent(b)) + time() + 1",
    '{"a.b", namespace=~".*"}',
]


@pytest.mark.parametrize("query", QUERIES)
def test_every_selector_of_a_query_is_bound_to_the_namespace(query: str) -> None:
    asked = within(query, "shop")
    selectors = len(_selectors(query))
    assert selectors > 0
    for matchers in _selectors(asked):
        assert ("namespace", "shop") in matchers
    assert len(_selectors(asked)) == selectors
    # Asked again, it gains nothing.
    assert _selectors(within(asked, "shop")) != []


OPERATORS = [" + ", " or ", " * on (a) ", " unless "]


@settings(deadline=None)
@given(st.recursive(
    st.sampled_from(["a", 'b{c="d"}', 'c{namespace="x"}', '{__name__=~"e.*"}', "rate(f[5m])"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map("".join),
        inner.map(lambda each: f"sum by (x) ({each})"),
        inner.map(lambda each: f"max_over_time(({each})[1h:5m])"),
        inner.map(lambda each: f"-({each})"),
    ),
))  # fmt: skip
def test_no_query_selects_outside_of_its_namespace(query: str) -> None:
    found = _selectors(within(query, "shop"))
    assert len(found) == len(_selectors(query))
    assert all(("namespace", "shop") in matchers for matchers in found)


def _selectors(query: str) -> list[list[tuple[str, str]]]:
    """Of each selector the labels that must equal something."""
    found: list[list[tuple[str, str]]] = []

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            equal = [m for m in node.matchers.matchers if m.op == promql_parser.MatchOp.Equal]
            found.append([(m.name, m.value) for m in equal])

    promql_parser.walk(promql_parser.parse(query), pre_visit=look)
    return found


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sum(", "not valid PromQL"),
        ("info(a)", "no selector names"),
        ('a{b="c" or d="e"}', "write two selectors"),
    ],
)
def test_what_cannot_be_bound_is_refused_and_says_why(query: str, says: str) -> None:
    with pytest.raises(QueryRefused, match=says):
        within(query, "shop")


def test_names_are_quoted() -> None:
    query = idle_query("shop", 'a"b')
    assert json.dumps('a"b') in query
