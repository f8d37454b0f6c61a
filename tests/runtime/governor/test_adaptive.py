"""Claims about quality, rule by rule. The laws that hold under any load are in `test_governor_properties`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.core import ManualClock, NextframeError
from nextframe.runtime.governor.adaptive import (
    MISS_WINDOW_TICKS,
    RAISE_AFTER_TICKS,
    AdaptiveGovernor,
    FixedGovernor,
    TraceGovernor,
)
from nextframe.runtime.governor.cost import CostModel, CostSample, expected_ns, high_mark, sample_of
from nextframe.runtime.loop import Governor
from nextframe.runtime.tick.controls import SessionControls
from nextframe.runtime.tick.record import TickRecord
from nextframe.tools.lab.governor import compare
from nextframe.tools.lab.governor.plot import draw
from nextframe.tools.lab.governor.policies import ORACLE, OURS, POLICIES, UnityDefaults, ValveRules
from nextframe.tools.lab.governor.simulate import simulate
from nextframe.tools.lab.governor.traces import SHAPES, CostTrace, load_trace, recorded_traces, save_trace, shaped_trace
from tests.support.doubles import MS, PERIOD_NS, Session

LADDER = (1, 2, 4)
DEADLINE_MS = 50.0


def load(head_ms: float, step_ms: float, tail_ms: float = 0.0, commit_ms: float = 0.0, ticks: int = 1) -> CostTrace:
    """Ticks that all cost the same."""
    return CostTrace(
        family="test",
        world="test",
        machine="test",
        ladder=LADDER,
        deadline_ms=DEADLINE_MS,
        fixed_ms=(head_ms + tail_ms,) * ticks,
        step_ms=((step_ms,) * LADDER[-1],) * ticks,
        tail_ms=(tail_ms,) * ticks,
        commit_ms=(commit_ms,) * ticks,
    )


def in_turn(*loads: CostTrace) -> CostTrace:
    def joined(name: str) -> tuple[Any, ...]:
        return tuple(value for load in loads for value in getattr(load, name))

    costs = {name: joined(name) for name in ("fixed_ms", "step_ms", "tail_ms", "commit_ms")}
    return replace(loads[0], **costs)


def adaptive(clock: ManualClock, **options: Any) -> AdaptiveGovernor:
    return AdaptiveGovernor(LADDER, clock, tick_deadline_ns=PERIOD_NS, **options)


def play(*loads: CostTrace, **options: Any) -> list[TickRecord]:
    return simulate(in_turn(*loads), lambda trace, clock: adaptive(clock, **options))


def planned(records: Sequence[TickRecord]) -> list[int]:
    return [record.plan.denoise_steps for record in records]


def applied(records: Sequence[TickRecord]) -> list[int]:
    return [record.steps_applied for record in records]


def misses(records: Sequence[TickRecord]) -> int:
    return sum(record.missed for record in records)


def played_by(trace: CostTrace, **options: Any) -> AdaptiveGovernor:
    """The governor after the trace, to be asked about itself."""
    governors: list[AdaptiveGovernor] = []

    def make(trace: CostTrace, clock: ManualClock) -> Governor:
        governors.append(adaptive(clock, **options))
        return governors[0]

    simulate(trace, make)
    return governors[0]


# --- the cost model ------------------------------------------------------------------------------------------


def test_the_high_mark_is_what_one_in_twenty_exceeds_and_at_least_one() -> None:
    assert [high_mark(range(n)) for n in (0, 1, 2, 30, 64)] == [0, 0, 0, 28, 60]


def test_one_hiccup_moves_no_expectation_and_two_dear_ticks_of_four_do() -> None:
    assert expected_ns([30] * 60 + [90]) == 30
    assert expected_ns([30] * 60 + [90, 30, 90]) == 90


def test_a_hiccup_in_one_denoise_step_is_not_multiplied() -> None:
    record = play(load(10, 5))[0]
    struck = replace(record, step_ns=(5 * MS, 25 * MS, 5 * MS, 5 * MS), present_ns=record.present_ns + 20 * MS)
    sample = sample_of(struck)
    assert (sample.step_ns, sample.fixed_ns) == (5 * MS, 30 * MS)
    assert sample.response_ns(4) == struck.response_ns


def test_waking_late_is_a_cost_and_waiting_for_a_commit_is_not() -> None:
    record = play(load(10, 5))[0]
    woke_late = replace(record, release_ns=record.release_ns - 3 * MS, start_ns=record.start_ns - 3 * MS)
    waited = replace(record, release_ns=record.release_ns - 3 * MS)
    assert sample_of(woke_late).fixed_ns == sample_of(record).fixed_ns + 3 * MS
    assert sample_of(waited).fixed_ns == sample_of(record).fixed_ns


def test_a_world_that_times_no_single_steps_is_learned_from_its_stage() -> None:
    assert sample_of(replace(play(load(10, 5))[0], step_ns=())).step_ns == 5 * MS


# --- down ----------------------------------------------------------------------------------------------------


def test_down_goes_at_once_and_as_far_as_needed() -> None:
    records = play(load(10, 30, ticks=3))
    assert planned(records) == [4, 1, 1], "4 steps to 1 in one move"
    assert "would need" in records[1].plan.reason


def test_a_miss_goes_to_the_highest_rung_that_would_have_been_in_time() -> None:
    records = play(load(8, 8, 4, ticks=64), load(8, 8, 20), load(8, 8, 4))
    assert [(r.missed, r.plan.denoise_steps) for r in records[-2:]] == [(True, 4), (False, 2)]
    assert "missed: 2 steps would have been in time" in records[-1].plan.reason


def two_misses(apart_ticks: int) -> list[TickRecord]:
    calm, struck = load(8, 8, 4), load(8, 8, 20)
    wait = in_turn(*[calm] * apart_ticks)
    return play(in_turn(*[calm] * 64), struck, wait, struck, in_turn(*[calm] * 120))


def test_a_second_miss_within_100_ticks_goes_to_the_lowest_rung_until_the_first_is_old() -> None:
    records = two_misses(apart_ticks=40)
    first, second = (record.tick for record in records if record.missed)
    assert set(planned(records)[second + 1 : first + MISS_WINDOW_TICKS]) == {1}
    assert "2 misses in 100 ticks" in records[second + 1].plan.reason
    assert "no higher" not in records[second + 2].plan.reason or planned(records)[-1] == 4
    assert planned(records)[first + MISS_WINDOW_TICKS + 1] == 4, "the cost model alone would have risen long before"


def test_a_second_miss_after_100_ticks_is_a_first_one() -> None:
    records = two_misses(apart_ticks=MISS_WINDOW_TICKS + 1)
    assert misses(records) == 2
    assert 1 not in planned(records)


def test_misses_that_the_lowest_rung_could_not_have_met_forbid_nothing() -> None:
    calm, stalled = load(8, 6, ticks=20), load(8, 6, 150)
    records = play(calm, stalled, calm, stalled, calm)
    assert misses(records) == 2
    assert set(planned(records)) == {4}


def test_one_hiccup_within_the_deadline_costs_no_rung() -> None:
    assert set(planned(play(load(8, 6, ticks=64), load(25, 6), load(8, 6, ticks=20)))) == {4}


def test_a_rung_is_taken_at_95_percent_of_the_deadline_and_left_at_97() -> None:
    assert planned(play(load(16.4, 8, ticks=30)))[-1] == 4, "kept: 48.4 ms of 50"
    assert planned(play(load(16.6, 8, ticks=30)))[-1] == 2, "left: 48.6 ms"
    assert planned(play(load(16.4, 30, ticks=3), load(15.4, 8, ticks=90)))[-1] == 4, "taken: 47.4 ms"
    assert planned(play(load(16.4, 30, ticks=3), load(15.6, 8, ticks=90)))[-1] == 2, "not taken: 47.6 ms"


def test_picture_and_commit_together_must_fit_the_period() -> None:
    assert planned(play(load(4, 8, ticks=5)))[-1] == 4
    assert planned(play(load(4, 8, commit_ms=20, ticks=5)))[-1] == 2


def test_an_overload_of_fixed_cost_goes_as_low_as_that_helps() -> None:
    assert planned(play(load(8, 8, 4, ticks=64), load(8, 8, 20, ticks=20)))[-1] == 2
    assert planned(play(load(8, 8, 4, ticks=64), load(8, 8, 30, ticks=20)))[-1] == 1
    assert planned(play(load(8, 8, 4, ticks=64), load(8, 8, 80, ticks=20)))[-1] == 1


def test_a_rung_that_is_cut_three_times_in_a_row_is_left() -> None:
    clock = ManualClock()
    governor = adaptive(clock)
    record = simulate(load(8, 6), lambda trace, _: FixedGovernor(4))[0]
    cut = replace(record, steps_applied=2, step_ns=record.step_ns[:2], present_ns=record.present_ns - 12 * MS)
    for _ in range(3):
        assert governor.plan(0, 0, PERIOD_NS).denoise_steps == 4
        governor.observe(cut)
    plan = governor.plan(0, 0, PERIOD_NS)
    assert (plan.denoise_steps, plan.reason) == (2, "cut mid-tick 3 times in a row")


# --- up ------------------------------------------------------------------------------------------------------


def test_up_goes_as_far_as_the_last_12_ticks_would_have_fitted() -> None:
    records = play(load(5, 60, ticks=80), load(5, 1, ticks=40))
    calm = planned(records)[80:]
    assert calm.index(4) in (RAISE_AFTER_TICKS - 1, RAISE_AFTER_TICKS), "one of the twelve may be an exception"
    assert set(calm) == {1, 4}
    assert "fitted for 12 ticks" in records[80 + calm.index(4)].plan.reason


def test_a_rise_forgets_the_load_before_it() -> None:
    model = CostModel()
    for step_ns in (60,) * 64 + (1,) * RAISE_AFTER_TICKS:
        model.learn(CostSample(0, step_ns, 0, 0, 0))
    assert model.expected_ns(4)[0] == 240
    model.forget_all_but(RAISE_AFTER_TICKS)
    assert model.expected_ns(4)[0] == 4


# --- the mid-tick gate ---------------------------------------------------------------------------------------


def test_the_gate_cuts_a_tick_short_before_a_step_that_would_not_fit() -> None:
    records = play(load(8, 8, ticks=64), load(22, 8))
    assert (planned(records)[-1], applied(records)[-1], records[-1].missed) == (4, 2, False)
    assert simulate(load(22, 8), lambda trace, clock: FixedGovernor(4))[0].missed, "without the gate it misses"


def test_the_gate_takes_a_tick_that_is_slow_so_far_to_stay_slow() -> None:
    records = play(load(6, 8, 6, ticks=64), load(11, 15, 11))
    assert (applied(records)[-1], records[-1].missed) == (1, False), "2 steps would take 52 ms"


def test_on_the_first_tick_the_gate_goes_by_the_ticks_own_steps() -> None:
    record = play(load(4, 30))[0]
    assert (record.plan.denoise_steps, record.steps_applied, record.missed) == (4, 1, False)


def test_the_gate_counts_every_step_to_the_next_rung_and_the_decode() -> None:
    governor = played_by(load(5, 5, 5, ticks=64))
    clock = governor._clock
    limit_ns = clock.now_ns() + 49 * MS
    clock.sleep_until(limit_ns - 15 * MS - 15 * MS)
    plan = governor.plan(64, 0, limit_ns + 1 * MS)
    clock.sleep_until(limit_ns - 15 * MS)
    assert plan.gate(2), "15 ms so far, as expected; two steps and the decode take the 15 ms to 98 % of the deadline"
    clock.advance_ns(1)
    assert not plan.gate(2)


def test_a_gate_past_its_deadline_is_shut() -> None:
    governor = played_by(load(8, 8, ticks=10))
    plan = governor.plan(10, 0, governor._clock.now_ns() - 1)
    assert not plan.gate(1)


def test_a_cut_tick_teaches_what_it_cost() -> None:
    records = play(load(6, 8, 6, ticks=64), load(6, 20, 6, ticks=3))
    assert [applied(records)[64], planned(records)[66]] == [1, 1], "two cut ticks are enough to plan lower"


# --- hold, limits, lock, start -------------------------------------------------------------------------------


def test_below_the_lowest_rung_the_last_frame_is_held_with_hysteresis() -> None:
    assert not played_by(load(41, 5, ticks=70)).holding, "46 of 46.25 ms"
    held = in_turn(load(60, 5, ticks=70))
    assert played_by(held).holding
    assert played_by(in_turn(held, load(38.5, 5, ticks=70))).holding, "43.5 ms: between off and on"
    assert not played_by(in_turn(held, load(37, 5, ticks=70))).holding, "42 of 42.5 ms"


def test_the_hold_is_said_in_the_reason() -> None:
    reason = play(load(60, 5, ticks=10))[-1].plan.reason
    assert reason == "below the lowest rung: 1 step would need 65.0 of 46.2 ms, the last frame is held"


def test_floor_and_ceiling_bound_the_plan_and_the_gate() -> None:
    heavy, light = load(4, 40, ticks=30), load(4, 1, ticks=30)
    assert set(applied(play(heavy, floor_steps=2))) == {2}
    assert set(applied(play(light, ceiling_steps=2))) == {2}
    with pytest.raises(ValueError, match="limits"):
        adaptive(ManualClock(), floor_steps=3, ceiling_steps=3)


def test_a_warm_start_begins_on_the_rung_that_fitted_the_last_time() -> None:
    known = played_by(load(10, 15, ticks=30)).cost.typical()
    assert known == CostSample(10 * MS, 15 * MS, 10 * MS, 0, 0)
    records = play(load(10, 15, ticks=30), warm_start=known)
    assert set(planned(records)) == {2}
    assert CostModel().typical() is None


def test_the_player_can_lock_the_quality_and_free_it_again() -> None:
    clock, controls = ManualClock(), SessionControls()
    governor = adaptive(clock, controls=controls)
    controls.lock_quality(3)
    plan = governor.plan(0, 0, PERIOD_NS)
    assert (plan.denoise_steps, plan.gate(1)) == (2, True), "the next rung below, and no gate cuts it"
    assert "locked by the player" in plan.reason
    controls.lock_quality(None)
    assert governor.plan(0, 0, PERIOD_NS).denoise_steps == 4


def test_misses_under_the_players_lock_are_not_the_governors() -> None:
    controls = SessionControls()
    controls.lock_quality(4)
    governor = played_by(load(4, 20, ticks=5), controls=controls)
    assert sum(governor._avoidable_misses) == 0
    assert sum(played_by(load(4, 9, 12, ticks=5))._avoidable_misses) == 1, "unlocked it is counted"


def test_a_clock_gap_teaches_nothing() -> None:
    governor = played_by(load(8, 6, ticks=10))
    record = play(load(8, 6))[0]
    for _ in range(4):
        governor.observe(replace(record, clock_gap=True, present_ns=record.present_ns + 5000 * MS))
    assert governor.plan(0, 0, PERIOD_NS).denoise_steps == 4


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


def test_on_the_toy_world_adaptive_quality_turns_misses_into_fewer_steps() -> None:
    def missed(governor: Any) -> int:
        session = Session(
            lambda tick: {"condition": 4 * MS, "denoise": (25 if 50 <= tick < 100 else 6) * MS}, governor=governor
        )
        session.loop.run(200)
        return misses(session.records)

    assert missed(lambda _: FixedGovernor(4)) == 50
    assert missed(adaptive) <= 2


# --- the comparison ------------------------------------------------------------------------------------------


def test_a_shaped_trace_is_the_same_for_the_same_seed_only() -> None:
    for family in SHAPES:
        assert shaped_trace(family, 1, 60) == shaped_trace(family, 1, 60)
        assert shaped_trace(family, 1, 60) != shaped_trace(family, 2, 60)


def test_the_oracle_misses_only_what_the_lowest_rung_misses() -> None:
    trace = shaped_trace("burst", 0, 400)
    hopeless = sum(trace.picture_ms(tick, 1) > DEADLINE_MS for tick in range(trace.ticks))
    assert misses(simulate(trace, POLICIES[ORACLE])) <= hopeless


def test_valves_rules_drop_above_90_percent_and_rise_below_70() -> None:
    records = simulate(in_turn(load(10, 9, ticks=5), load(2, 4, ticks=30)), lambda t, c: ValveRules(t.ladder))
    assert planned(records)[1] == 2
    assert planned(records)[-1] == 4


def test_unitys_defaults_need_sixty_bad_ticks() -> None:
    records = simulate(load(20, 9, ticks=80), lambda t, c: UnityDefaults(t.ladder))
    assert planned(records) == [4] * 60 + [2] * 20


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    save_trace(tmp_path / "world.json", load(8, 6, 2, 1, ticks=3))
    assert load_trace(tmp_path / "world.json") == load(8, 6, 2, 1, ticks=3)
    assert [trace.family for trace in recorded_traces(tmp_path)] == ["world"]


@pytest.mark.parametrize(
    "change",
    [
        {"fixed_ms": []},
        {"step_ms": [[1, 2]]},
        {"ladder": [4, 1]},
        {"fixed_ms": ["x"]},
        {"tail_ms": [-1.0]},
        {"world": 0},
    ],
)
def test_a_damaged_trace_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "trace.json"
    save_trace(file, load(8, 6))
    document = json.loads(file.read_text())
    if "world" in change:
        del document["world"]
    file.write_text(json.dumps(document | {name: value for name, value in change.items() if name != "world"}))
    with pytest.raises(NextframeError, match=r"trace\.json: not a cost trace"):
        load_trace(file)


def test_the_gates_fail_a_policy_that_only_misses() -> None:
    traces = [shaped_trace("step overload", seed, 300) for seed in (100, 101)]
    scores = compare.compare_family("step overload", traces)
    ours = next(score for score in scores if score.policy == OURS)
    assert all(gate.met for gate in compare.gates_of(scores, shaped=True) if "misses" in gate.goal)
    lazy = replace(ours, misses=ours.ticks, longest_run=300, most_in_100=100, oracle_share_percent=50.0)
    swapped = [lazy if score is ours else score for score in scores]
    assert not any(gate.met for gate in compare.gates_of(swapped, shaped=True))


def test_table_and_plot_name_every_policy_and_the_page_keeps_its_text(tmp_path: Path) -> None:
    scores = compare.compare_family("ramp", [shaped_trace("ramp", 100, 200)])
    page = tmp_path / "page.md"
    page.write_text(f"before\n{compare.BEGIN}\nold\n{compare.END}\nafter\n")
    compare.write_between_markers(page, compare.markdown(scores, compare.gates_of(scores, shaped=True)))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert all(policy in text for policy in POLICIES)
    assert draw(scores).count('fill-opacity="0.85"') == 2 * (len(POLICIES) - 1)
    page.write_text("no markers")
    with pytest.raises(NextframeError, match="markers"):
        compare.write_between_markers(page, "table")
