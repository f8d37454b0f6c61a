"""What playing with time costs: `python -m nextframe.tools.lab.timeline.cost [--world circuit] [--repeats 50]`.

Measured: snapshot, restore, save to disk and load, going back frame by frame, and the reach of a budget. The goal: a
restore, a load and a shown frame of the past take at most 5 tick periods. Exit codes: 0 met, 1 missed, 2 bad input. The
last line is one JSON document. The 95th percentile is what the goal is held against.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime.core import Action, NextframeError, PlayedTick, TickPlan, World
from ....runtime.recording.plain import held_bytes
from ....runtime.session.registry import find_world, load_world
from ....runtime.timeline.line import Timeline, TimelineRecorder
from ....runtime.timeline.rewind import Rewinder
from ....runtime.timeline.saves import load_slot, save_slot, saved_state

GOAL_PERIODS = 5
PLAYED_TICKS = 400
BACK_FRAMES = 55
MOST_TICKS = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What playing with time costs.")
    parser.add_argument("--world", default="circuit")
    parser.add_argument("--repeats", type=int, default=50, help="of each measurement (default 50)")
    options = parser.parse_args(arguments)
    try:
        if options.repeats < 1:
            raise NextframeError(f"--repeats: expected at least 1, got {options.repeats}")
        found = measure(load_world(find_world(options.world)), options.repeats)
    except NextframeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print_table(found)
    print(json.dumps(found))
    return 0 if found["met"] else 1


def measure(world: World, repeats: int) -> dict[str, Any]:
    """All figures of one world; `met` says whether the goal was."""
    world.reset(1)
    world.warm_up()
    timeline = Timeline()
    timeline.begin(0, world.snapshot())
    recorder = TimelineRecorder(timeline, world)
    action = Action(axes=dict.fromkeys(world.info.actions.axes, 60))
    rung = world.info.ladder[-1]
    tick_ms = []
    for tick in range(PLAYED_TICKS):
        started_ns = time.monotonic_ns()
        world.advance(action, TickPlan(rung, 0)).commit()
        tick_ms.append((time.monotonic_ns() - started_ns) / 1e6)
        recorder.record_tick(tick, PlayedTick(action, rung))
    snapshot = world.snapshot()
    figures = {
        "tick": tick_ms,
        "snapshot": timed(world.snapshot, repeats),
        "restore": timed(lambda: world.restore(snapshot), repeats),
        **disk_figures(world, repeats),
    }
    rewinder = Rewinder(world, timeline)
    figures["frame of the past"] = timed(rewinder.step_back, BACK_FRAMES)
    figures["landing"] = timed(rewinder.land, 1)
    period_ms = float(1000 / world.info.tick_hz)
    high = {name: float(np.percentile(values, 95)) for name, values in figures.items()}
    limited = ("restore", "load", "frame of the past", "landing")
    return {
        "schema": "nextframe.time_cost/1",
        "world": world.info.name,
        "period_ms": period_ms,
        "snapshot_bytes": held_bytes(snapshot),
        "p50_ms": {name: round(float(np.median(values)), 3) for name, values in figures.items()},
        "p95_ms": {name: round(value, 3) for name, value in high.items()},
        "timeline": {"ticks": timeline.reach_ticks, "bytes": timeline.bytes, "budget_bytes": timeline.budget_bytes},
        "reach_s": round(reach_ticks(snapshot, action) * period_ms / 1000, 1),
        "met": all(high[name] <= GOAL_PERIODS * period_ms for name in limited),
    }


def disk_figures(world: World, repeats: int) -> dict[str, list[float]]:
    state = saved_state(world, tick=PLAYED_TICKS, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        saving = timed(lambda: save_slot(path, "quick", state), repeats)
        loading = timed(lambda: world.restore(load_slot(path, "quick", world.info).snapshot), repeats)
    return {"save": saving, "load": loading}


def reach_ticks(snapshot: Any, action: Action) -> int:
    """How far a full budget reaches, found by filling one with this snapshot again and again."""
    timeline = Timeline()
    timeline.begin(0, snapshot)
    for tick in range(MOST_TICKS):
        timeline.note(tick, PlayedTick(action, 1), snapshot if timeline.wants_snapshot(tick) else None)
        if timeline.tick > 2 * timeline.reach_ticks:
            break
    return timeline.reach_ticks


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each call."""
    times_ms = []
    for _ in range(repeats):
        started_ns = time.monotonic_ns()
        work()
        times_ms.append((time.monotonic_ns() - started_ns) / 1e6)
    return times_ms


def print_table(found: dict[str, Any]) -> None:
    print(
        f"{found['world']}: a snapshot holds {found['snapshot_bytes'] / 1e6:.2f} MB; period {found['period_ms']:g} ms"
    )
    for name, value in found["p50_ms"].items():
        print(f"  {name:<18}{value:>10.3f} ms p50{found['p95_ms'][name]:>12.3f} ms p95")
    budget_mb = found["timeline"]["budget_bytes"] / 1e6
    print(f"  {budget_mb:.0f} MB of past reach {found['reach_s']:g} s; goal {'met' if found['met'] else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
