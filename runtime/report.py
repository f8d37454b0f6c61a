"""The JSON document at the end of a session, schema `nextframe.report/1` (keys: DESIGN section 5).

Owns the report's shape, the naming of miss causes and the exit code. Knows nothing of torch, files or the loop: what
the composition root alone knows (start-up phases, devices, versions) is handed in.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import metrics
from runtime.core import StatePart, WorldInfo
from runtime.telemetry import NONE_NS, STAGES, Telemetry

SCHEMA = "nextframe.report/1"
TTFF_PHASES = ("import", "load", "warmup", "first_frame", "total")
CAUSES = ("late_start", "condition", "denoise", "decode", "present")
"""Parts of the time between release and picture that can make a tick miss; `unknown` when none stands out."""

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
) -> dict[str, Any]:
    """The report of a session. The first `warmup_ticks` are in no number but `warmup_ticks`.

    `clock`: real or fixed. `tick_hz`: the rate played at, the world's own when not given.
    `ttff_ms`: milliseconds by phase (`TTFF_PHASES`); unknown phases are null.
    A value that could not be measured is null. ValueError for phases that do not exist.
    """
    unknown = set(ttff_ms or {}) - set(TTFF_PHASES)
    if unknown:
        raise ValueError(f"ttff_ms: expected phases of {TTFF_PHASES}, got {sorted(unknown)}")
    columns = telemetry.columns(skip_ticks=warmup_ticks)
    all_ticks = len(telemetry.columns()["tick"])
    return {
        "schema": SCHEMA,
        "world": world_info.name,
        "tick_hz": float(tick_hz or world_info.tick_hz),
        "clock": clock,
        "ticks": len(columns["tick"]),
        "warmup_ticks": min(warmup_ticks, all_ticks),
        "deadline_ms": deadline_ns / 1e6,
        **_timing(columns),
        "ttff_ms": {phase: (ttff_ms or {}).get(phase) for phase in TTFF_PHASES},
        **_quality(columns, world_info.ladder),
        **_costs(columns),
        "miss_causes": miss_causes(columns),
        "state": [{"name": part.name, "bytes": part.bytes, "horizon_ticks": part.horizon_ticks} for part in state],
        "env": {**environment(), **(env or {})},
        "config_sha256": world_info.config_sha256,
        "weights_sha256": world_info.weights_sha256,
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
        "lost_slots": int(columns["lost_slots"].sum()),
        "held_frames": int(columns["held_frames"].sum()),
        "clock_gaps": int(columns["clock_gap"].sum()),
        "response_ms": {
            **metrics.percentiles(response_ms, 50, 95, 99),
            "max": float(response_ms.max()) if len(response_ms) else None,
        },
        "fps": metrics.fps(frame_time_ns),
        "low1_p99_fps": metrics.low1_p99_fps(frame_time_ns),
        "low1_avg_fps": metrics.low1_avg_fps(frame_time_ns),
        "hitch_ms_per_s": metrics.hitch_ms_per_s(columns["late_ns"], float(frame_time_ns.sum())),
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


def miss_causes(columns: Columns) -> dict[str, int]:
    """Misses by the part that took most longer than it does in ticks that were in time (than nothing, if none was)."""
    missed = columns["missed"] == 1
    counts = dict.fromkeys((*CAUSES, "unknown"), 0)
    parts = np.stack([columns[f"{cause}_ns"] for cause in CAUSES])  # (causes, ticks)
    in_time = parts[:, ~missed]
    usual = np.median(in_time, axis=1) if in_time.shape[1] else np.zeros(len(CAUSES))
    excess = parts[:, missed] - usual[:, None]
    for column in excess.T:
        counts[CAUSES[int(column.argmax())] if column.max() > 0 else "unknown"] += 1
    return {cause: count for cause, count in counts.items() if count}


def environment() -> dict[str, object]:
    """What can be said of this machine without importing a framework."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "numpy": np.__version__,
    }


def exit_code(report: Mapping[str, Any], max_miss_rate: float | None = None) -> int:
    """0 met, 1 the miss rate is above the target, 2 nothing was measured: never a pass without a measurement."""
    if report["ticks"] == 0 or report["miss_rate"] is None:
        return 2
    return int(max_miss_rate is not None and report["miss_rate"] > max_miss_rate)
