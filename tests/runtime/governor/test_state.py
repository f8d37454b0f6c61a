"""Claims about what a governor has learnt: saved and loaded, it decides on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.core import Action, ConfigError, ManualClock
from nextframe.runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor
from nextframe.runtime.governor.state import governor_state, restore_governor, state_from_plain
from nextframe.runtime.load.world import LoadedWorld, parse_load
from nextframe.runtime.loop import Loop
from nextframe.runtime.session.choices import SessionOptions
from nextframe.runtime.session.headless import run_session
from nextframe.runtime.session.startup import StartUp
from nextframe.runtime.tick.record import TickRecord
from nextframe.runtime.timeline.machine import TimeMachine, TimeSettings
from nextframe.runtime.timeline.save_format import state_from_bytes, state_to_bytes
from nextframe.runtime.timeline.saves import load_slot, save_slot, saved_state
from nextframe.tools.lab.governor.simulate import simulate
from nextframe.tools.lab.governor.traces import CostTrace
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import MS, PERIOD_NS, ListDisplay, ListedController, ListObserver, ListRecorder

LADDER = (1, 2, 4)
PROBES_MS = (0, 5, 20, 40, 47)
"""How far into a tick its gate is asked."""


def adaptive(clock: ManualClock, **options: Any) -> AdaptiveGovernor:
    return AdaptiveGovernor(LADDER, clock, tick_deadline_ns=PERIOD_NS, **options)


Cost: TypeAlias = tuple[float, float | tuple[float, ...]]
"""Before the first denoise step, and each of the four steps, in ms; one number where they are the same."""


def records_of(costs: Sequence[Cost]) -> list[TickRecord]:
    """Ticks of that cost, as a loop would record them."""
    ticks = len(costs)
    trace = CostTrace(
        family="test",
        world="test",
        machine="test",
        ladder=LADDER,
        deadline_ms=PERIOD_NS / MS,
        fixed_ms=tuple(head + 1 for head, _ in costs),
        step_ms=tuple(step if isinstance(step, tuple) else (step,) * LADDER[-1] for _, step in costs),
        tail_ms=(1.0,) * ticks,
        commit_ms=(2.0,) * ticks,
    )
    return simulate(trace, lambda trace, clock: adaptive(clock))


def decisions(governor: AdaptiveGovernor, clock: ManualClock, records: Sequence[TickRecord]) -> list[Any]:
    """What it plans before each record, what the plan's gate says early and late, and whether it holds."""
    found: list[Any] = []
    for record in records:
        began_ns = clock.now_ns()
        plan = governor.plan(record.tick, began_ns, began_ns + PERIOD_NS)
        gates = []
        for probe_ms in PROBES_MS:
            clock.sleep_until(began_ns + probe_ms * MS)
            gates += [plan.gate(steps) for steps in LADDER[:-1]]
        clock.sleep_until(began_ns + PERIOD_NS)
        found.append((plan.denoise_steps, plan.reason, gates, governor.holding))
        governor.observe(record)
    return found


def learnt(records: Sequence[TickRecord]) -> AdaptiveGovernor:
    governor = adaptive(ManualClock())
    for record in records:
        governor.observe(record)
    return governor


def through_a_file(plain: Any) -> Any:
    """As a save slot keeps it."""
    state = saved_state(ToyWorld(), tick=1, seed=0, governor=plain)
    return state_from_bytes(state_to_bytes(state), "a save").governor


def goes_on(plain: Any, rest: Sequence[TickRecord]) -> list[Any]:
    clock = ManualClock()
    governor = adaptive(clock)
    restore_governor(governor, plain)
    return decisions(governor, clock, rest)


costs = st.tuples(st.floats(0, 40), st.floats(0.5, 30))


@settings(max_examples=60, deadline=None)
@given(st.lists(costs, min_size=1, max_size=60), st.lists(costs, min_size=1, max_size=30))
def test_a_loaded_governor_plans_as_the_saved_one_for_the_same_records(
    before: list[tuple[float, float]], after: list[tuple[float, float]]
) -> None:
    records = records_of([*before, *after])
    clock = ManualClock()
    straight_on = adaptive(clock)
    for record in records[: len(before)]:
        straight_on.observe(record)
    saved = through_a_file(straight_on.snapshot())
    assert goes_on(saved, records[len(before) :]) == decisions(straight_on, clock, records[len(before) :])


HICCUP_LATE, HICCUP_EARLY = (5.0, (5.0, 5.0, 5.0, 35.0)), (5.0, (5.0, 25.0, 5.0, 5.0))
"""One that no checkpoint sees coming, which is missed; one that a checkpoint cuts."""
CASES: dict[str, Sequence[Cost]] = {
    "a rung below": [(5.0, 5.0)] * 20 + [(5.0, 18.0)] * 20 + [(5.0, 5.0)] * 30,
    "on the way up": [(5.0, 18.0)] * 20 + [(5.0, 5.0)] * 25,
    "two misses": [*[(5.0, 5.0)] * 9, HICCUP_LATE, *[(5.0, 5.0)] * 30, HICCUP_LATE, *[(5.0, 5.0)] * 30],
    "too dear": [(5.0, 43.0)] * 40 + [(5.0, 38.0)] * 40,
    "cut": [*[(5.0, 5.0)] * 20, *[HICCUP_EARLY] * 6],
}
FIELDS = (
    "samples",
    "marks_ns",
    "steps",
    "ticks_since_change",
    "cuts_in_a_row",
    "avoidable_misses",
    "holding",
    "reason",
)


def matters(field: str) -> bool:
    """Whether some save in some session leads elsewhere when that field comes back as a new governor's."""
    fresh = adaptive(ManualClock()).snapshot()
    for case in CASES.values():
        records = records_of(case)
        for at in range(1, len(records), 2):
            plain = learnt(records[:at]).snapshot()
            if goes_on({**plain, field: fresh[field]}, records[at:]) != goes_on(plain, records[at:]):
                return True
    return False


@pytest.mark.parametrize("field", FIELDS)
def test_a_state_that_leaves_one_part_out_leads_elsewhere(field: str) -> None:
    assert matters(field)


def test_a_state_has_no_part_that_these_claims_do_not_name() -> None:
    assert set(adaptive(ManualClock()).snapshot()) == {*FIELDS, "name", "deadline_ns", "period_ns"}


def test_a_new_governor_starts_at_the_top_where_the_saved_one_does_not() -> None:
    saved = learnt(records_of([(5.0, 18.0)] * 20))
    assert goes_on(saved.snapshot(), records_of([(5.0, 18.0)]))[0][0] < LADDER[-1]
    assert goes_on(None, records_of([(5.0, 18.0)]))[0][0] == LADDER[-1], "an older save has no state"


def test_for_another_deadline_only_the_costs_are_taken_and_the_rung_follows_from_them() -> None:
    saved = learnt(records_of([(5.0, 8.0)] * 20)).snapshot()
    assert state_from_plain(saved).steps == 4
    tight = AdaptiveGovernor(LADDER, ManualClock(), tick_deadline_ns=20 * MS)
    tight.restore(saved)
    assert tight.plan(0, 0, 20 * MS).denoise_steps == 1


def test_rungs_that_are_not_allowed_here_are_not_taken() -> None:
    saved = learnt(records_of([(5.0, 5.0)] * 20)).snapshot()
    low = adaptive(ManualClock(), ceiling_steps=2)
    low.restore(saved)
    assert low.plan(0, 0, PERIOD_NS).denoise_steps == 2


def test_a_forced_quality_keeps_nothing_and_takes_nothing() -> None:
    governor = FixedGovernor(2)
    assert governor_state(governor) is None
    restore_governor(governor, learnt(records_of([(5.0, 18.0)] * 9)).snapshot())
    assert governor.plan(0, 0, PERIOD_NS).denoise_steps == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"steps": 0},
        {"steps": True},
        {"steps": "4"},
        {"ticks_since_change": -1},
        {"holding": 1},
        {"reason": None},
        {"deadline_ns": 0},
        {"samples": np.zeros((3, 4))},
        {"samples": np.zeros((5000, 5))},
        {"samples": np.full((2, 5), np.nan)},
        {"samples": -np.ones((2, 5))},
        {"samples": [[1.0] * 5]},
        {"marks_ns": np.zeros(2)},
        {"avoidable_misses": np.zeros(3)},
    ],
)
def test_what_no_governor_has_written_is_one_clear_line(change: dict[str, Any]) -> None:
    plain = {**learnt(records_of([(5.0, 18.0)] * 9)).snapshot(), **change}
    governor = adaptive(ManualClock())
    with pytest.raises(ConfigError, match=rf"saved governor: {next(iter(change))}: expected"):
        governor.restore(plain)
    assert governor.plan(0, 0, PERIOD_NS).denoise_steps == LADDER[-1], "and nothing of it is taken over"


def test_a_key_that_is_not_known_is_a_newer_version_s_and_is_ignored() -> None:
    plain = learnt(records_of([(5.0, 18.0)] * 9)).snapshot()
    assert goes_on({**plain, "mood": "good"}, []) == goes_on(plain, [])


# --- in a session -------------------------------------------------------------------------------------------------


class Played:
    """A toy session on a manual clock under a load, with time travel."""

    def __init__(self, folder: Path, shape: str) -> None:
        self.clock, self.said, self.observer = ManualClock(), list[str](), ListObserver()
        world = ToyWorld(self.clock)
        governor = AdaptiveGovernor(world.info.ladder, self.clock, tick_deadline_ns=PERIOD_NS)
        self.time = TimeMachine(world, ListRecorder(), TimeSettings(folder), say=self.said.append, governor=governor)
        self.loop = Loop(
            LoadedWorld(world, parse_load(shape), self.clock),
            ListedController(self.clock),
            ListDisplay(self.clock),
            governor,
            self.clock,
            tick_period_ns=PERIOD_NS,
            deadline_ns=PERIOD_NS,
            observer=self.observer,
            recorder=self.time,
            interlude=self.time,
        )

    def rungs(self) -> list[int]:
        return [record.plan.denoise_steps for record in self.observer.records]


HEAVY = "steady:ms=15,on=denoise"


def test_a_quick_load_in_a_new_session_goes_on_at_the_quality_that_was_saved(tmp_path: Path) -> None:
    first = Played(tmp_path, HEAVY)
    first.loop.run(40)
    first.time.request_save()
    first.loop.run(1)
    first.time.wait_for_saves()
    assert first.rungs()[-1] < first.rungs()[0]
    second = Played(tmp_path, HEAVY)
    second.time.request_load()
    second.loop.run(45)
    assert second.rungs()[0] == first.rungs()[-1]
    assert not any(record.missed for record in second.observer.records)
    third = Played(tmp_path, HEAVY)
    third.loop.run(40)
    assert any(record.missed or record.steps_applied < 4 for record in third.observer.records[:3]), "without, it learns"


def test_a_save_whose_governor_makes_no_sense_is_said_and_the_world_is_loaded(tmp_path: Path) -> None:
    world = ToyWorld()
    world.advance(Action(), FixedGovernor(1).plan(0, 0, 0)).commit()
    save_slot(tmp_path, "quick", saved_state(world, tick=7, seed=0, governor={"name": "adaptive"}))
    session = Played(tmp_path, HEAVY)
    session.time.request_load()
    session.loop.run(12)
    assert session.observer.records[0].tick == 7
    assert any(said.startswith("saved governor: deadline_ns") for said in session.said)


def test_a_headless_session_saves_its_governor_and_the_next_one_loads_it(tmp_path: Path) -> None:
    def run(**options: Any) -> None:
        run_session(
            SessionOptions("toy", ticks=8, idle=True, pictures=False, out=tmp_path, saves=tmp_path, **options),
            StartUp(),
        )

    run(save_slot="there")
    info = ToyWorld().info
    saved = load_slot(tmp_path, "there", info).governor
    assert saved is not None
    assert len(state_from_plain(saved).samples) == 8
    run(load_slot="there", save_slot="there")
    went_on = load_slot(tmp_path, "there", info).governor
    assert went_on is not None
    assert len(state_from_plain(went_on).samples) == 16
    run(clock="fixed", load_slot="there", save_slot="forced")
    assert load_slot(tmp_path, "forced", info).governor is None
