"""What the server tells Prometheus: requests, where their time goes, the queue, batches, remembered pictures.

Each server has a registry of its own. Knows nothing of routes or models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from model_server.batches import Job
from model_server.jobs import Answer

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one server.

    Args:
        waiting: requests on their way in or queued, now.
        counts: what the model counts: pictures read ("miss") and remembered ("hit").
    """

    def __init__(
        self, *, waiting: Callable[[], int], counts: Callable[[], Mapping[str, int]]
    ) -> None:
        self._registry = CollectorRegistry()
        own = {"registry": self._registry, "namespace": "model_server"}
        self._requests = Counter(
            "requests", "Requests by route and HTTP status.", ["route", "status"], **own
        )
        self._stages = Histogram(
            "stage_seconds",
            "Time of a request by stage: receive, prepare, queue, answer.",
            ["stage"],
            buckets=_SECONDS,
            **own,
        )
        self._batches = Histogram(
            "batch_size", "Requests answered together.", buckets=(1, 2, 4, 8, 16, 32, 64), **own
        )
        self._tokens = Counter("tokens", "Tokens by kind: prompt or answer.", ["kind"], **own)
        waits = Gauge("waiting", "Requests on their way in or queued.", **own)
        waits.set_function(waiting)
        self._registry.register(_Pictures(counts))

    def request(self, route: str, status: int) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()

    def stage(self, name: str, seconds: float) -> None:
        """A stage of a request took so long."""
        self._stages.labels(name).observe(seconds)

    def batch(self, jobs: Sequence[Job], seconds: float) -> None:
        """A batch was answered."""
        ended = time.monotonic()
        self._batches.observe(len(jobs))
        for job in jobs:
            self.stage("queue", max(0.0, ended - seconds - job.queued))
            self.stage("answer", seconds)

    def answered(self, answers: Sequence[Answer]) -> None:
        """Tokens went in and out."""
        self._tokens.labels("prompt").inc(answers[0].prompt_tokens)
        self._tokens.labels("answer").inc(sum(len(answer.tokens) for answer in answers))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _Pictures(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(
            "model_server_pictures",
            "Pictures asked about, by whether the model remembered them (hit) or read them (miss).",
            labels=["memory"],
        )
        counts = self._counts()
        for kind in ("hit", "miss"):
            family.add_metric([kind], counts.get(kind, 0))
        yield family
