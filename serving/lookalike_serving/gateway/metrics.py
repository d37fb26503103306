"""The metrics for Prometheus. Every label has few values: routes are templates, codes are ours.

Each app has its own registry, so that two in one process, as in tests, do not mix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.gateway.gpu import gpu_utilization
from lookalike_serving.gateway.traffic import Traffic

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The instruments of one gateway."""

    def __init__(self, traffic: Traffic) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Histogram(
            "lookalike_request_seconds",
            "Time from the last byte of a request to the last byte of its answer.",
            ("route", "method", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        Gauge(
            "lookalike_requests_in_flight",
            "Requests of the API (/v1) that are being answered and whose body has arrived.",
            registry=self.registry,
        ).set_function(lambda: traffic.in_flight)
        Gauge(
            "lookalike_requests_receiving",
            "Requests of the API (/v1) whose body has not arrived completely.",
            registry=self.registry,
        ).set_function(lambda: traffic.receiving)
        Gauge(
            "lookalike_last_request_timestamp_seconds",
            "Unix time of the last search, upload or other change, or of the start if there was "
            "none.",
            registry=self.registry,
        ).set_function(lambda: traffic.last_request)
        self.errors = Counter(
            "lookalike_errors",
            "Error answers by code.",
            ("code",),
            registry=self.registry,
        )
        self.stages = Histogram(
            "lookalike_search_stage_seconds",
            "Time in one stage of a search.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.documents = Gauge(
            "lookalike_documents", "Documents stored.", ("collection",), registry=self.registry
        )
        self.recall = Gauge(
            "lookalike_index_recall",
            "Share of the true ten nearest neighbours that searches find, as measured after the "
            "index was built.",
            ("collection",),
            registry=self.registry,
        )
        self.open = Gauge(
            "lookalike_collection_open",
            "1 if a collection answers, 0 if it does not.",
            ("collection",),
            registry=self.registry,
        )
        self.read_only = Gauge(
            "lookalike_read_only",
            "1 while nothing can be stored because the disk of the data folder is full.",
            registry=self.registry,
        )
        if (utilization := gpu_utilization()) is not None:
            Gauge(
                "lookalike_gpu_utilization_percent",
                "Utilization of the GPU by this replica.",
                registry=self.registry,
            ).set_function(utilization)

    def watch(self, models: Mapping[ModelSpec, BatchedEmbedder]) -> None:
        """Also report these models, each as it is when the metrics are read."""
        self.registry.register(_Models(models))

    def watch_scans(self, ended: Mapping[tuple[str, str], int]) -> None:
        """Also report the duplicate scans that ended, by (collection, state)."""
        self.registry.register(_Scans(ended))

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self.stages.labels(stage).observe(spent)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)


class _Scans(Collector):
    """Read from the counts of the process that runs them."""

    def __init__(self, ended: Mapping[tuple[str, str], int]) -> None:
        self._ended = ended

    def collect(self) -> Iterable[Metric]:
        scans = CounterMetricFamily(
            "lookalike_duplicate_scans",
            "Duplicate scans that ended in this process.",
            labels=("collection", "state"),
        )
        for (collection, state), count in list(self._ended.items()):
            scans.add_metric((collection, state), count)
        return (scans,)


class _Models(Collector):
    """What dynamic batching does, read from the embedders' own figures."""

    def __init__(self, models: Mapping[ModelSpec, BatchedEmbedder]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        labels = ("model", "kind")
        sizes = HistogramMetricFamily(
            "lookalike_embed_batch_size",
            "Images or texts that were embedded in one call of the model.",
            labels=labels,
        )
        waiting = GaugeMetricFamily(
            "lookalike_embed_queue_depth",
            "Images or texts that wait for the model.",
            labels=labels,
        )
        seconds = CounterMetricFamily(
            "lookalike_embed_model_seconds", "Time spent in the model.", labels=labels
        )
        refused = CounterMetricFamily(
            "lookalike_embed_overloaded",
            "Images and texts that were refused because too many were in progress.",
            labels=("model",),
        )
        execution = GaugeMetricFamily(
            "lookalike_model_execution_info",
            "1 for the engine and number format that a tower of the model computes with.",
            labels=("model", "kind", "engine", "precision", "chosen_by"),
        )
        for embedder in list(self._models.values()):
            if (chosen := embedder.info.execution) is not None:
                for kind, way in (("image", chosen.image), ("text", chosen.text)):
                    if way is not None:
                        facts = (way.engine, way.precision, chosen.chosen_by.value)
                        execution.add_metric((embedder.info.name, kind, *facts), 1)
            name, stats = embedder.info.name, embedder.stats
            for kind, figures in (("image", stats.images), ("text", stats.texts)):
                made = figures.batch_sizes
                buckets = [
                    (str(bound), sum(n for size, n in made.items() if size <= bound))
                    for bound in _BATCHES
                ]
                sizes.add_metric(
                    (name, kind), [*buckets, ("+Inf", figures.batches)], sum_value=figures.items
                )
                waiting.add_metric((name, kind), figures.waiting)
                seconds.add_metric((name, kind), figures.model_seconds)
            refused.add_metric((name,), stats.overloaded)
        return (sizes, waiting, seconds, refused, execution)
