"""What every part of the deadline bench shares: a run of the loop kept tick by tick, and its numbers with a verdict.

The answers are met, missed and not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np

from ....controllers.bots import IdleController
from ....runtime.core import Clock, Controller, World
from ....runtime.display.null import NullDisplay
from ....runtime.governor.adaptive import AdaptiveGovernor
from ....runtime.loop import Governor, Loop
from ....runtime.observe import metrics
from ....runtime.tick.heap import settled_heap
from ....runtime.tick.probe import HostProbe
from ....runtime.tick.record import TickRecord
from ..kept import Kept

MAX_MISS_RATE = 0.005
MAX_MISS_RUN = 2
MAX_MISSES_IN_100 = 2
LEAST_TICKS = 400
"""Below this one or two misses decide about 0.5 %, so nothing is said."""

Verdict = Literal["met", "missed", "not judged"]


@dataclass(frozen=True)
class Row:
    """One run in numbers. `goal` says what `verdict` is about; `more` holds what only this measurement has.

    `spiral_ms`: the most by which a loop period was longer than the larger of the tick's period and its own cost.
    """

    name: str
    clock: str
    governor: str
    ticks: int
    misses: int
    miss_rate: float
    worst_miss_run: int
    most_misses_in_100: int
    steps_mean: float
    response_ms: dict[str, float | None]
    lost_slots: int
    clock_gaps: int
    goal: str = ""
    verdict: Verdict = "not judged"
    more: dict[str, float | str | None] = field(default_factory=dict)


def play(
    world: World,
    governor: Governor,
    clock: Clock,
    ticks: int,
    *,
    period_ns: Fraction | int,
    deadline_ns: int,
    controller: Controller | None = None,
    probe: HostProbe | None = None,
) -> list[TickRecord]:
    """Run the loop without a display or a recording; the caller has reset and warmed the world."""
    kept = Kept()
    loop = Loop(
        world,
        controller or IdleController(),
        NullDisplay(clock),
        governor,
        clock,
        tick_period_ns=period_ns,
        deadline_ns=deadline_ns,
        observer=kept,
        checksum_every=0,
        probe=probe,
    )
    with settled_heap():
        loop.run(ticks)
    return kept.records


def adaptive(world: World, clock: Clock, *, period_ns: Fraction | int, deadline_ns: int) -> AdaptiveGovernor:
    """The governor that play and run use, with its defaults."""
    return AdaptiveGovernor(world.info.ladder, clock, tick_deadline_ns=deadline_ns, tick_period_ns=int(period_ns))


def summary(name: str, clock: str, governor: str, *blocks: Sequence[TickRecord]) -> Row:
    """The numbers of one or more runs; runs of misses and windows of 100 do not reach from one into the next."""
    records = [record for block in blocks for record in block]
    missed = [[record.missed for record in block] for block in blocks]
    response_ms = [record.response_ns / 1e6 for record in records if not record.clock_gap]
    return Row(
        name=name,
        clock=clock,
        governor=governor,
        ticks=len(records),
        misses=sum(map(sum, missed)),
        miss_rate=sum(map(sum, missed)) / max(1, len(records)),
        worst_miss_run=max((metrics.worst_miss_run(block) for block in missed), default=0),
        most_misses_in_100=max((metrics.most_misses_in(block, 100) for block in missed), default=0),
        steps_mean=float(np.mean([record.steps_applied for record in records])) if records else 0.0,
        response_ms=metrics.percentiles(response_ms, 50, 99),
        lost_slots=sum(record.lost_slots for record in records),
        clock_gaps=sum(record.clock_gap for record in records),
    )


def keeps_deadlines(row: Row) -> Verdict:
    """The gates of shaped loads: at most 0.5 % misses, at most 2 in a row, at most 2 in any 100 ticks."""
    if row.ticks < LEAST_TICKS:
        return "not judged"
    kept = (
        row.miss_rate <= MAX_MISS_RATE
        and row.worst_miss_run <= MAX_MISS_RUN
        and row.most_misses_in_100 <= MAX_MISSES_IN_100
    )
    return "met" if kept else "missed"


def spiral_ms(records: Sequence[TickRecord], period_ns: Fraction | int) -> float:
    """The most by which a loop period was longer than the tick needed: the larger of its period and its own cost."""
    over_ns = [
        after.poll_ns - tick.poll_ns - max(int(period_ns), tick.commit_end_ns - tick.poll_ns)
        for tick, after in pairwise(records)
    ]
    return max(over_ns, default=0) / 1e6
