"""Autoscaling metrics as PromQL: each query gives one number for one replica.

Series are selected by `namespace` and `retriever`, which the ServiceMonitor's relabelling gives
them; docs/autoscaling.md has the same for a Prometheus that finds pods by annotation.
"""

from __future__ import annotations

import json

from lookalike_crds.retriever import Metric, Preset

_SEARCHES = 'route=~"/v1/.*"'


def metric_query(metric: Metric, namespace: str, retriever: str) -> str:
    """The query whose value `metric.target` is compared with."""
    selector = _selector(namespace, retriever)
    match metric.preset:
        case None:
            return metric.query or ""
        case Preset.CONCURRENCY:
            return f"avg(avg_over_time(lookalike_requests_in_flight{{{selector}}}[1m]))"
        case Preset.LATENCY:
            rate = f"rate(lookalike_request_seconds_bucket{{{selector},{_SEARCHES}}}[2m])"
            p95 = f"1000 * histogram_quantile(0.95, sum by (le) ({rate}))"
            # No request, no latency: that is 0 where replicas are scraped, missing where not.
            return f"({p95} > 0) or 0 * sum(lookalike_requests_in_flight{{{selector}}})"
        case Preset.GPU_UTILIZATION:
            return f"avg(avg_over_time(lookalike_gpu_utilization_percent{{{selector}}}[1m]))"


def idle_query(namespace: str, retriever: str) -> str:
    """Seconds since the last request."""
    selector = _selector(namespace, retriever)
    return f"time() - max(lookalike_last_request_timestamp_seconds{{{selector}}})"


def _selector(namespace: str, retriever: str) -> str:
    return f"namespace={json.dumps(namespace)},retriever={json.dumps(retriever)}"
