"""Real sessions on the real clock, block by block in turns: waiting, holding, looking; and with the commit beside.

A block of each kind follows the other on the same world and the same input, so that a slow minute of the machine falls
on all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ....runtime.ahead.counts import GuessCounts
from ....runtime.core import Action, Clock, World
from ....runtime.display.null import NullDisplay
from ....runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor
from ....runtime.governor.cost import CostModel, sample_of
from ....runtime.loop import Governor, period_ns
from ....runtime.session.builder import Session
from ....runtime.session.parts.ahead import AheadPart
from ....runtime.session.parts.part import SessionPart, Setting
from ....runtime.tick.record import TickRecord
from ....worlds.neural.world import NeuralWorld
from ..kept import Kept
from .inputs import TimedPlayer

SKIPPED_TICKS = 20
"""Of every block: the governor begins at the top, and nothing is known of costs yet."""
KINDS = ("waits", "holds", "looks")
"""Waits for the release; begins on what was held; begins on a look at the input."""


@dataclass(frozen=True)
class Block:
    """The measured ticks of one block. `cpu_ms`: of the process, per tick."""

    records: Sequence[TickRecord]
    cpu_ms: float
    wasted_ms: float


@dataclass(frozen=True)
class SessionRow:
    """All blocks of one kind. Times in ms. `response`: release to picture. `input_to_present`: from the moment a
    control changed to the first picture made with it. `changed`: ticks with such a change. `cpu`: of the process, per
    tick; `wasted`: of it, thrown away."""

    case: str
    input: str
    kind: str
    ticks: int
    deadline_ms: float
    miss_rate: float
    steps_mean: float
    switches_per_100: float
    response_p50_ms: float
    response_p95_ms: float
    changed_ticks: int
    changed_response_p50_ms: float | None
    input_to_present_p50_ms: float | None
    input_to_present_p95_ms: float | None
    hit_rate: float | None
    cpu_ms: float
    wasted_ms: float


def block(
    world: World,
    clock: Clock,
    actions: Sequence[Action],
    kind: str,
    *,
    deadline_ns: int,
    governor: Governor | None = None,
    timed: bool = True,
) -> Block:
    """One session of one kind over all the actions. Not `timed`: every action comes exactly with its tick."""
    info, kept = world.info, Kept()
    period = period_ns(info.tick_hz)
    player = TimedPlayer(actions, clock, int(period) if timed else 0)
    top = info.ladder[-1]
    parts: list[SessionPart] = []
    if kind != "waits":
        ceiling: Callable[[], int] | None = None if governor is not None else (lambda: top)
        parts.append(AheadPart(clock, ceiling=ceiling, peek=player if kind == "looks" else None))
    world.reset(0)
    loop = Session(world, Setting(clock, period, deadline_ns), parts=parts).loop(
        player,
        NullDisplay(clock),
        governor or AdaptiveGovernor(info.ladder, clock, tick_deadline_ns=deadline_ns, tick_period_ns=int(period)),
        observers=(kept,),
    )
    loop.run(SKIPPED_TICKS)
    began_ns = time.process_time_ns()
    loop.run(len(actions) - SKIPPED_TICKS)
    cpu_ns = time.process_time_ns() - began_ns
    records = [record for record in kept.records[SKIPPED_TICKS:] if not record.clock_gap]
    wasted_ns = sum(record.ahead.wasted_ns for record in records)
    return Block(records, cpu_ns / 1e6 / len(records), wasted_ns / 1e6 / len(records))


def tight_deadline_ns(world: World, clock: Clock, actions: Sequence[Action]) -> int:
    """One that the middle rung keeps and the top rung does not, by the governor's own model of this machine now."""
    top, model = world.info.ladder[-1], CostModel()
    deadline_ns = int(period_ns(world.info.tick_hz))
    for record in block(world, clock, actions, "waits", deadline_ns=deadline_ns, governor=FixedGovernor(top)).records:
        model.learn(sample_of(record))
    middle = world.info.ladder[-2]
    return round((model.expected_ns(middle)[0] + model.expected_ns(top)[0]) / 2 / 0.96)


def in_turns(
    world: World, clock: Clock, actions: Sequence[Action], *, case: str, name: str, deadline_ns: int, blocks: int
) -> list[SessionRow]:
    """A row for each of `KINDS`, from blocks that take turns."""
    found: dict[str, list[Block]] = {kind: [] for kind in KINDS}
    for _ in range(blocks):
        for kind in KINDS:
            found[kind].append(block(world, clock, actions, kind, deadline_ns=deadline_ns))
    return [row_of(case, name, kind, found[kind], deadline_ns) for kind in KINDS]


def row_of(case: str, name: str, kind: str, blocks: Sequence[Block], deadline_ns: int) -> SessionRow:
    records = [record for one in blocks for record in one.records]
    changed = [record for record in records if record.input_event_ns is not None]
    waits_ns = [record.present_ns - record.input_event_ns for record in changed if record.input_event_ns is not None]
    counts = GuessCounts()
    for record in records:
        counts.observe(record)
    steps = [[record.steps_applied for record in one.records] for one in blocks]
    switches = sum(a != b for each in steps for a, b in pairwise(each))
    return SessionRow(
        case=case,
        input=name,
        kind=kind,
        ticks=len(records),
        deadline_ms=deadline_ns / 1e6,
        miss_rate=sum(record.missed for record in records) / len(records),
        steps_mean=float(np.mean([record.steps_applied for record in records])),
        switches_per_100=100 * switches / len(records),
        response_p50_ms=_percentile([record.response_ns for record in records], 50) or 0.0,
        response_p95_ms=_percentile([record.response_ns for record in records], 95) or 0.0,
        changed_ticks=len(changed),
        changed_response_p50_ms=_percentile([record.response_ns for record in changed], 50),
        input_to_present_p50_ms=_percentile(waits_ns, 50),
        input_to_present_p95_ms=_percentile(waits_ns, 95),
        hit_rate=counts.as_json()["hit_rate"],
        cpu_ms=float(np.mean([one.cpu_ms for one in blocks])),
        wasted_ms=float(np.mean([one.wasted_ms for one in blocks])),
    )


def _percentile(values_ns: Iterable[int], percent: float) -> float | None:
    values = list(values_ns)
    return float(np.percentile(values, percent)) / 1e6 if values else None


# --- the commit beside the decode ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class OverlapRow:
    """`whole`: from poll to the end of the commit. `response`: from release to picture. Times in ms."""

    kind: str
    ticks: int
    whole_p50_ms: float
    whole_p95_ms: float
    response_p50_ms: float
    response_p95_ms: float
    decode_p50_ms: float
    commit_p50_ms: float
    cpu_ms: float


def overlap(
    world: NeuralWorld, clock: Clock, actions: Sequence[Action], *, blocks: int
) -> tuple[list[OverlapRow], bool]:
    """Both ways in turns, at the top rung; and whether the states at the end of each were the same, bit for bit."""
    deadline_ns, top = int(period_ns(world.info.tick_hz)), world.info.ladder[-1]
    found: dict[bool, list[Block]] = {False: [], True: []}
    checksums: set[int] = set()
    for _ in range(blocks):
        for beside, kept in found.items():
            world.overlap = beside
            governor = FixedGovernor(top)
            kept.append(block(world, clock, actions, "waits", deadline_ns=deadline_ns, governor=governor, timed=False))
            checksums.add(world.checksum())
    world.overlap = False
    rows = [overlap_row("beside" if beside else "after", kept) for beside, kept in found.items()]
    return rows, len(checksums) == 1


def overlap_row(kind: str, blocks: Sequence[Block]) -> OverlapRow:
    records = [record for one in blocks for record in one.records]

    def middle(values_ns: Iterable[int], percent: float = 50) -> float:
        return _percentile(values_ns, percent) or 0.0

    return OverlapRow(
        kind=kind,
        ticks=len(records),
        whole_p50_ms=middle(record.commit_end_ns - record.poll_ns for record in records),
        whole_p95_ms=middle((record.commit_end_ns - record.poll_ns for record in records), 95),
        response_p50_ms=middle(record.response_ns for record in records),
        response_p95_ms=middle((record.response_ns for record in records), 95),
        decode_p50_ms=middle(record.stage_ns["decode"] for record in records),
        commit_p50_ms=middle(record.stage_ns["commit"] for record in records),
        cpu_ms=float(np.mean([one.cpu_ms for one in blocks])),
    )
