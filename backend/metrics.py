"""What the backend counts, for Prometheus: how long each stage of an answer takes, what waits, what people made of it.

One registry per process part, handed around; nothing global. Counters start with the process; outcomes are read from
the store when somebody looks. Knows nothing of HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.store import Store
from backend.store import queries as stored

__all__ = ["CONTENT_TYPE", "Metrics", "store_collector"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 8.0, 20.0)


class Metrics:
    """The counters of one backend."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # CPU, memory and open files of this process, where the system tells.
        ProcessCollector(registry=self.registry)
        self._stages = Histogram(
            "regiontext_stage_seconds",
            "Time per stage of an answer: fetch, decode, segment, render, model, store.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._requests = Histogram(
            "regiontext_request_seconds",
            "Time per request, by route and status.",
            ["route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "regiontext_requests_in_flight",
            "Requests being answered, by route.",
            ["route"],
            registry=self.registry,
        )
        self._questions = Counter(
            "regiontext_questions",
            "Questions asked of the model, by path and what came of them: answered, late, failed; contradicted counts "
            "those answered with a relation that the regions contradict.",
            ["path", "result"],
            registry=self.registry,
        )
        self._cache = Counter(
            "regiontext_image_cache",
            "Images looked up, by cache (bytes, decoded) and result (hit, miss).",
            ["cache", "result"],
            registry=self.registry,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside as one stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.perf_counter() - started)

    @contextmanager
    def request(self, route: str) -> Iterator[Callable[[int], None]]:
        """Time a request; call what is given with the status of the answer."""
        status = 500
        started = time.perf_counter()

        def answered(code: int) -> None:
            nonlocal status
            status = code

        flying = self._in_flight.labels(route)
        flying.inc()
        try:
            yield answered
        finally:
            flying.dec()
            self._requests.labels(route, str(status)).observe(time.perf_counter() - started)

    def question(self, path: str, result: str) -> None:
        """A question was answered, was late or failed."""
        self._questions.labels(path, result).inc()

    def cached(self, cache: str, *, hit: bool) -> None:
        """An image was looked up in a cache."""
        self._cache.labels(cache, "hit" if hit else "miss").inc()

    def watch(self, collector: Collector) -> None:
        """Ask `collector` too, whenever somebody looks."""
        self.registry.register(collector)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


def store_collector(store: Store) -> Collector:
    """What the store says when somebody looks: events that wait, outcomes by model version."""

    class _Stored(Collector):
        def collect(self) -> Iterator[Metric]:
            with store.read() as session:
                waiting = stored.count_open_events(session)
                outcomes = stored.count_outcomes(session)
            yield GaugeMetricFamily(
                "regiontext_events_waiting", "Webhook events not worked off yet.", value=waiting
            )
            family = GaugeMetricFamily(
                "regiontext_outcomes",
                "What people made of suggestions, by model version and arm.",
                labels=["model_version", "arm", "outcome"],
            )
            for version, arm, outcome, number in outcomes:
                family.add_metric([version or "", arm, outcome], number)
            yield family

    return _Stored()
