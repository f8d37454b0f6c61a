"""Claims about quality: the laws of DESIGN section 4 as properties over simulated loads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.controls import SessionControls
from runtime.core import ManualClock, TickPlan
from runtime.governor import DWELL_TICKS, AdaptiveGovernor, CostWindow, FixedGovernor, TraceGovernor, _p95
from runtime.loop import Governor, TickRecord
from tests.doubles import MS, PERIOD_NS, Session

LADDER = (1, 2, 4)


class Load(NamedTuple):
    """Cost of one tick in ms: before and after the denoise steps together, each step, and the commit."""

    fixed_ms: float
    step_ms: float
    commit_ms: float = 0.0


class Played(NamedTuple):
    planned: int
    applied: int
    missed: bool
    reason: str


def play(governor: Governor, clock: ManualClock, loads: Sequence[Load], gap_ticks: frozenset[int] = frozenset()) -> Any:
    """Ticks of the given costs, each released on the grid, as the loop would run them."""
    played = []
    for tick, load in enumerate(loads):
        release_ns = -(-clock.now_ns() // PERIOD_NS) * PERIOD_NS
        clock.sleep_until(release_ns)
        plan = governor.plan(tick, release_ns, release_ns + PERIOD_NS)
        record = ticked(tick, plan, load, clock, gap=tick in gap_ticks)
        governor.observe(record)
        played.append(Played(plan.denoise_steps, record.steps_applied, record.missed, plan.reason))
    return played


def ticked(tick: int, plan: TickPlan, load: Load, clock: ManualClock, *, gap: bool) -> TickRecord:
    release_ns, half_ns, step_ns = clock.now_ns(), int(load.fixed_ms * MS / 2), int(load.step_ms * MS)
    clock.advance_ns(half_ns)
    steps = 0
    while steps < plan.denoise_steps and (steps not in LADDER or plan.gate(steps)):
        clock.advance_ns(step_ns)
        steps += 1
    clock.advance_ns(half_ns)
    present_ns = clock.now_ns()
    clock.advance_ns(int(load.commit_ms * MS))
    return TickRecord(
        tick=tick,
        release_ns=release_ns,
        start_ns=release_ns,
        poll_ns=release_ns,
        plan=plan,
        emit_ns=present_ns,
        present_ns=present_ns,
        paced_ns=0,
        commit_end_ns=clock.now_ns(),
        deadline_ns=release_ns + PERIOD_NS,
        stage_ns={"decode": half_ns, "commit": int(load.commit_ms * MS)},
        step_ns=(step_ns,) * steps,
        steps_applied=steps,
        frames=1,
        missed=not gap and present_ns > release_ns + PERIOD_NS,
        lost_slots=0,
        held_frames=0,
        clock_gap=gap,
        resumed=False,
        input_event_ns=None,
        reason=plan.reason,
    )


def adaptive(clock: ManualClock, controls: SessionControls | None = None) -> AdaptiveGovernor:
    return AdaptiveGovernor(LADDER, clock, tick_deadline_ns=PERIOD_NS, controls=controls)


def play_adaptive(loads: Sequence[Load], **options: Any) -> list[Played]:
    clock = ManualClock()
    return play(adaptive(clock), clock, loads, **options)


any_load = st.builds(Load, st.floats(0, 60), st.floats(0, 40), st.floats(0, 30))
stretches = st.lists(st.tuples(any_load, st.integers(1, 60)), min_size=1, max_size=8)
load_traces = stretches.map(lambda parts: [load for load, ticks in parts for _ in range(ticks)])


# --- laws over any load --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(load_traces)
def test_the_level_is_always_on_the_ladder_and_has_a_reason(loads: list[Load]) -> None:
    for tick in play_adaptive(loads):
        assert tick.planned in LADDER
        assert tick.applied in LADDER
        assert tick.reason


def rises_within_dwell(levels: Sequence[int]) -> bool:
    changes = [tick for tick in range(1, len(levels)) if levels[tick] != levels[tick - 1]]
    return any(
        later - earlier < DWELL_TICKS and levels[later] > levels[later - 1] for earlier, later in pairwise(changes)
    )


@settings(max_examples=40, deadline=None)
@given(load_traces)
def test_the_level_never_rises_within_the_dwell(loads: list[Load]) -> None:
    assert not rises_within_dwell([tick.planned for tick in play_adaptive(loads)])


def test_the_dwell_check_can_fail() -> None:
    assert rises_within_dwell([4, 2, 4])


def overloaded_ticks(governor: Governor, clock: ManualClock, calm: int, step_ms: float) -> int:
    """Misses after the load of each step jumps from 1 ms to `step_ms` and stays."""
    loads = [Load(4, 1)] * calm + [Load(4, step_ms)] * 60
    return sum(tick.missed for tick in play(governor, clock, loads))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100), st.floats(2, 44))
def test_a_step_overload_is_left_within_two_ticks(calm: int, step_ms: float) -> None:
    clock = ManualClock()
    assert overloaded_ticks(adaptive(clock), clock, calm, step_ms) <= 2


def test_a_fixed_quality_does_not_leave_the_overload() -> None:
    assert overloaded_ticks(FixedGovernor(4), ManualClock(), 10, 20) == 60


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 60), st.floats(0, 40), st.floats(0, 20))
def test_a_constant_load_settles_to_zero_switches(fixed_ms: float, step_ms: float, commit_ms: float) -> None:
    played = play_adaptive([Load(fixed_ms, step_ms, commit_ms)] * 300)
    assert len({tick.planned for tick in played[150:]}) == 1


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 60), st.floats(0, 40), st.floats(0, 10), st.floats(0, 10))
def test_more_load_never_settles_on_a_higher_level(
    fixed_ms: float, step_ms: float, more_fixed_ms: float, more_step_ms: float
) -> None:
    light = play_adaptive([Load(fixed_ms, step_ms)] * 200)[-1]
    heavy = play_adaptive([Load(fixed_ms + more_fixed_ms, step_ms + more_step_ms)] * 200)[-1]
    assert heavy.planned <= light.planned


# --- single rules --------------------------------------------------------------------------------------------


def test_down_goes_at_once_and_as_far_as_needed() -> None:
    played = play_adaptive([Load(10, 30)] * 3)
    assert [tick.planned for tick in played] == [4, 1, 1], "4 steps to 1 in one move"
    assert "would need" in played[1].reason


def test_up_goes_one_rung_after_thirty_ticks_that_would_have_fitted() -> None:
    played = play_adaptive([Load(5, 60)] * 3 + [Load(5, 1)] * 200)
    levels = [tick.planned for tick in played]
    first_two, first_four = levels.index(2), len(levels) - 1 - levels[::-1].index(2) + 1
    assert first_two >= 3 + 30
    assert first_four - first_two >= 30
    assert levels[-1] == 4


def test_two_misses_in_a_row_go_to_the_lowest_rung_whatever_the_model_thinks() -> None:
    clock = ManualClock()
    governor = adaptive(clock)
    play(governor, clock, [Load(4, 1)] * 64)
    played = play(governor, clock, [Load(70, 1), Load(70, 1), Load(4, 1)])
    assert [tick.planned for tick in played][2] == 1
    assert "2 misses in a row" in played[2].reason


def test_one_hiccup_after_a_full_window_costs_no_rung() -> None:
    played = play_adaptive([Load(8, 6)] * 64 + [Load(48, 6)] + [Load(8, 6)] * 20)
    assert {tick.planned for tick in played} == {4}


def test_the_plan_fills_at_most_95_percent_of_the_deadline() -> None:
    fits, fills = play_adaptive([Load(7.4, 10)] * 3), play_adaptive([Load(7.6, 10)] * 3)
    assert fits[-1].planned == 4
    assert fills[-1].planned == 2


def test_picture_and_commit_together_must_fit_the_period() -> None:
    assert play_adaptive([Load(4, 8)] * 5)[-1].planned == 4
    assert play_adaptive([Load(4, 8, commit_ms=20)] * 5)[-1].planned == 2


def test_a_clock_gap_teaches_nothing() -> None:
    loads = [Load(8, 6)] * 10 + [Load(5000, 6)] * 2 + [Load(8, 6)] * 10
    assert {tick.planned for tick in play_adaptive(loads, gap_ticks=frozenset({10, 11}))} == {4}


def test_the_gate_cuts_a_tick_short_before_a_step_that_would_not_fit() -> None:
    clock = ManualClock()
    governor = adaptive(clock)
    play(governor, clock, [Load(8, 8)] * 64)
    hiccup = play(governor, clock, [Load(8, 16)])[0]
    assert (hiccup.planned, hiccup.applied, hiccup.missed) == (4, 2, False)


def test_without_the_gate_the_same_tick_misses() -> None:
    assert play(FixedGovernor(4), ManualClock(), [Load(8, 16)])[0].missed


def test_the_gate_counts_every_step_to_the_next_rung_and_the_decode() -> None:
    clock = ManualClock()
    governor = adaptive(clock)
    play(governor, clock, [Load(10, 5)] * 64)  # decode 5 ms, two more steps 10 ms
    deadline_ns = clock.now_ns() + PERIOD_NS
    plan = governor.plan(64, deadline_ns - PERIOD_NS, deadline_ns)
    clock.sleep_until(deadline_ns - 15 * MS)
    assert plan.gate(2)
    clock.advance_ns(1)
    assert not plan.gate(2)


def test_the_player_can_lock_the_quality_and_free_it_again() -> None:
    clock, controls = ManualClock(), SessionControls()
    governor = adaptive(clock, controls)
    controls.lock_quality(1)
    assert {tick.planned for tick in play(governor, clock, [Load(4, 1)] * 5)} == {1}
    controls.lock_quality(3)
    locked = play(governor, clock, [Load(4, 30)])[0]
    assert (locked.applied, locked.missed) == (2, True), "the next rung below, and no gate cuts it"
    assert "locked by the player" in locked.reason
    controls.lock_quality(None)
    assert governor.plan(0, 0, PERIOD_NS).denoise_steps in LADDER


def test_a_trace_is_followed_and_its_last_level_held() -> None:
    trace = TraceGovernor([4, 1, 2])
    assert [trace.plan(tick, 0, PERIOD_NS).denoise_steps for tick in range(5)] == [4, 1, 2, 2, 2]


@pytest.mark.parametrize("ladder", [(), (0, 1), (2, 1), (1, 1)])
def test_a_ladder_that_does_not_ascend_is_refused(ladder: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ladder"):
        AdaptiveGovernor(ladder, ManualClock(), tick_deadline_ns=PERIOD_NS)


def test_an_empty_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="trace"):
        TraceGovernor([])


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=64))
def test_the_quick_percentile_is_numpys(values: list[float]) -> None:
    assert _p95(values) == pytest.approx(float(np.percentile(values, 95)), rel=1e-9, abs=1e-6)


def test_a_window_full_of_zeros_still_learns() -> None:
    window = CostWindow()
    for sample in [0.0] * 64 + [10.0] * 64:
        window.add(sample)
    assert window.predict_ns() == 10.0


def test_on_the_toy_world_adaptive_quality_turns_misses_into_fewer_steps() -> None:
    def misses(governor: Any) -> int:
        session = Session(
            lambda tick: {"condition": 4 * MS, "denoise": (25 if 50 <= tick < 100 else 6) * MS}, governor=governor
        )
        session.loop.run(200)
        return sum(record.missed for record in session.records)

    assert misses(lambda _: FixedGovernor(4)) == 50
    assert misses(adaptive) <= 2
