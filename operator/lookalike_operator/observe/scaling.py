"""The autoscaling metrics of a Retriever, as Prometheus has them now."""

from __future__ import annotations

import asyncio

from lookalike_crds.retriever import RetrieverSpec
from lookalike_operator.observe.prometheus import Prometheus
from lookalike_operator.plan.model import Meta, Sample
from lookalike_operator.plan.promql import idle_query, metric_query


async def samples(
    prometheus: Prometheus, meta: Meta, spec: RetrieverSpec
) -> tuple[tuple[Sample, ...], float | None]:
    """(one sample for each metric in order, seconds since the last request).

    Nothing is asked for Retrievers that do not scale.
    """
    scaling = spec.autoscaling
    if scaling is None or spec.suspend or meta.deleting:
        return (), None
    queries = [metric_query(metric, meta.namespace, meta.name) for metric in scaling.metrics]
    if scaling.idle_timeout_seconds is not None:
        queries.append(idle_query(meta.namespace, meta.name))
    answers = await asyncio.gather(*(prometheus.sample(query) for query in queries))
    idle = answers[-1].value if scaling.idle_timeout_seconds is not None else None
    return tuple(answers[: len(scaling.metrics)]), idle
