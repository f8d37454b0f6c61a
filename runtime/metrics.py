"""What the numbers mean: pure functions on arrays of times.

Owns the definitions. Knows nothing of loops, worlds or reports. Inputs are durations in integer or float
nanoseconds unless the name says otherwise; with nothing to measure a function returns None, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_] | Sequence[float]

DEFINITIONS = {
    "fps": "frames / sum of frame times; never the mean of rates",
    "percentiles": "numpy linear interpolation (Hyndman-Fan 7)",
    "low1_p99_fps": "1 / 99th percentile of frame time",
    "low1_avg_fps": "1 / mean of the worst 1 % of frame times (at least one frame)",
    "response_ms": "first frame of the tick presented, minus release of the tick",
    "misses": "ticks whose first frame was presented after the deadline",
    "hitch_ms_per_s": "milliseconds presented after the deadline, per second of play",
    "held_frames": "frame periods for which the previous frame stayed on the screen past the deadline",
    "lost_slots": "releases that no tick could use because another was late",
    "overhead_ms": "release to end of commit, less condition, denoise, decode, commit and waiting",
    "input_to_present_ms": "earliest input in the action, to first frame presented",
    "ticks": "ticks measured, after warm-up; warmup_ticks came before and are in no other number",
    "level_switches_per_100": "changes of steps applied from one tick to the next, per 100 ticks",
}


def percentile(values: Values, percent: float) -> float | None:
    """The `percent` percentile, linear between neighbours, in the unit of `values`."""
    if len(values) == 0:
        return None
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent, method="linear"))


def percentiles(values: Values, *percents: float) -> dict[str, float | None]:
    """`{"p50": ..., "p99": ...}`, in the unit of `values`."""
    return {f"p{percent:g}": percentile(values, percent) for percent in percents}


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
    """The m of an (m, k) guarantee: most misses in any `window_ticks` consecutive ticks."""
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
