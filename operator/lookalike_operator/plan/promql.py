"""Autoscaling metrics as PromQL: each query gives one number per replica.

Series are selected by `namespace` and `retriever`, which the relabelling of the ServiceMonitor
sets; docs/autoscaling.md has the same for a Prometheus that finds pods by annotation.
"""

from __future__ import annotations

import json
import re
from enum import Enum

import promql_parser

from lookalike_crds.retriever import Metric, Preset


class Queries(Enum):
    """What the queries in resources may select."""

    OWN_NAMESPACE = "OwnNamespace"
    ANY = "Any"


class QueryRefused(ValueError):
    """Why a query is not sent, in one line."""


_SEARCHES = 'route=~"/v1/.*"'


def metric_query(
    metric: Metric, namespace: str, retriever: str, queries: Queries = Queries.OWN_NAMESPACE
) -> str:
    """The query whose value `metric.target` is compared with. Raises QueryRefused."""
    selector = _selector(namespace, retriever)
    match metric.preset:
        case None:
            query = metric.query or ""
            return query if queries is Queries.ANY else within(query, namespace)
        case Preset.CONCURRENCY:
            return f"avg(avg_over_time(lookalike_requests_in_flight{{{selector}}}[1m]))"
        case Preset.LATENCY:
            rate = f"rate(lookalike_request_seconds_bucket{{{selector},{_SEARCHES}}}[2m])"
            p95 = f"1000 * histogram_quantile(0.95, sum by (le) ({rate}))"
            # No request, no latency: that is 0 if replicas are scraped, missing where not.
            return f"({p95} > 0) or 0 * sum(lookalike_requests_in_flight{{{selector}}})"
        case Preset.GPU_UTILIZATION:
            return f"avg(avg_over_time(lookalike_gpu_utilization_percent{{{selector}}}[1m]))"


def within(query: str, namespace: str) -> str:
    """The query with `namespace="…"` in every selector, in addition to what it selects by already.

    The query is written again from its parsed form, so a query that another parser would read
    differently cannot select more than this one. Raises QueryRefused.
    """

    def scoped(node: promql_parser.Expr) -> promql_parser.Expr | None:
        if isinstance(node, promql_parser.Call) and node.func.name == "info":
            raise QueryRefused("info() adds series that no selector names: select them yourself")
        if not isinstance(node, promql_parser.VectorSelector):
            return None
        if node.matchers.or_matchers:
            raise QueryRefused("`or` within braces is not PromQL: write two selectors")
        return promql_parser.parse(_with_matcher(node.prettify(), namespace))

    try:
        tree = promql_parser.parse(query)
        asked = promql_parser.transform(tree, post_visit=scoped).prettify()
        again = promql_parser.parse(asked)
    except QueryRefused:
        raise
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise QueryRefused(f"the query is not valid PromQL: {said}") from None
    if not _all_within(again, namespace):
        raise QueryRefused(f'write namespace="{namespace}" into each selector of the query')
    return asked


_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def _with_matcher(selector: str, namespace: str) -> str:
    """A selector as the parser writes it, `name{…} offset …`, with one more matcher."""
    name = _METRIC.match(selector)
    head = name[0] if name else ""
    rest = selector[len(head) :]
    own = f"namespace={json.dumps(namespace)}"
    if not rest.startswith("{"):
        return f"{head}{{{own}}}{rest}"
    return f"{head}{{{own}{'' if rest.startswith('{}') else ','}{rest[1:]}"


def _all_within(tree: promql_parser.Expr, namespace: str) -> bool:
    """Whether every selector is bound to the namespace."""

    def bound(node: promql_parser.Expr) -> bool:
        if not isinstance(node, promql_parser.VectorSelector):
            return True
        return any(
            (each.name, each.op, each.value)
            == ("namespace", promql_parser.MatchOp.Equal, namespace)
            for each in node.matchers.matchers
        )

    return promql_parser.walk(tree, pre_visit=bound)


def idle_query(namespace: str, retriever: str) -> str:
    """Seconds since the last request."""
    selector = _selector(namespace, retriever)
    return f"time() - max(lookalike_last_request_timestamp_seconds{{{selector}}})"


def _selector(namespace: str, retriever: str) -> str:
    return f"namespace={json.dumps(namespace)},retriever={json.dumps(retriever)}"
