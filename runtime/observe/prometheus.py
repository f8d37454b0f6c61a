"""Live numbers of a session for Prometheus, on `http://127.0.0.1:PORT/metrics`.

Needs the extra `metrics`; nothing is imported before an endpoint is asked for. Only this machine can reach it, and it
has a registry of its own, so what else the process measures does not show up in it. A tick costs about 20 us.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from ..core import NextframeError
from ..tick.controls import SessionControls
from ..tick.record import TickRecord
from .trace_format import CauseOf, no_cause

HOST = "127.0.0.1"
EXTRA = "pip install 'nextframe[metrics]'"
BUCKETS_MS = (1, 2, 4, 6, 8, 12, 16, 20, 25, 33, 42, 50, 67, 83, 100, 150, 250, 500, 1000)
UNKNOWN_CAUSE = "unknown"


class MetricsError(NextframeError):
    """No endpoint: the extra is not installed, or the port is taken."""


class PrometheusMetrics:
    """An observer that serves what it sees. MetricsError if it cannot.

    `port`: 0 takes any free one; `url` says which. `deadline_ns`: from release, becomes a bucket of the response times,
    so that the share of ticks in time can be read off exactly. `causes`: shown as zero before their first miss.
    `cause_of`: names the cause of a miss, called in the loop's thread. `controls`: of the loop, to count resets.
    """

    def __init__(
        self,
        port: int,
        world_name: str,
        *,
        deadline_ns: int | None = None,
        controls: SessionControls | None = None,
        causes: Sequence[str] = (UNKNOWN_CAUSE,),
        cause_of: CauseOf = no_cause,
    ) -> None:
        client = _client()
        self._controls, self._cause_of = controls, cause_of
        self._generation = 0 if controls is None else controls.applied_generation
        self._registry = client.CollectorRegistry()
        self._make_counters(client, causes)
        self._make_times(client, deadline_ns)
        client.Info("nextframe_session", "What is played.", registry=self._registry).info({"world": world_name})
        try:
            self._server, self._thread = client.start_http_server(port, addr=HOST, registry=self._registry)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MetricsError(
                f"metrics: port {port} on {HOST} cannot be served: {reason}; choose another, or 0 for any free one"
            ) from error
        self.port: int = self._server.server_port
        self._open = True

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/metrics"

    def observe(self, record: TickRecord) -> None:
        cause = self._cause_of(record)
        self._ticks.inc()
        if record.missed:
            self._misses.labels(cause or UNKNOWN_CAUSE).inc()
        self._lost_slots.inc(record.lost_slots)
        self._held_frames.inc(record.held_frames)
        self._clock_gaps.inc(record.clock_gap)
        self._count_reset()
        self._rung.set(record.steps_applied)
        self._slack.set((record.deadline_ns - record.present_ns) / 1e9)
        if not record.clock_gap:  # a machine that stood still says nothing of a tick
            self._response.observe(record.response_ns / 1e9)
        for stage, duration_ns in record.stage_ns.items():
            self._stage.labels(stage).observe(duration_ns / 1e9)

    def close(self) -> None:
        """Stop serving. May be called twice."""
        if self._open:
            self._open = False
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _count_reset(self) -> None:
        if self._controls is None:
            return
        before, self._generation = self._generation, self._controls.applied_generation
        if self._generation != before:
            self._resets.inc()

    def _make_counters(self, client: Any, causes: Sequence[str]) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Any:
            return client.Counter(f"nextframe_{name}", meaning, labels, registry=self._registry)

        self._ticks = counter("ticks", "Ticks run.")
        self._misses = counter("misses", "Ticks whose first frame came after the deadline.", "cause")
        self._lost_slots = counter("lost_slots", "Tick periods lost to overruns.")
        self._held_frames = counter("held_frames", "Frame periods for which the frame before stayed on the screen.")
        self._clock_gaps = counter("clock_gaps", "Stops of the machine or the clock; no misses.")
        self._resets = counter("resets", "Ticks in which the world started anew.")
        for cause in {*causes, UNKNOWN_CAUSE}:
            self._misses.labels(cause)

    def _make_times(self, client: Any, deadline_ns: int | None) -> None:
        buckets_s = sorted({ms / 1e3 for ms in BUCKETS_MS} | ({deadline_ns / 1e9} if deadline_ns else set()))
        own = {"registry": self._registry}
        self._rung = client.Gauge("nextframe_rung_steps", "Denoise steps applied in the last tick.", **own)
        self._slack = client.Gauge("nextframe_slack_seconds", "Deadline minus present of the last tick.", **own)
        self._response = client.Histogram(
            "nextframe_response_seconds", "Release of a tick to its first frame.", buckets=buckets_s, **own
        )
        self._stage = client.Histogram(
            "nextframe_stage_seconds", "Time of a stage in a tick.", ("stage",), buckets=buckets_s, **own
        )


def _client() -> Any:
    try:
        return importlib.import_module("prometheus_client")
    except ImportError as error:
        raise MetricsError(f"metrics: expected the package prometheus-client, not installed here: {EXTRA}") from error
