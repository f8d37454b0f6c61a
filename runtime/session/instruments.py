"""Everything that watches a session: counted, explained, traced, served.

Which instruments there are, and what they leave.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..loop import Observer
from ..observe import report as reports
from ..observe.causes import CAUSES, MissLog
from ..observe.telemetry import Telemetry
from ..observe.trace import TraceRing, TraceWriter
from ..tick.controls import SessionControls
from ..tick.probe import HostProbe, NullProbe, Probe, measure_fault_ns
from .parts.part import Setting
from .startup import OpenWorld, StartUp


@dataclass(frozen=True)
class InstrumentOptions:
    """`live`: the clock is the machine's. `trace`: a file for the whole session. `bursts`: a folder for traces of what
    came before bursts of misses. `metrics_port`: serve Prometheus there, 0 for any free port."""

    live: bool = True
    warmup_ticks: int = 0
    trace: Path | None = None
    bursts: Path | None = None
    metrics_port: int | None = None


class Instruments:
    """A context manager; bad paths and ports are noticed on construction, before anything slow is done."""

    def __init__(
        self,
        options: InstrumentOptions,
        world_name: str,
        setting: Setting,
    ) -> None:
        controls = setting.controls
        self._options, self._deadline_ns = options, setting.deadline_ns
        self._stack = ExitStack()
        self.telemetry = Telemetry(controls)
        fault = {"fault_ns": measure_fault_ns()} if options.live else {}
        self.misses = MissLog(warmup_ticks=options.warmup_ticks, **fault)
        self.probe: Probe = HostProbe() if options.live else NullProbe()
        self._stack.callback(self.probe.close)
        self.observers: list[Observer] = [self.telemetry, self.misses]
        period, cause_of = int(setting.tick_period_ns), self.misses.cause_of
        self._trace: TraceWriter | None = None
        self._ring: TraceRing | None = None
        self.metrics_url: str | None = None
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            if options.trace is not None:
                options.trace.parent.mkdir(parents=True, exist_ok=True)
                self._trace = TraceWriter(
                    options.trace, period, world_name, controls=controls, cause_of=cause_of, live=options.live
                )
                self._stack.callback(self._trace.close)
                self.observers.append(self._trace)
            if options.bursts is not None and options.live:
                self._ring = TraceRing(
                    options.bursts, period, world_name, controls=controls, make_cause_of=lambda: cause_of
                )
                self._stack.callback(self._ring.close)
                self.observers.append(self._ring)
            if options.metrics_port is not None:
                self._serve(options.metrics_port, world_name, controls)
            undo.pop_all()

    def _serve(self, port: int, world_name: str, controls: SessionControls) -> None:
        from ..observe.prometheus import PrometheusMetrics

        metrics = PrometheusMetrics(
            port,
            world_name,
            deadline_ns=self._deadline_ns,
            controls=controls,
            causes=CAUSES,
            cause_of=self.misses.cause_of,
        )
        self.metrics_url = metrics.url
        self._stack.callback(metrics.close)
        self.observers.append(metrics)

    def report(
        self,
        opened: OpenWorld,
        startup: StartUp,
        *,
        clock: str,
        governor_name: str,
        load: str | None = None,
        load_ms: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """`load`: as it was asked for; `load_ms`: what it put into each tick."""
        return reports.build_report(
            self.telemetry,
            opened.info,
            clock=clock,
            deadline_ns=self._deadline_ns,
            warmup_ticks=self._options.warmup_ticks,
            ttff_ms=startup.ttff_ms,
            state=opened.world.state_inventory(),
            env={**opened.environment, **({"load": load} if load else {})},
            miss_log=self.misses,
            governor_name=governor_name,
            load_ms=load_ms,
        )

    def close(self) -> dict[str, Path]:
        """Finish the files; what was written, by kind. What went wrong with them is said on stderr: a trace that
        fails ends no session."""
        self._stack.close()
        written: dict[str, Path] = {}
        if self._trace is not None:
            written["trace"] = self._trace.path
            if self._trace.dropped_ticks:
                _say(f"{self._trace.path}: {self._trace.dropped_ticks} ticks are missing, the disk was too slow")
        for part in (self._trace, self._ring):
            if part is not None and part.problem:
                _say(part.problem)
        for number, path in enumerate(self._ring.dumps if self._ring is not None else (), start=1):
            written[f"misses_{number}"] = path
        return written

    def __enter__(self) -> Instruments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()


def _say(message: str) -> None:
    print(f"nextframe: {message}", file=sys.stderr)
