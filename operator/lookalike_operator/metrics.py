"""The operator's own metrics in the format of Prometheus, on /metrics.

Each operator has its own `Metrics` with its own registry, so that two of them in one process, as in
the tests, do not share counters.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._depth = Gauge(
            "lookalike_operator_queue_depth",
            "Resources that wait for a worker to reconcile them.",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "lookalike_operator_reconcile_seconds",
            "Duration of one reconcile of a resource.",
            ("kind", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "lookalike_operator_errors",
            "Reconciles that failed, by reason.",
            ("kind", "reason"),
            registry=self.registry,
        )
        self._calls = Counter(
            "lookalike_operator_api_calls",
            "Requests to the Kubernetes API. Code 0 means that there was no answer.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "lookalike_operator_api_call_seconds",
            "Time until the Kubernetes API answered.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._relists = Counter(
            "lookalike_operator_relists",
            "How often a kind had to be listed again because a watch was too far behind.",
            ("resource",),
            registry=self.registry,
        )
        self._leader = Gauge(
            "lookalike_operator_leader",
            "1 if this process is active, 0 if it stands by.",
            registry=self.registry,
        )
        self._objects = Gauge(
            "lookalike_operator_cached_objects",
            "Objects in the operator's cache.",
            registry=self.registry,
        )

        self._others = Gauge(
            "lookalike_operator_namespaces_of_others",
            "Namespaces with resources in which another release of the operator is active, so "
            "that this one does nothing there.",
            registry=self.registry,
        )

    def measure(
        self,
        depth: Callable[[], float],
        objects: Callable[[], float],
        others: Callable[[], float],
    ) -> None:
        """Ask these at each scrape."""
        self._depth.set_function(depth)
        self._objects.set_function(objects)
        self._others.set_function(others)

    def looked(self, kind: str, outcome: str, seconds: float) -> None:
        self._seconds.labels(kind, outcome).observe(seconds)

    def failed(self, kind: str, reason: str) -> None:
        self._errors.labels(kind, reason).inc()

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """For `Cluster.on_call`."""
        self._calls.labels(verb, resource, str(code)).inc()
        if verb != "watch":
            self._call_seconds.labels(verb).observe(seconds)

    def relisted(self, resource: str) -> None:
        self._relists.labels(resource).inc()

    def leads(self, leading: bool) -> None:
        self._leader.set(1 if leading else 0)

    def text(self) -> bytes:
        return generate_latest(self.registry)
