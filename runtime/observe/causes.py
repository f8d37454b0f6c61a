"""Why a tick missed its deadline: one cause each, with the evidence, as soon as it happens.

What ticks in time usually cost, the count of causes, and which misses are kept in full. After the jank classes of
Android's FrameTimeline, with numbers for each. How a cause is found is in `attribution`, its words in `evidence`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..loop import CLOCK_GAP_NS
from ..tick.record import TickRecord
from .attribution import CAUSES, Parts, Verdict, attribute, parts_of
from .evidence import evidence_of

__all__ = ["CAUSES", "MissLog", "MissedTick", "TickBefore"]

USUAL_TICKS = 64
BEFORE_TICKS = 3
KEPT_FIRST, KEPT_SAMPLE = 100, 100
REMEMBERED_CAUSES = 16_384
"""More than a trace writer may lag behind the loop."""
DEFAULT_FAULT_NS = 500
"""A small page on a bare machine; a virtual one may need six times as long."""


def _ms(value_ns: float) -> float:
    return round(value_ns / 1e6, 3)


@dataclass(frozen=True)
class TickBefore:
    """What a tick before a miss was like."""

    tick: int
    response_ms: float
    steps_applied: int
    late_start_ms: float
    stage_ms: Mapping[str, float]

    @classmethod
    def of(cls, record: TickRecord) -> TickBefore:
        return cls(
            record.tick,
            _ms(record.response_ns),
            record.steps_applied,
            _ms(record.poll_ns - record.release_ns),
            {stage: _ms(value_ns) for stage, value_ns in record.stage_ns.items()},
        )


@dataclass(frozen=True)
class MissedTick:
    """One miss with its evidence. `release_ms`: since the first release seen. `numbers`: see docs/metrics.md."""

    tick: int
    late_ms: float
    release_ms: float
    steps_asked: int
    steps_applied: int
    cause: str
    evidence: str
    numbers: Mapping[str, float]
    stage_ms: Mapping[str, float]
    before: Sequence[TickBefore]

    def as_json(self) -> dict[str, Any]:
        values = {**vars(self), "numbers": dict(self.numbers), "stage_ms": dict(self.stage_ms)}
        return {**values, "before": [dict(vars(tick)) for tick in self.before]}


class MissLog:
    """An observer that gives each missed tick a cause.

    `warmup_ticks`: the first ticks teach what is usual, but their misses are neither counted nor kept. `seed`: of the
    sample. `fault_ns`: what a page fault costs here, see `host.measure_fault_ns`. A tick in time costs 3 us, a miss
    about 40.
    """

    def __init__(self, *, warmup_ticks: int = 0, seed: int = 0, fault_ns: float = DEFAULT_FAULT_NS) -> None:
        self.warmup_ticks = warmup_ticks
        self.counts = dict.fromkeys(CAUSES, 0)
        self._fault_ns = fault_ns
        self._random = random.Random(seed)
        self._in_time: deque[Parts] = deque(maxlen=USUAL_TICKS)
        self._usual: Parts | None = None
        self._stale = False
        self._before: deque[TickRecord] = deque(maxlen=BEFORE_TICKS)
        self._ticks = 0
        self._first_release_ns: int | None = None
        self._first: list[MissedTick] = []
        self._sample: list[MissedTick] = []
        self._past_first = 0
        self._causes: dict[int, str] = {}

    def observe(self, record: TickRecord) -> None:
        if self._first_release_ns is None:
            self._first_release_ns = record.release_ns
        if record.missed:
            self._miss(record)
        elif not record.clock_gap:
            self._in_time.append(parts_of(record))
            self._stale = True
        self._before.append(record)
        self._ticks += 1

    def cause_of(self, record: TickRecord) -> str | None:
        """The cause of a recent miss, warm-up included; None for a tick in time. May be asked from another thread."""
        return self._causes.get(record.tick)

    def kept(self) -> list[MissedTick]:
        """The first 100 misses and an even sample of 100 of the others, in order of ticks."""
        return [*self._first, *sorted(self._sample, key=lambda missed: missed.tick)]

    def usual(self) -> Parts | None:
        """Medians of the last 64 ticks in time; None while there are none."""
        if self._stale:
            self._usual = Parts(*(median(column) for column in zip(*self._in_time, strict=True)))
            self._stale = False
        return self._usual

    def _miss(self, record: TickRecord) -> None:
        missed = self._explained(record)
        self._causes[record.tick] = missed.cause
        if len(self._causes) > REMEMBERED_CAUSES:
            del self._causes[next(iter(self._causes))]
        if self._ticks >= self.warmup_ticks:
            self.counts[missed.cause] += 1
            self._keep(missed)

    def _explained(self, record: TickRecord) -> MissedTick:
        parts, usual = parts_of(record), self.usual()
        late_ns = record.late_ns
        last = self._before[-1] if self._before else None
        # A second stop of over 250 ms in a row is overload by the loop's own rule, not the first one's aftermath.
        gap = record.clock_gap or (last is not None and last.clock_gap and late_ns <= CLOCK_GAP_NS)
        verdict = attribute(
            parts,
            usual,
            steps=record.steps_applied,
            deadline_ns=record.deadline_ns - record.release_ns,
            late_ns=late_ns,
            fault_ns=self._fault_ns,
            gap=gap,
        )
        return MissedTick(
            tick=record.tick,
            late_ms=_ms(late_ns),
            release_ms=_ms(record.release_ns - (self._first_release_ns or 0)),
            steps_asked=record.plan.denoise_steps,
            steps_applied=record.steps_applied,
            cause=verdict.cause,
            evidence=evidence_of(verdict, parts, usual, record, last),
            numbers=_numbers(verdict, parts),
            stage_ms={stage: _ms(value_ns) for stage, value_ns in record.stage_ns.items()},
            before=tuple(TickBefore.of(before) for before in self._before),
        )

    def _keep(self, missed: MissedTick) -> None:
        """Vitter's algorithm R (ACM TOMS 11, 1985) on all misses but the first 100."""
        if len(self._first) < KEPT_FIRST:
            self._first.append(missed)
            return
        self._past_first += 1
        if len(self._sample) < KEPT_SAMPLE:
            self._sample.append(missed)
        elif (place := self._random.randrange(self._past_first)) < KEPT_SAMPLE:
            self._sample[place] = missed


def _numbers(verdict: Verdict, parts: Parts) -> dict[str, float]:
    return {
        **{f"{cause}_excess_ms": _ms(value) for cause, value in verdict.excess_ns.items() if _ms(value) > 0},
        "usual_response_ms": _ms(verdict.usual_ns),
        "late_start_ms": _ms(parts.queue + parts.wake),
        "gc_ms": _ms(parts.gc),
        "run_delay_ms": _ms(parts.run_delay),
        "off_core_ms": _ms(parts.off_core),
        "system_ms": _ms(parts.system),
        "minor_faults": int(parts.minor_faults),
        "major_faults": int(parts.major_faults),
        "preemptions": int(parts.preemptions),
    }
