"""What a long session must hold: memory, tick time, clock and latents. Pure functions of the minutes measured.

A gate that could not be measured is neither met nor missed: `met` is None, and the program answers 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .measure import Minute

RSS_SLOPE_GOAL_MB, TICK_RATIO_GOAL, OUTSIDE_GOAL, CLOCK_GOAL_MS = 1.0, 1.1, 0.05, 5.0
ENDS_MINUTES = 10
WARM_UP_SHARE, LEAST_MINUTES = 0.1, 4
"""Of a run, at least a minute: allocators and caches grow to their size in it. Then fewer minutes show no slope."""
MB = 2**20


@dataclass(frozen=True)
class Gate:
    """`met` is None if it could not be measured. `value`: what was measured, in the unit of `goal`."""

    name: str
    met: bool | None
    value: float | None
    goal: str


def robust_slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The median of the slopes between all pairs of points (Theil 1950, Sen 1968): outliers do not tilt it, nor a jump
    that is not in the middle."""
    if len(xs) < 2:
        raise ValueError(f"slope: expected at least 2 points, got {len(xs)}")
    points = zip(xs, ys, strict=True)
    return float(np.median([(d - b) / (c - a) for (a, b), (c, d) in combinations(points, 2)]))


def after_warm_up(minutes: Sequence[Minute]) -> Sequence[Minute]:
    return minutes[max(1, round(len(minutes) * WARM_UP_SHARE)) :]


def ends(minutes: Sequence[Minute]) -> tuple[Sequence[Minute], Sequence[Minute]]:
    """The first and the last ten minutes after warm-up; halves where there are fewer than twenty."""
    count = min(ENDS_MINUTES, len(minutes) // 2)
    return minutes[:count], minutes[len(minutes) - count :]


def rss_slope_mb(minutes: Sequence[Minute]) -> float | None:
    """MB a minute of world time."""
    known = [(minute.end_minutes, minute.rss_bytes / MB) for minute in minutes if minute.rss_bytes is not None]
    return robust_slope(*zip(*known, strict=True)) if len(known) >= LEAST_MINUTES else None


def tick_ratio(minutes: Sequence[Minute]) -> float | None:
    """Median tick of the last minutes over that of the first."""
    first, last = ends(minutes)
    if len(minutes) < LEAST_MINUTES:
        return None
    return float(np.median([m.tick_p50_ms for m in last]) / np.median([m.tick_p50_ms for m in first]))


def outside_share(minutes: Sequence[Minute]) -> float | None:
    """Of the ticks judged in the last minutes, those outside the bands by more than the alarm allows."""
    shares = [minute.outside_share for minute in ends(minutes)[1] if minute.outside_share is not None]
    return float(np.mean(shares)) if shares else None


def unexplained_drift_ms(minutes: Sequence[Minute]) -> float | None:
    """Median over minutes of |n*T - elapsed| that no overrun accounts for. Overruns dilate world time and are counted;
    anything else would be an error of the timetable that adds up."""
    drifts = [
        abs(minute.clock_drift_ms - abs(minute.dilation_ms))
        for minute in minutes
        if minute.clock_drift_ms is not None and minute.dilation_ms is not None
    ]
    return float(np.median(drifts)) if drifts else None


def gates_of(minutes: Sequence[Minute], *, real: bool, latents: bool) -> list[Gate]:
    """`real`: the clock is. `latents`: the world has latents and a bank to hold them against."""
    settled = after_warm_up(minutes)
    slope, ratio = rss_slope_mb(settled), tick_ratio(settled)
    gates = [
        _below("RSS slope", slope, RSS_SLOPE_GOAL_MB, "MB a minute"),
        _below("tick time, last over first", ratio, TICK_RATIO_GOAL, "times"),
    ]
    if latents:
        gates.append(_below("ticks outside the bands at the end", outside_share(settled), OUTSIDE_GOAL, "of those"))
    if real:
        gates.append(_below("clock drift", unexplained_drift_ms(settled), CLOCK_GOAL_MS, "ms"))
    return gates


def exit_code(gates: Sequence[Gate]) -> int:
    """0 met; 1 one was missed; 2 one could not be measured and none was missed."""
    if any(gate.met is False for gate in gates):
        return 1
    return 2 if any(gate.met is None for gate in gates) else 0


def _below(name: str, value: float | None, limit: float, unit: str) -> Gate:
    return Gate(name, None if value is None else value < limit, value, f"below {limit:g} {unit}")
