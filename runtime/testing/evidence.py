"""What a deadline test keeps of a session besides its report: the ticks around a burst of misses."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import NextframeError
from ..observe.trace import write_trace
from ..tick.controls import SessionControls
from ..tick.record import TickRecord


class FirstBurst:
    """An observer that keeps the ticks around the first 3 misses within 20 ticks; without one, the newest ticks.

    They are written after the session: formatting a trace while ticks are timed would make more of them late.
    `controls`: of the loop; they know of resets.
    """

    BEFORE_TICKS, AFTER_TICKS = 400, 100
    MISSES, WITHIN_TICKS = 3, 20

    def __init__(self, controls: SessionControls) -> None:
        self._controls = controls
        self._entries: deque[tuple[TickRecord, int, int]] = deque(maxlen=self.BEFORE_TICKS + self.AFTER_TICKS)
        self._misses: deque[int] = deque(maxlen=self.MISSES)
        self._last_tick: int | None = None

    def observe(self, record: TickRecord) -> None:
        if self._last_tick is not None and record.tick > self._last_tick:
            return
        self._entries.append((record, self._controls.applied_generation, 0))
        if not record.missed or self._last_tick is not None:
            return
        self._misses.append(record.tick)
        if len(self._misses) == self.MISSES and record.tick - self._misses[0] < self.WITHIN_TICKS:
            self._last_tick = record.tick + self.AFTER_TICKS

    def write(self, path: Path, tick_period_ns: int, report: Mapping[str, Any]) -> Path | None:
        """The trace file; None where no kept tick was missed. The report names the world and the causes of misses."""
        if not any(record.missed for record, _, _ in self._entries):
            return None
        causes = {missed["tick"]: str(missed["cause"]) for missed in report.get("missed_ticks", ())}
        try:
            write_trace(path, list(self._entries), tick_period_ns, report["world"], lambda tick: causes.get(tick.tick))
        except OSError as error:
            raise NextframeError(f"{path}: cannot write the trace: {error.strerror or error}") from error
        return path
