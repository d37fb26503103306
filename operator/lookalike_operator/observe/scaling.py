"""The autoscaling metrics of a Retriever, as Prometheus has them now."""

from __future__ import annotations

import asyncio

from lookalike_crds.retriever import Metric, RetrieverSpec
from lookalike_operator.observe.prometheus import Prometheus
from lookalike_operator.plan.model import Meta, Sample
from lookalike_operator.plan.promql import Queries, QueryRefused, idle_query, metric_query


async def samples(
    prometheus: Prometheus,
    meta: Meta,
    spec: RetrieverSpec,
    allowed: Queries = Queries.OWN_NAMESPACE,
) -> tuple[tuple[Sample, ...], float | None]:
    """(one sample for each metric in order, seconds since the last request).

    Nothing is asked for Retrievers that do not scale.
    """
    scaling = spec.autoscaling
    if scaling is None or spec.suspend or meta.deleting:
        return (), None
    asked = [_sample(prometheus, metric, meta, allowed) for metric in scaling.metrics]
    if scaling.idle_timeout_seconds is not None:
        asked.append(prometheus.sample(idle_query(meta.namespace, meta.name)))
    answers = await asyncio.gather(*asked)
    idle = answers[-1].value if scaling.idle_timeout_seconds is not None else None
    return tuple(answers[: len(scaling.metrics)]), idle


async def _sample(prometheus: Prometheus, metric: Metric, meta: Meta, allowed: Queries) -> Sample:
    try:
        query = metric_query(metric, meta.namespace, meta.name, allowed)
    except QueryRefused as refused:
        return Sample(None, str(refused))
    return await prometheus.sample(query)
