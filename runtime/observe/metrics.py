"""What the numbers mean: pure functions on arrays of times, and one line of definition for each key of a report.

docs/metrics.md has the definitions with formulas. Inputs are durations in integer or float nanoseconds unless the name
says otherwise; with nothing to measure a function returns None, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_] | Sequence[float]

JITTER_GAIN = 1 / 16
"""RFC 3550, section 6.4.1: the smoothing of interarrival jitter."""
MISS_WINDOW_TICKS = 100

DEFINITIONS = {
    "percentiles": "numpy linear interpolation (Hyndman-Fan 7)",
    "ticks": "ticks measured, after warm-up; warmup_ticks came before and are in no other number",
    "misses": "ticks whose first frame was presented after the deadline, less what of that was a clock gap",
    "miss_rate": "misses / ticks",
    "worst_miss_run": "most misses in a row",
    "most_misses_in_100": "most misses in any 100 consecutive ticks: the m of an (m, 100) guarantee",
    "lost_slots": "whole tick periods by which overruns have delayed the world",
    "held_frames": "frame periods for which the previous frame stayed on the screen past the deadline",
    "clock_gaps": "times the process did not run at all for over 250 ms (SIGSTOP); against a target like misses",
    "clock_gap_ms": "time in clock gaps, in all",
    "response_ms": "first frame of the tick presented, minus release of the tick; clock gaps left out",
    "fps": "frames / sum of frame times; never the mean of rates. A frame time lasts from present to present",
    "low1_p99_fps": "1 / 99th percentile of frame time",
    "low1_avg_fps": "1 / mean of the worst 1 % of frame times (at least one frame)",
    "hitch_ms_per_s": "milliseconds presented after the deadline, per second of play",
    "animation_error_ms": "size of: world time from frame to frame, minus display time from frame to frame",
    "jitter_ms": "RFC 3550: J += (|D| - J) / 16 at each tick, D = present interval - tick period; the last J",
    "ttff_ms": "time from the start of the process to the first frame presented, by phase",
    "steps_histogram": "ticks by denoise steps applied",
    "steps_mean": "mean of denoise steps applied",
    "level_switches_per_100": "changes of steps applied from one tick to the next, per 100 ticks",
    "stage_ms": "time in each stage of a tick; denoise is all its steps together",
    "overhead_ms": "start to end of commit, less condition, denoise, decode, commit and pacing",
    "input_to_present_ms": "earliest input in the action, to first frame presented; ticks without input left out",
    "miss_causes": "misses by the part that took most longer than usual; unknown if none explains half the lateness",
    "missed_ticks": "the first 100 misses and an even sample of 100 of the others, with evidence and the ticks before",
    "series": "the session in at most 6000 points: worst response, frame and input times, lowest steps, mean stages",
}


def percentile(values: Values, percent: float) -> float | None:
    """The `percent` percentile, linear between neighbours, in the unit of `values`."""
    if len(values) == 0:
        return None
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent, method="linear"))


def percentiles(values: Values, *percents: float) -> dict[str, float | None]:
    """`{"p50": ..., "p99": ..., "p999": ...}`, in the unit of `values`; 99.9 is called p999."""
    return {f"p{percent:g}".replace(".", ""): percentile(values, percent) for percent in percents}


def fps(frame_times_ns: Values) -> float | None:
    """Frames per second: N / sum of frame times."""
    total_ns = float(np.sum(frame_times_ns))
    return len(frame_times_ns) * 1e9 / total_ns if total_ns > 0 else None


def low1_p99_fps(frame_times_ns: Values) -> float | None:
    """The rate at the 99th percentile of frame time."""
    p99_ns = percentile(frame_times_ns, 99)
    return 1e9 / p99_ns if p99_ns else None


def low1_avg_fps(frame_times_ns: Values) -> float | None:
    """The rate of the worst 1 % of frames, at least one."""
    if len(frame_times_ns) == 0:
        return None
    worst = np.sort(np.asarray(frame_times_ns, dtype=np.float64))[-max(1, len(frame_times_ns) // 100) :]
    return fps(worst)


def hitch_ms_per_s(late_ns: Values, duration_ns: float) -> float | None:
    """`late_ns`: how late each tick was presented (0 or less when in time), over `duration_ns` of play."""
    if duration_ns <= 0:
        return None
    total_late_ns = float(np.sum(np.maximum(np.asarray(late_ns, dtype=np.float64), 0.0)))
    return total_late_ns / duration_ns * 1e3


def worst_miss_run(missed: Values) -> int:
    """Most misses in a row."""
    worst = run = 0
    for miss in missed:
        run = run + 1 if miss else 0
        worst = max(worst, run)
    return worst


def most_misses_in(missed: Values, window_ticks: int) -> int:
    """The m of an (m, k) guarantee (Hamdaoui and Ramanathan 1995): most misses in any `window_ticks` in a row."""
    if window_ticks < 1:
        raise ValueError(f"window: expected at least 1 tick, got {window_ticks}")
    counts = np.concatenate([[0], np.cumsum(np.asarray(missed, dtype=np.int64))])
    window = min(window_ticks, len(missed))
    return int(np.max(counts[window:] - counts[: len(counts) - window]))


def switches_per_100(levels: Values) -> float | None:
    """Changes from one tick to the next, per 100 ticks."""
    if len(levels) == 0:
        return None
    return 100.0 * int(np.count_nonzero(np.diff(np.asarray(levels)))) / len(levels)


def animation_errors_ns(
    present_ns: Values, paced_ns: Values, frames: Values, continues: Values, period_ns: float
) -> NDArray[np.float64]:
    """Step of world time minus step of display time, signed, one for each displayed frame that has one before it.

    By tick: `present_ns` of its first frame, `paced_ns` from there to its last one, its number of `frames` (evenly
    paced), and whether it `continues` the tick before (no pause, reset or clock gap between). A tick is `period_ns`
    of world time. Frames shown at the same instant are one on the screen and have no error. Negative: the world went
    slower than the clock. After PresentMon's animation error, with world time for its simulation start.
    """
    shown_ns, span_ns = np.asarray(present_ns, dtype=np.float64), np.asarray(paced_ns, dtype=np.float64)
    count = np.asarray(frames, dtype=np.int64)
    world_step_ns = period_ns / np.maximum(count, 1)

    from_tick_to_tick_ns = shown_ns[1:] - (shown_ns[:-1] + span_ns[:-1])
    between = (np.asarray(continues, dtype=np.int64)[1:] != 0) & (from_tick_to_tick_ns > 0)
    several = (count > 1) & (span_ns > 0)
    within_ns = world_step_ns[several] - span_ns[several] / (count[several] - 1)
    return np.concatenate(
        [(world_step_ns[:-1] - from_tick_to_tick_ns)[between], np.repeat(within_ns, count[several] - 1)]
    )


def jitter_ns(intervals_ns: Values, period_ns: float) -> float | None:
    """Running jitter after the last of the present intervals, after RFC 3550 section 6.4.1.

    The difference of two transit times there is an interval's departure from the tick period here: the sender's
    clock is world time.
    """
    if len(intervals_ns) == 0:
        return None
    jitter = 0.0
    for departure_ns in np.abs(np.asarray(intervals_ns, dtype=np.float64) - period_ns).tolist():
        jitter += (departure_ns - jitter) * JITTER_GAIN
    return jitter
