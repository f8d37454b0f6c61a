"""Shaped loads, overload and drift on the toy world with a cost of its own, on a real clock or a manual one.

The base cost is that of a small neural world: 27 ms for a picture at 4 denoise steps, in a period of 50 ms. Under
every shape the lowest rung still fits; a load under which nothing fits is what `overload` is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ....runtime.core import Clock, ManualClock, MonotonicClock
from ....runtime.governor.adaptive import FixedGovernor
from ....runtime.load.world import LoadedWorld, burner, parse_load
from ....runtime.loop import Governor
from ....runtime.tick.record import TickRecord
from ....worlds.toy.world import ToyWorld
from .measure import Row, adaptive, keeps_deadlines, play, spiral_ms, summary

MS = 1_000_000
PERIOD_NS = 50 * MS
TICKS_PER_S = 20
BASE_MS = {"condition": 1.0, "denoise": 6.0, "decode": 2.0, "commit": 1.0}
"""At 1, 2, 4 steps a picture comes after 9, 15, 27 ms."""
HEAVY_MS = {"condition": 4.0, "denoise": 8.0, "decode": 6.0, "commit": 2.0}
"""Fits alone at 4 steps (44 of 50 ms); three times as slow no rung fits (60 ms at 1 step)."""
SHAPES = (
    "steady:ms=8",
    "step:ms=15,from=5,to=15",
    "ramp:ms=20,from=0,to=20",
    "burst:ms=25,every=2,for=0.2",
    "noisy:ms=20,seed=1",
    "gc:ms=25,every=3",
    "scale:x=3,from=5,to=20",
    "noisy:ms=8,seed=2+gc:ms=15,every=3",
)
SPIRAL_MS = 5.0
TICKS_TO_RECOVER = 2
DRIFT_HZ = 30
DRIFT_MS = 5.0


class BaseCost:
    """Charges each stage of the toy world its cost on the clock."""

    def __init__(self, clock: Clock, cost_ms: Mapping[str, float]) -> None:
        self._burn = burner(clock)
        self._cost_ns = {stage: round(cost * MS) for stage, cost in cost_ms.items()}

    def __call__(self, stage: str) -> None:
        self._burn(self._cost_ns[stage])


def clock_of(name: str) -> Clock:
    return ManualClock() if name == "manual" else MonotonicClock()


def play_loaded(
    load: str,
    seconds: float,
    clock: Clock,
    *,
    base_ms: Mapping[str, float] = BASE_MS,
    governor: Governor | None = None,
) -> list[TickRecord]:
    """The toy world under a load for that many seconds of ticks; adaptive quality when no governor is given."""
    world = LoadedWorld(ToyWorld(clock, BaseCost(clock, base_ms)), parse_load(load), clock)
    world.reset(0)
    chosen = governor or adaptive(world, clock, period_ns=PERIOD_NS, deadline_ns=PERIOD_NS)
    ticks = round(seconds * TICKS_PER_S)
    return play(world, chosen, clock, ticks, period_ns=PERIOD_NS, deadline_ns=PERIOD_NS)


def shaped(load: str, seconds: float, clock_name: str) -> Row:
    """Adaptive quality under one shape, judged by the gates."""
    row = summary(load, clock_name, "adaptive", play_loaded(load, seconds, clock_of(clock_name)))
    return replace(row, goal="miss <= 0.5 %, run <= 2, <= 2 in any 100", verdict=keeps_deadlines(row))


def shaped_at_the_top(load: str, seconds: float) -> Row:
    """The same at fixed top quality, on a manual clock: what the shape does to a session without a governor."""
    return summary(load, "manual", "fixed:4", play_loaded(load, seconds, ManualClock(), governor=FixedGovernor(4)))


def overload(seconds: float, clock_name: str) -> Row:
    """Three times as slow for `seconds`, so that no rung fits; two seconds before it and four after."""
    began_s, ended_s = 2.0, 2.0 + seconds
    load = f"scale:x=3,from={began_s:g},to={ended_s:g}"
    clock = clock_of(clock_name)
    ticks_in_load_hz = 1000 / (3 * (sum(HEAVY_MS.values())))
    records = play_loaded(load, began_s + seconds * ticks_in_load_hz / TICKS_PER_S + 4.0, clock, base_ms=HEAVY_MS)
    return judged_overload(summary(load, clock_name, "adaptive", records), records, ended_s)


def judged_overload(row: Row, records: list[TickRecord], ended_s: float) -> Row:
    """Not judged unless the load made ticks late and enough of them came after it."""
    after = after_the_load(records, ended_s)
    worst_ms, late_misses = spiral_ms(records, PERIOD_NS), sum(record.missed for record in after[TICKS_TO_RECOVER:])
    measured = len(after) > TICKS_TO_RECOVER and any(record.missed for record in records)
    kept = worst_ms <= SPIRAL_MS and late_misses == 0
    return replace(
        row,
        goal=f"loop period <= tick cost + {SPIRAL_MS:g} ms, no miss {TICKS_TO_RECOVER} ticks after the load",
        verdict=("met" if kept else "missed") if measured else "not judged",
        more={"spiral_ms": worst_ms, "misses_after": late_misses, "ticks_after": len(after)},
    )


def after_the_load(records: list[TickRecord], ended_s: float) -> list[TickRecord]:
    """The ticks that began after the load had ended, `ended_s` after the first one began."""
    return [record for record in records if record.poll_ns - records[0].poll_ns >= ended_s * 1e9]


def drift(seconds: float) -> Row:
    """The toy world idle at 30 Hz on the real clock: does the n-th tick come n periods after the first?

    A tick that ran late moves the timetable on purpose, so `drift_ms` is counted along with `lost_slots`.
    """
    clock = MonotonicClock()
    world = ToyWorld(clock)
    period_ns, ticks = 1_000_000_000 // DRIFT_HZ, round(seconds * DRIFT_HZ)
    governor = adaptive(world, clock, period_ns=period_ns, deadline_ns=period_ns)
    records = play(world, governor, clock, ticks, period_ns=period_ns, deadline_ns=period_ns)
    drift_ms = (records[-1].poll_ns - records[0].poll_ns - (len(records) - 1) * period_ns) / 1e6
    late_ms = [(record.poll_ns - record.release_ns) / 1e6 for record in records]
    return replace(
        summary(f"idle at {DRIFT_HZ} Hz", "real", "adaptive", records),
        goal=f"|n*T - elapsed| < {DRIFT_MS:g} ms",
        verdict="met" if abs(drift_ms) < DRIFT_MS else "missed",
        more={"drift_ms": drift_ms, "release_jitter_p99_ms": float(np.percentile(late_ms, 99))},
    )


Progress = Callable[[str], None]


def shaped_rows(seconds: float, say: Progress) -> list[Row]:
    """Every shape: fixed top and adaptive on a manual clock (60 s that pass at once), adaptive on a real one."""
    rows: list[Row] = []
    for load in SHAPES:
        say(load)
        rows += [shaped_at_the_top(load, 60), shaped(load, 60, "manual"), shaped(load, seconds, "real")]
    return rows
