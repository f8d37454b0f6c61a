"""The JSON document at the end of a session, schema `nextframe.report/1` (keys: docs/metrics.md).

The report's shape, its series and the exit code. Start-up phases, devices and versions are handed in.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import StatePart, WorldInfo
from . import metrics
from .causes import MissLog
from .telemetry import NONE_NS, STAGES, Telemetry

SCHEMA = "nextframe.report/1"
TTFF_PHASES = ("import", "load", "warmup", "first_frame", "total")
MAX_POINTS = 6000
DECIMALS = 3
LEAST_TICKS = 20
"""Fewer measured ticks than this decide no miss rate, whatever it is."""

Columns = dict[str, NDArray[np.int64]]


def build_report(
    telemetry: Telemetry,
    world_info: WorldInfo,
    *,
    clock: str,
    deadline_ns: int,
    tick_hz: Fraction | None = None,
    warmup_ticks: int = 0,
    ttff_ms: Mapping[str, float] | None = None,
    state: Sequence[StatePart] = (),
    env: Mapping[str, object] | None = None,
    miss_log: MissLog | None = None,
    governor_name: str | None = None,
    load_ms: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The report of a session. The first `warmup_ticks` are in no number but `warmup_ticks`.

    `clock`: real or fixed. `tick_hz`: the rate played at, the world's own when not given.
    `ttff_ms`: milliseconds by phase (`TTFF_PHASES`); unknown phases are null. `miss_log`: observed the same ticks and
    was told the same `warmup_ticks`; without one every miss is `unknown`. `load_ms`: injected into each tick, warm-up
    included. A value that could not be measured is null. ValueError for phases that do not exist, and for a log or a
    load of other ticks.
    """
    unknown = set(ttff_ms or {}) - set(TTFF_PHASES)
    if unknown:
        raise ValueError(f"ttff_ms: expected phases of {TTFF_PHASES}, got {sorted(unknown)}")
    if miss_log is not None and miss_log.warmup_ticks != warmup_ticks:
        raise ValueError(f"miss_log: expected one with {warmup_ticks} warm-up ticks, got {miss_log.warmup_ticks}")
    columns = telemetry.columns(skip_ticks=warmup_ticks)
    all_ticks = len(telemetry.columns()["tick"])
    rate_hz = tick_hz or world_info.tick_hz
    return {
        "schema": SCHEMA,
        "world": world_info.name,
        "tick_hz": float(rate_hz),
        "clock": clock,
        "ticks": len(columns["tick"]),
        "warmup_ticks": min(warmup_ticks, all_ticks),
        "deadline_ms": deadline_ns / 1e6,
        **_timing(columns),
        **_smoothness(columns, float(1_000_000_000 / rate_hz)),
        "ttff_ms": {phase: (ttff_ms or {}).get(phase) for phase in TTFF_PHASES},
        **_quality(columns, world_info.ladder),
        **_costs(columns),
        **_misses(columns, miss_log),
        "governor": {
            "name": governor_name,
            "decisions": [
                {name: value for name, value in decision._asdict().items() if name != "position"}
                for decision in telemetry.decisions(skip_ticks=warmup_ticks)
            ],
        },
        "series": _series(columns, _checked_load(load_ms, all_ticks, warmup_ticks)),
        "state": [{"name": part.name, "bytes": part.bytes, "horizon_ticks": part.horizon_ticks} for part in state],
        "env": {**environment(), **(env or {})},
        "config_sha256": world_info.config_sha256,
        "weights_sha256": world_info.weights_sha256,
        "definitions": dict(metrics.DEFINITIONS),
    }


def _timing(columns: Columns) -> dict[str, Any]:
    missed = columns["missed"]
    response_ms = columns["response_ns"][columns["clock_gap"] == 0] / 1e6
    shown = columns["frame_time_ns"] != NONE_NS
    frames = columns["frames"][shown]
    frame_time_ns = np.repeat(columns["frame_time_ns"][shown] / np.maximum(frames, 1), frames)
    return {
        "misses": int(missed.sum()),
        "miss_rate": float(missed.mean()) if len(missed) else None,
        "worst_miss_run": metrics.worst_miss_run(missed),
        "most_misses_in_100": metrics.most_misses_in(missed, metrics.MISS_WINDOW_TICKS),
        "lost_slots": int(columns["lost_slots"].sum()),
        "held_frames": int(columns["held_frames"].sum()),
        "clock_gaps": int(columns["clock_gap"].sum()),
        "clock_gap_ms": float(columns["gap_ns"].sum()) / 1e6,
        "response_ms": {
            **metrics.percentiles(response_ms, 50, 95, 99, 99.9),
            "max": float(response_ms.max()) if len(response_ms) else None,
        },
        "fps": metrics.fps(frame_time_ns),
        "low1_p99_fps": metrics.low1_p99_fps(frame_time_ns),
        "low1_avg_fps": metrics.low1_avg_fps(frame_time_ns),
        "hitch_ms_per_s": metrics.hitch_ms_per_s(columns["late_ns"], float(frame_time_ns.sum())),
    }


def _smoothness(columns: Columns, period_ns: float) -> dict[str, Any]:
    errors_ns = metrics.animation_errors_ns(
        columns["shown_at_ns"], columns["paced_ns"], columns["frames"], columns["continues"], period_ns
    )
    frame_time_ns = columns["frame_time_ns"]
    jitter_ns = metrics.jitter_ns(frame_time_ns[frame_time_ns != NONE_NS], period_ns)
    return {
        "animation_error_ms": metrics.percentiles(np.abs(errors_ns) / 1e6, 50, 99),
        "jitter_ms": None if jitter_ns is None else jitter_ns / 1e6,
    }


def _quality(columns: Columns, ladder: Sequence[int]) -> dict[str, Any]:
    steps = columns["steps_applied"]
    return {
        "steps_histogram": {str(rung): int(np.count_nonzero(steps == rung)) for rung in ladder},
        "steps_mean": float(steps.mean()) if len(steps) else None,
        "level_switches_per_100": metrics.switches_per_100(steps),
    }


def _costs(columns: Columns) -> dict[str, Any]:
    waits_ns = columns["input_to_present_ns"]
    return {
        "stage_ms": {stage: metrics.percentiles(columns[f"{stage}_ns"] / 1e6, 50, 99) for stage in STAGES},
        "overhead_ms": metrics.percentiles(columns["overhead_ns"] / 1e6, 50, 99),
        "input_to_present_ms": metrics.percentiles(waits_ns[waits_ns != NONE_NS] / 1e6, 50, 95),
    }


def _misses(columns: Columns, miss_log: MissLog | None) -> dict[str, Any]:
    if miss_log is None:
        misses = int(columns["missed"].sum())
        return {"miss_causes": {"unknown": misses} if misses else {}, "missed_ticks": []}
    return {
        "miss_causes": {cause: count for cause, count in miss_log.counts.items() if count},
        "missed_ticks": [missed.as_json() for missed in miss_log.kept()],
    }


# --- the session as a series of points --------------------------------------------------------------------------


def _checked_load(load_ms: Sequence[float] | None, all_ticks: int, warmup_ticks: int) -> NDArray[np.float64] | None:
    if load_ms is None:
        return None
    if len(load_ms) != all_ticks:
        raise ValueError(f"load_ms: expected one value for each of {all_ticks} ticks, got {len(load_ms)}")
    return np.asarray(load_ms, dtype=np.float64)[warmup_ticks:]


def _series(columns: Columns, load_ms: NDArray[np.float64] | None = None) -> dict[str, Any]:
    """At most `MAX_POINTS` points of equally many ticks (fewer in the last): the worst of each, stages as means."""
    ticks = len(columns["tick"])
    ticks_per_point = max(1, math.ceil(ticks / MAX_POINTS))
    starts = np.arange(0, ticks, ticks_per_point)

    def worst(values: NDArray[Any]) -> NDArray[Any]:
        return np.maximum.reduceat(values, starts) if ticks else values

    def total(values: NDArray[Any]) -> NDArray[Any]:
        return np.add.reduceat(values, starts) if ticks else values

    steps = columns["steps_applied"]
    sizes = total(np.ones(ticks, dtype=np.int64))
    series: dict[str, Any] = {
        "ticks_per_point": ticks_per_point,
        "tick": columns["tick"][starts].tolist(),
        "response_ms": _ms(worst(columns["response_ns"])),
        "frame_ms": _ms_or_null(worst(columns["frame_time_ns"])),
        "steps": (np.minimum.reduceat(steps, starts) if ticks else steps).tolist(),
        "missed": total(columns["missed"]).tolist(),
        "stage_ms": {stage: _ms(total(columns[f"{stage}_ns"]) / sizes) for stage in STAGES},
        "input_to_present_ms": _ms_or_null(worst(columns["input_to_present_ns"])),
    }
    if load_ms is not None:
        series["load_ms"] = np.round(worst(load_ms), DECIMALS).tolist()
    return series


def _ms(values_ns: NDArray[Any]) -> list[float]:
    return np.round(values_ns / 1e6, DECIMALS).tolist()


def _ms_or_null(values_ns: NDArray[np.int64]) -> list[float | None]:
    return [None if value_ns == NONE_NS else round(value_ns / 1e6, DECIMALS) for value_ns in values_ns.tolist()]


# --- about the machine, and the answer ---------------------------------------------------------------------------


def environment() -> dict[str, object]:
    """What can be said of this machine without importing a framework."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "numpy": np.__version__,
    }


def shortage(report: Mapping[str, Any], max_miss_rate: float | None = None) -> str | None:
    """Why this session is too short to say whether the target was met, in one sentence; None when it is not.

    A target P > 0 needs max(20, 1/P) measured ticks: with fewer than 1/P a single miss would already be more than P,
    so the run can only pass by luck. A target of 0 needs 20. Without a target one tick is enough.
    """
    ticks, warmup = report["ticks"], report["warmup_ticks"]
    if ticks == 0 or report["miss_rate"] is None:
        return f"no tick was measured: all {warmup} were warm-up" if warmup else "no tick was measured"
    if max_miss_rate is None:
        return None
    # The small number keeps 1 / 0.05 at 20 where division of floats says 20.000000000000004.
    needed = max(LEAST_TICKS, math.ceil(1 / max_miss_rate - 1e-9) if max_miss_rate > 0 else 0)
    if ticks >= needed:
        return None
    return (
        f"too short to decide: a miss rate of at most {100 * max_miss_rate:g} % needs {needed} measured ticks, "
        f"this session has {ticks}; run it with --ticks {needed + warmup} or more"
    )


def late_rate(report: Mapping[str, Any], *, ignore_clock_gaps: bool = False) -> float:
    """Misses and clock gaps over measured ticks, 0 to 1: nothing was shown in time in a gap either."""
    late = report["misses"] + (0 if ignore_clock_gaps else report["clock_gaps"])
    return min(1.0, late / report["ticks"])


def exit_code(report: Mapping[str, Any], max_miss_rate: float | None = None, *, ignore_clock_gaps: bool = False) -> int:
    """0 met, 1 the miss rate is above the target, 2 too short to decide (see `shortage`).

    Too short: fewer than max(20, 1/P) measured ticks for a target P > 0, since one miss would already be more than P;
    fewer than 20 for a target of 0; none at all without a target. Never a pass from a run that could not measure.
    """
    if shortage(report, max_miss_rate) is not None:
        return 2
    if max_miss_rate is None:
        return 0
    return int(late_rate(report, ignore_clock_gaps=ignore_clock_gaps) > max_miss_rate)
