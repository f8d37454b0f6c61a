"""Collects what was measured in each tick: a short window for the HUD, columns of integers for the report.

Owns the columns. Knows nothing of definitions beyond what the HUD shows, of files or of worlds. The loop's thread
writes and the window's thread reads, under one lock held for microseconds. About 150 bytes a tick: 11 MB an hour at
20 Hz.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime import metrics
from runtime.loop import TickRecord

STAGES = ("condition", "denoise", "decode", "commit", "present")
NONE_NS = -1
"""Stands for "no value" in a column of integers."""

LIVE_TICKS = 120
COLUMNS = (
    *("tick", "response_ns", "late_ns", "frame_time_ns", "frames", "steps_applied", "missed", "lost_slots"),
    *("held_frames", "clock_gap", "overhead_ns", "late_start_ns", "input_to_present_ns"),
    *(f"{stage}_ns" for stage in STAGES),
)


@dataclass(frozen=True)
class LiveStats:
    """What a HUD shows. Rates and percentiles are over the last 120 ticks, counts over the session."""

    tick: int
    fps: float | None
    p50_response_ms: float | None
    p99_response_ms: float | None
    frame_ms: tuple[float, ...]
    deadline_ms: float
    rung: int
    reason: str
    misses: int
    held_frames: int
    lost_slots: int
    clock_gaps: int
    input_to_present_ms: float | None


class Telemetry:
    """An observer of the loop. `live` is for the HUD, `columns` for the report."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._columns = {name: array("q") for name in COLUMNS}
        self._live: deque[tuple[int, int, int]] = deque(maxlen=LIVE_TICKS)
        self._last: TickRecord | None = None
        self._totals = dict.fromkeys(("missed", "held_frames", "lost_slots", "clock_gap"), 0)

    def observe(self, record: TickRecord) -> None:
        with self._lock:
            row = self._row(record)
            for name, column in self._columns.items():
                column.append(row[name])
            self._live.append((row["response_ns"], row["frame_time_ns"], row["input_to_present_ns"]))
            for name in self._totals:
                self._totals[name] += row[name]
            self._last = record

    def _row(self, record: TickRecord) -> dict[str, int]:
        stage_ns = record.stage_ns
        world_ns = sum(stage_ns.get(stage, 0) for stage in ("condition", "denoise", "decode", "commit"))
        input_ns = NONE_NS if record.input_event_ns is None else record.present_ns - record.input_event_ns
        # The time since the frame before is no frame time when the session was paused or the machine stood still.
        broken = self._last is None or record.resumed or record.clock_gap
        frame_time_ns = NONE_NS if broken or self._last is None else record.present_ns - self._last.present_ns
        return {
            "tick": record.tick,
            "response_ns": record.response_ns,
            "late_ns": 0 if record.clock_gap else max(0, record.present_ns - record.deadline_ns),
            "frame_time_ns": frame_time_ns,
            "frames": record.frames,
            "steps_applied": record.steps_applied,
            "missed": int(record.missed),
            "lost_slots": record.lost_slots,
            "held_frames": record.held_frames,
            "clock_gap": int(record.clock_gap),
            "overhead_ns": record.commit_end_ns - record.start_ns - world_ns - record.paced_ns,
            "late_start_ns": record.poll_ns - record.release_ns,
            "input_to_present_ns": input_ns,
            **{f"{stage}_ns": stage_ns.get(stage, 0) for stage in STAGES},
        }

    def live(self) -> LiveStats | None:
        """What the HUD shows now; None before the first tick."""
        with self._lock:
            record, totals, rows = self._last, dict(self._totals), list(self._live)
        if record is None:
            return None
        response_ms = [response / 1e6 for response, _, _ in rows]
        frame_ns = [frame for _, frame, _ in rows if frame != NONE_NS]
        input_ms = [wait / 1e6 for _, _, wait in rows if wait != NONE_NS]
        return LiveStats(
            tick=record.tick,
            fps=metrics.fps(frame_ns),
            p50_response_ms=metrics.percentile(response_ms, 50),
            p99_response_ms=metrics.percentile(response_ms, 99),
            frame_ms=tuple(frame / 1e6 for frame in frame_ns),
            deadline_ms=(record.deadline_ns - record.release_ns) / 1e6,
            rung=record.steps_applied,
            reason=record.reason,
            misses=totals["missed"],
            held_frames=totals["held_frames"],
            lost_slots=totals["lost_slots"],
            clock_gaps=totals["clock_gap"],
            input_to_present_ms=metrics.percentile(input_ms, 50),
        )

    def columns(self, skip_ticks: int = 0) -> dict[str, NDArray[np.int64]]:
        """A copy of every column after the first `skip_ticks` ticks; `NONE_NS` where a tick had no value."""
        with self._lock:
            return {name: np.array(column[skip_ticks:], dtype=np.int64) for name, column in self._columns.items()}
