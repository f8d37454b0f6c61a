"""Claims about the causes of misses: injected faults are found, on a simulated machine and on the real one.

The simulated machine is world, controller, display, clock and probe in one, so that it knows what it did to each tick.
On the real one faults are real: garbage, fresh pages, a process that wants the same core.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from nextframe.runtime.core import IDLE, Action, ActionSpace, Frame, ManualClock, TickPlan, TickResult, WorldInfo
from nextframe.runtime.governor.adaptive import FixedGovernor, TraceGovernor
from nextframe.runtime.loop import Governor, Loop
from nextframe.runtime.observe.attribution import Parts, attribute
from nextframe.runtime.observe.causes import CAUSES, KEPT_FIRST, KEPT_SAMPLE, REMEMBERED_CAUSES, MissedTick, MissLog
from nextframe.runtime.tick.controls import SessionControls
from nextframe.runtime.tick.probe import HostUse
from nextframe.runtime.tick.record import TickRecord
from tests.support.doubles import MS, PERIOD_NS, Session

FRAME: Frame = np.zeros((2, 2, 3), np.uint8)
INFO = WorldInfo("rig", 2, 2, Fraction(20), (1, 2, 4), ActionSpace(), "", "")
STAGES = ("condition", "denoise", "decode")
FAULT_NS = 1_000


@dataclass(frozen=True)
class Fault:
    """`extra_ns` of delay in `place`: a stage, poll, present, commit, wake or gap. `reason`: what the machine shows."""

    place: str
    extra_ns: int
    reason: str = ""
    told_ns: int = 0
    """What the machine's counters say of it; counters are not exact."""


class OversleepingClock(ManualClock):
    """Wakes late when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.oversleep_ns = 0

    def sleep_until(self, time_ns: int) -> None:
        super().sleep_until(time_ns)
        self.advance_ns(self.oversleep_ns)
        self.oversleep_ns = 0


class Rig:
    """World, controller, display, governor and probe of a simulated machine with faults by tick."""

    info = INFO
    last_input_ns: int | None = None

    def __init__(
        self, faults: Mapping[int, Fault] | None = None, *, governor: Governor | None = None, noise_seed: int | None = 0
    ) -> None:
        self.clock = OversleepingClock()
        self.faults = dict(faults or {})
        self.base_ns = {"condition": 8 * MS, "denoise": 3 * MS, "decode": 12 * MS, "present": MS, "commit": 2 * MS}
        self.log = MissLog(fault_ns=FAULT_NS)
        self.records: list[TickRecord] = []
        self.evidence = True
        self._noise = None if noise_seed is None else random.Random(noise_seed)
        self._tick = 0
        self._host = HostUse()
        self._began_ns = 0
        controls = SessionControls()
        self.loop = Loop(
            self,  # type: ignore[arg-type]
            self,
            self,
            governor or FixedGovernor(4),
            self.clock,
            tick_period_ns=PERIOD_NS,
            deadline_ns=PERIOD_NS,
            observer=self,
            controls=controls,
            checksum_every=0,
            probe=self,
        )

    def run(self, ticks: int) -> Rig:
        self.oversleep(0)
        self.loop.run(ticks)
        return self

    def observe(self, record: TickRecord) -> None:
        self.records.append(record)
        self.log.observe(record)
        self._tick += 1
        self.oversleep(self._tick)

    def oversleep(self, tick: int) -> None:
        fault = self.faults.get(tick)
        if fault is not None and fault.place in ("wake", "gap"):
            self.clock.oversleep_ns = fault.extra_ns

    def stopped_ns(self, since_ns: int, until_ns: int) -> int | None:
        return None

    def poll(self, tick: int) -> Action:
        self._spend("poll")
        return IDLE

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        stage_ns = {}
        for stage in STAGES:
            times = plan.denoise_steps if stage == "denoise" else 1
            stage_ns[stage] = self._spend(stage, times)
        return TickResult([FRAME], plan.denoise_steps, stage_ns, commit=self._committed)

    def _committed(self) -> None:
        self._spend("commit")

    def present(self, frame: Frame) -> int:
        self._spend("present")
        return self.clock.now_ns()

    def begin(self) -> None:
        self._host, self._began_ns = HostUse(), self.clock.now_ns()

    def use(self) -> HostUse:
        if not self.evidence:
            return HostUse()
        busy_ns = self.clock.now_ns() - self._began_ns - self._host.run_delay_ns
        host = self._host._replace(cpu_ns=busy_ns)
        if self._noise is None:
            return host
        return host._replace(
            minor_faults=host.minor_faults + self._noise.randrange(20),
            run_delay_ns=host.run_delay_ns + self._noise.randrange(MS),
            gc_ns=host.gc_ns + (MS if self._noise.random() < 0.1 else 0),
            system_ns=host.system_ns + self._noise.choice((0, 0, 4 * MS)),
        )

    def close(self) -> None:
        pass

    def _spend(self, place: str, times: int = 1) -> int:
        spread = 1.0 if self._noise is None else self._noise.uniform(0.95, 1.1)
        cost_ns = round(self.base_ns.get(place, 0) * times * spread)
        fault = self.faults.get(self._tick)
        if fault is not None and fault.place == place:
            cost_ns += fault.extra_ns
            self._tell(fault)
        self.clock.advance_ns(cost_ns)
        return cost_ns

    def _tell(self, fault: Fault) -> None:
        host = self._host
        if fault.reason == "gc":
            host = host._replace(gc_ns=fault.told_ns)
        elif fault.reason == "run_delay":
            host = host._replace(run_delay_ns=fault.told_ns, preemptions=3)
        elif fault.reason == "pages":
            host = host._replace(minor_faults=fault.told_ns // FAULT_NS)
        elif fault.reason == "huge pages":
            host = host._replace(minor_faults=300, system_ns=fault.told_ns)
        self._host = host


def fault_of(kind: str, extra_ns: int, stage: str, told: float) -> dict[int, Fault]:
    """Faults by tick, relative to the tick that they make miss. `told`: how much of the delay the counters show."""
    told_ns = round(extra_ns * told)
    if kind == "queue":
        return {-1: Fault("commit", 55 * MS)}
    if kind == "clock_gap":
        return {-1: Fault("gap", 900 * MS), 0: Fault(stage, extra_ns)}
    places = {"gc": stage, "pages": stage, "huge pages": stage, "run_delay": stage}
    return {0: Fault(places.get(kind, kind), extra_ns, kind if kind in places else "", told_ns)}


EXPECTED = {
    **{place: place for place in (*STAGES, "present", "queue", "gc", "clock_gap")},
    **{"pages": "allocation", "huge pages": "allocation"},
    **{"wake": "external", "run_delay": "external"},
    "poll": "unknown",
}


def mixture(injected: int, seed: int) -> tuple[dict[int, Fault], dict[int, str]]:
    """Faults of every kind 6 to 12 ticks apart, and the kind by the tick that it makes miss."""
    rng = random.Random(seed)
    faults: dict[int, Fault] = {}
    kinds: dict[int, str] = {}
    tick = 20
    for number in range(injected):
        tick += rng.randrange(6, 13)
        kinds[tick] = list(EXPECTED)[number % len(EXPECTED)]
        extra_ns = round(rng.uniform(30, 110) * MS)
        for offset, fault in fault_of(kinds[tick], extra_ns, rng.choice(STAGES), rng.uniform(0.5, 1.5)).items():
            faults[tick + offset] = fault
    return faults, kinds


def levels(seed: int) -> Governor:
    return TraceGovernor(random.Random(seed).choices((1, 2, 4), k=20_000))


# --- a simulated machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_injected_faults_get_the_right_cause(seed: int) -> None:
    faults, kinds = mixture(1_200, seed)
    rig = Rig(faults, governor=levels(seed), noise_seed=seed).run(max(kinds) + 5)
    missed = {record.tick: record for record in rig.records if record.missed}
    found = {tick: rig.log.cause_of(rig.records[tick]) for tick in kinds}
    right = Counter(kind for tick, kind in kinds.items() if found[tick] == EXPECTED[kind])
    assert set(missed) == set(kinds), "every fault makes its tick miss, and nothing else does"
    assert sum(right.values()) >= 0.95 * len(kinds)
    assert {kind: count for kind, count in right.items() if count < 90} == {}, "of 100 each"


def test_without_evidence_the_machine_is_not_blamed() -> None:
    faults, kinds = mixture(300, seed=3)
    rig = Rig(faults, governor=levels(3))
    rig.evidence = False
    rig.run(max(kinds) + 5)
    silent = [tick for tick, kind in kinds.items() if kind in ("gc", "pages", "huge pages", "run_delay")]
    assert silent
    assert {rig.log.cause_of(rig.records[tick]) for tick in silent} <= set(STAGES)
    assert rig.log.counts["gc"] == rig.log.counts["allocation"] == 0


def test_no_cause_is_given_to_a_tick_in_time() -> None:
    rig = Rig().run(200)
    assert sum(rig.log.counts.values()) == 0
    assert {rig.log.cause_of(record) for record in rig.records} == {None}
    assert rig.log.kept() == []


def only_miss(rig: Rig) -> MissedTick:
    (missed,) = rig.log.kept()
    return missed


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("denoise", "denoise took 72.0 ms for 4 denoise steps, usually 12.0 ms"),
        ("decode", "decode took 72.0 ms, usually 12.0 ms"),
        ("present", "present took 61.0 ms, usually 1.0 ms"),
        ("queue", "started 40.0 ms after release, when the tick before was done; its commit took 57.0 ms"),
        ("gc", "Python's garbage collector ran for 60.0 ms inside the tick"),
        ("pages", "60,000 page faults (usually 0) cost about 60.0 ms"),
        ("huge pages", "300 page faults (usually 0) cost about 60.0 ms"),
        ("clock_gap", "the clock stood still or jumped in tick 29 before it (suspend, debugger)"),
        ("wake", "woke 60.0 ms after release though free to start"),
        ("run_delay", "was ready to run for 60.0 ms while something else had the core"),
        ("poll", "late by 43.0 ms; 60.0 ms more than usual passed in none of the stages"),
    ],
)
def test_each_cause_gives_its_evidence_in_one_sentence(kind: str, words: str) -> None:
    faults = {30 + offset: fault for offset, fault in fault_of(kind, 60 * MS, "decode", 1.0).items()}
    if kind == "queue":
        faults[29] = Fault("commit", 55 * MS)
    missed = only_miss(Rig(faults, noise_seed=None).run(40))
    assert (missed.tick, missed.cause, missed.evidence) == (30, EXPECTED[kind], words)
    json.dumps(missed.as_json(), allow_nan=False)


def test_a_miss_comes_with_the_three_ticks_before_it() -> None:
    missed = only_miss(Rig({30: Fault("decode", 60 * MS)}, noise_seed=None).run(40))
    assert [before.tick for before in missed.before] == [27, 28, 29]
    assert [before.response_ms for before in missed.before] == [33.0] * 3
    assert missed.stage_ms["decode"] == 72.0
    assert (missed.late_ms, missed.release_ms) == (43.0, 1500.0)
    assert missed.numbers["decode_excess_ms"] == 60.0
    assert missed.numbers["usual_response_ms"] == 33.0
    first = only_miss(Rig({0: Fault("decode", 60 * MS)}, noise_seed=None).run(5))
    assert first.before == ()
    assert first.evidence == "decode took 72.0 ms, the most of all parts; no tick has been in time yet"


# --- cost, quality and overload ------------------------------------------------------------------------------------


def test_more_steps_at_the_usual_price_are_not_called_slow() -> None:
    rig = Rig({30: Fault("decode", 25 * MS)}, governor=TraceGovernor([1] * 30 + [4]), noise_seed=None)
    rig.base_ns["denoise"] = 6 * MS
    missed = only_miss(rig.run(31))
    assert (missed.cause, missed.steps_applied) == ("decode", 4)
    assert "denoise_excess_ms" not in missed.numbers


def test_steps_that_do_not_fit_even_at_their_usual_price_are_denoise() -> None:
    rig = Rig(governor=TraceGovernor([1] * 30 + [4]), noise_seed=None)
    rig.base_ns["denoise"] = 12 * MS
    missed = only_miss(rig.run(31))
    assert missed.cause == "denoise"
    assert (
        missed.evidence
        == "a tick of 4 denoise steps usually takes 69.0 ms of the 50.0 ms there are, most of it in denoise"
    )


def test_a_world_that_never_fits_is_told_which_part_costs_most() -> None:
    rig = Rig()
    rig.base_ns["denoise"] = 20 * MS
    rig.run(50)
    assert rig.log.counts["denoise"] == len(rig.records) == sum(rig.log.counts.values())


def test_a_world_without_room_is_not_excused_by_many_small_excesses() -> None:
    rig = Rig(noise_seed=None)
    rig.base_ns.update(condition=9 * MS, denoise=6 * MS, decode=13 * MS, present=3 * MS, commit=0)  # 49 of 50 ms
    rig.run(30)
    assert sum(rig.log.counts.values()) == 0
    rig.base_ns.update(condition=9_500_000, decode=13_500_000, present=3_500_000)
    rig.run(1)
    assert only_miss(rig).cause == "denoise"


def test_fixed_quality_under_a_load_that_came_is_denoise_at_every_tick() -> None:
    rig = Rig().run(50)
    rig.base_ns["denoise"] = 30 * MS
    rig.run(100)
    assert rig.log.counts["denoise"] == 100


def test_half_the_lateness_must_be_explained() -> None:
    usual = Parts(condition=10, denoise=10, denoise_per_step=10, decode=10)

    def cause(**more: float) -> str:
        parts = usual._replace(**{name: getattr(usual, name) + value for name, value in more.items()})
        arguments = {"steps": 1, "deadline_ns": 40, "late_ns": sum(more.values()), "fault_ns": 1.0, "gap": False}
        return attribute(parts, usual, **arguments).cause  # type: ignore[arg-type]

    assert cause(condition=6, decode=5, denoise=1) == "condition"
    assert cause(condition=5, decode=4, denoise=4) == "unknown"


def test_a_few_page_faults_are_no_allocation() -> None:
    usual, slow = Parts(decode=10 * MS), Parts(decode=90 * MS, minor_faults=60, system=80 * MS)
    common = {"steps": 1, "deadline_ns": 50 * MS, "late_ns": 40 * MS, "fault_ns": 1.0, "gap": False}
    assert attribute(slow, usual, **common).cause == "decode"  # type: ignore[arg-type]
    assert attribute(slow._replace(minor_faults=64), usual, **common).cause == "allocation"  # type: ignore[arg-type]


def test_pages_read_from_a_disk_are_an_allocation() -> None:
    usual, slow = Parts(decode=10 * MS), Parts(decode=90 * MS, major_faults=5, off_core=75 * MS)
    common = {"steps": 1, "deadline_ns": 50 * MS, "late_ns": 40 * MS, "fault_ns": 1.0, "gap": False}
    assert attribute(slow, usual, **common).cause == "allocation"  # type: ignore[arg-type]
    assert attribute(slow._replace(major_faults=0), usual, **common).cause == "decode"  # type: ignore[arg-type]


def test_where_the_kernel_counts_no_waiting_preemptions_stand_in() -> None:
    usual, slow = Parts(decode=10 * MS), Parts(decode=90 * MS, preemptions=4, off_core=75 * MS)
    common = {"steps": 1, "deadline_ns": 50 * MS, "late_ns": 40 * MS, "fault_ns": 1.0, "gap": False}
    assert attribute(slow, usual, **common).cause == "external"  # type: ignore[arg-type]
    assert attribute(slow._replace(preemptions=0), usual, **common).cause == "decode"  # type: ignore[arg-type]


def test_a_stall_of_any_length_has_its_own_cause() -> None:
    rig = Rig({20: Fault("decode", 400 * MS)}, noise_seed=None).run(23)
    assert not any(record.clock_gap for record in rig.records)
    assert only_miss(rig).cause == "decode"


# --- what is kept --------------------------------------------------------------------------------------------------


def test_all_of_a_few_misses_are_kept_and_an_even_sample_of_many() -> None:
    late = Session(lambda tick: {"decode": 60 * MS})
    late.loop.run(1)
    template = late.records[0]
    hits: Counter[int] = Counter()
    for seed in range(40):
        log = MissLog(seed=seed)
        for tick in range(1_100):
            log.observe(replace(template, tick=tick))
        ticks = [missed.tick for missed in log.kept()]
        assert ticks == sorted(set(ticks))
        assert ticks[:KEPT_FIRST] == list(range(KEPT_FIRST))
        assert len(ticks) == KEPT_FIRST + KEPT_SAMPLE
        assert sum(log.counts.values()) == 1_100
        hits.update((tick - KEPT_FIRST) // 250 for tick in ticks[KEPT_FIRST:])
    assert all(abs(hits[quarter] - 1_000) < 150 for quarter in range(4)), "4,000 samples over four quarters"


def test_the_sample_is_the_same_twice() -> None:
    def kept(seed: int) -> list[int]:
        rig = Rig()
        rig.base_ns["denoise"] = 20 * MS
        rig.log = MissLog(seed=seed)
        return [missed.tick for missed in rig.run(500).log.kept()]

    assert kept(1) == kept(1) != kept(2)


def test_misses_of_the_warm_up_are_named_but_not_counted() -> None:
    rig = Rig({5: Fault("decode", 60 * MS), 30: Fault("decode", 60 * MS)})
    rig.log = MissLog(warmup_ticks=10)
    rig.run(40)
    assert rig.log.counts["decode"] == 1
    assert only_miss(rig).tick == 30
    assert rig.log.cause_of(rig.records[5]) == "decode"


def test_a_long_overload_does_not_fill_the_memory() -> None:
    late = Session(lambda tick: {"decode": 60 * MS})
    late.loop.run(1)
    log = MissLog()
    for tick in range(REMEMBERED_CAUSES + 50):
        log.observe(replace(late.records[0], tick=tick))
    assert log.cause_of(late.records[0]) is None, "forgotten"
    assert log.cause_of(replace(late.records[0], tick=50)) == "decode"


def test_the_causes_are_the_documented_ones() -> None:
    assert set(EXPECTED.values()) == set(CAUSES)
