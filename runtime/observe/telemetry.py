"""Collects what was measured in each tick: a short window for the HUD, columns of integers for the report.

The loop's thread writes and the window's thread reads, under one lock held for microseconds. About 180 bytes a tick:
13 MB an hour at 20 Hz.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tick.controls import SessionControls
from ..tick.record import TickRecord
from . import metrics

STAGES = ("condition", "denoise", "decode", "commit", "present")
NONE_NS = -1
"""Stands for "no value" in a column of integers."""

LIVE_TICKS = 120
MAX_DECISIONS = 500
COLUMNS = (
    *("tick", "response_ns", "late_ns", "frame_time_ns", "shown_at_ns", "paced_ns", "continues", "frames"),
    *("steps_asked", "steps_applied", "missed", "lost_slots", "held_frames", "clock_gap", "gap_ns", "overhead_ns"),
    *("late_start_ns", "input_to_present_ns", *(f"{stage}_ns" for stage in STAGES)),
)
"""One integer each per tick. `shown_at_ns`: when its first frame was presented, on the loop's clock. `continues`: no
pause, reset or clock gap lies between this tick and the one before."""


class Decision(NamedTuple):
    """A change of the denoise steps planned. `position`: of the tick among all observed, from 0."""

    position: int
    tick: int
    from_steps: int
    to_steps: int
    reason: str


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
    """An observer of the loop. `live` is for the HUD, `columns` and `decisions` for the report.

    `controls`: of the loop, to see resets; without them the animation error also counts the step over a reset.
    """

    def __init__(self, controls: SessionControls | None = None) -> None:
        self._lock = threading.Lock()
        self._controls = controls
        self._generation = 0 if controls is None else controls.applied_generation
        self._values = array("q")  # row after row: one call per tick instead of one per column
        self._decisions: list[Decision] = []
        self._live: deque[tuple[int, int, int]] = deque(maxlen=LIVE_TICKS)
        self._last: TickRecord | None = None
        self._ticks = self._missed = self._held_frames = self._lost_slots = self._clock_gaps = 0

    def observe(self, record: TickRecord) -> None:
        reset = self._was_reset()
        with self._lock:
            last = self._last
            # The time since the frame before is no frame time when the session was paused or the machine stood still.
            broken = last is None or record.resumed or record.clock_gap
            frame_time_ns = NONE_NS if broken or last is None else record.present_ns - last.present_ns
            input_ns = NONE_NS if record.input_event_ns is None else record.present_ns - record.input_event_ns
            self._values.extend(_row(record, frame_time_ns, input_ns, continues=not broken and not reset))
            if last is not None and record.plan.denoise_steps != last.plan.denoise_steps:
                self._note_decision(last.plan.denoise_steps, record)
            self._live.append((record.present_ns - record.release_ns, frame_time_ns, input_ns))
            self._ticks += 1
            self._missed += record.missed
            self._held_frames += record.held_frames
            self._lost_slots += record.lost_slots
            self._clock_gaps += record.clock_gap
            self._last = record

    def _was_reset(self) -> bool:
        if self._controls is None:
            return False
        before, self._generation = self._generation, self._controls.applied_generation
        return self._generation != before

    def _note_decision(self, from_steps: int, record: TickRecord) -> None:
        if len(self._decisions) < MAX_DECISIONS:
            plan = record.plan
            self._decisions.append(Decision(self._ticks, record.tick, from_steps, plan.denoise_steps, plan.reason))

    def live(self) -> LiveStats | None:
        """What the HUD shows now; None before the first tick."""
        with self._lock:
            record, rows = self._last, list(self._live)
            missed, held, lost, gaps = self._missed, self._held_frames, self._lost_slots, self._clock_gaps
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
            misses=missed,
            held_frames=held,
            lost_slots=lost,
            clock_gaps=gaps,
            input_to_present_ms=metrics.percentile(input_ms, 50),
        )

    def columns(self, skip_ticks: int = 0) -> dict[str, NDArray[np.int64]]:
        """A copy of every column after the first `skip_ticks` ticks; `NONE_NS` where a tick had no value."""
        with self._lock:
            rows = np.array(self._values[skip_ticks * len(COLUMNS) :], dtype=np.int64).reshape(-1, len(COLUMNS))
        return {name: rows[:, index].copy() for index, name in enumerate(COLUMNS)}

    def decisions(self, skip_ticks: int = 0) -> list[Decision]:
        """The first 500 changes of the planned steps, those in the first `skip_ticks` ticks left out."""
        with self._lock:
            return [decision for decision in self._decisions if decision.position >= skip_ticks]


def _row(record: TickRecord, frame_time_ns: int, input_ns: int, *, continues: bool) -> tuple[int, ...]:
    """One value for each of `COLUMNS`, in their order."""
    stage_ns = record.stage_ns
    condition_ns, denoise_ns = stage_ns.get("condition", 0), stage_ns.get("denoise", 0)
    decode_ns, commit_ns = stage_ns.get("decode", 0), stage_ns.get("commit", 0)
    return (
        record.tick,
        record.present_ns - record.release_ns,
        record.late_ns,
        frame_time_ns,
        record.present_ns,
        record.paced_ns,
        int(continues),
        record.frames,
        record.plan.denoise_steps,
        record.steps_applied,
        int(record.missed),
        record.lost_slots,
        record.held_frames,
        int(record.clock_gap),
        record.gap_ns,
        record.commit_end_ns
        - record.start_ns
        - record.paced_ns
        - (condition_ns + denoise_ns + decode_ns + commit_ns - record.ahead.made_ns),
        record.poll_ns - record.release_ns,
        input_ns,
        condition_ns,
        denoise_ns,
        decode_ns,
        commit_ns,
        stage_ns.get("present", 0),
    )
