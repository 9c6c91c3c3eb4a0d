"""Prometheus metrics of the service. Label values come from our code, never from a client."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one service. Each service has its own registry, so that one process can have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("hf_audio_requests", "Requests answered", ["route", "status"], **of)
        self.refused = Counter("hf_audio_refused", "Requests refused, by reason", ["reason"], **of)
        self.seconds = Histogram("hf_audio_request_seconds", "Seconds per request", ["route"], buckets=SECONDS, **of)
        self.running = Gauge("hf_audio_requests_running", "Requests being processed", **of)
        self.received = Counter("hf_audio_received_bytes", "Bytes of recordings", **of)
        self.heard = Counter("hf_audio_audio_seconds", "Seconds of sound classified", ["model"], **of)
        self.windows = Counter("hf_audio_windows", "Windows classified", ["model"], **of)
        self.batch_windows = Histogram(
            "hf_audio_batch_windows", "Windows per forward pass", ["model"], buckets=COUNTS, **of
        )
        self.batch_requests = Histogram(
            "hf_audio_batch_requests", "Requests per forward pass", ["model"], buckets=COUNTS, **of
        )

    def observe_batch(self, model: str, requests: int, windows: int) -> None:
        """Counts one forward pass."""
        self.windows.labels(model).inc(windows)
        self.batch_windows.labels(model).observe(windows)
        self.batch_requests.labels(model).observe(requests)

    def text(self) -> bytes:
        """All metrics in the text format of /metrics."""
        return generate_latest(self.registry)
