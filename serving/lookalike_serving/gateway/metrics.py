"""What Prometheus sees. Every label has few values: routes are templates, codes are ours.

Each app has its own registry, so that two in one process, as in tests, do not mix.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The instruments of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Histogram(
            "lookalike_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route", "method", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "lookalike_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.errors = Counter(
            "lookalike_errors",
            "Answers with a problem, by its code.",
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
        self.batch_sizes = Histogram(
            "lookalike_embed_batch_size",
            "Images or texts that the model embedded in one call.",
            ("kind",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "lookalike_embed_queue_depth",
            "Images and texts waiting for the model.",
            ("model",),
            registry=self.registry,
        )
        self.documents = Gauge(
            "lookalike_documents", "Documents stored.", ("collection",), registry=self.registry
        )
        self.open = Gauge(
            "lookalike_collection_open",
            "1 where a collection answers, 0 where it does not.",
            ("collection",),
            registry=self.registry,
        )

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self.stages.labels(stage).observe(spent)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
