"""Claims about numbers: definitions against an independent reading, and the report's exact keys."""

from __future__ import annotations

import json
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import metrics
from runtime.core import Action
from runtime.report import build_report, exit_code, miss_causes
from runtime.telemetry import LIVE_TICKS, NONE_NS, Telemetry
from tests.doubles import MS, PERIOD_NS, Session

REPORT_KEYS = {
    *("schema", "world", "tick_hz", "clock", "ticks", "warmup_ticks", "deadline_ms", "misses", "miss_rate"),
    *("worst_miss_run", "lost_slots", "held_frames", "clock_gaps", "response_ms", "fps", "low1_p99_fps"),
    *("low1_avg_fps", "hitch_ms_per_s", "ttff_ms", "steps_histogram", "steps_mean", "level_switches_per_100"),
    *("stage_ms", "overhead_ms", "input_to_present_ms", "miss_causes", "state", "env", "config_sha256"),
    "weights_sha256",
}

times_ns = st.lists(st.integers(1_000_000, 500_000_000), min_size=1, max_size=300)


# --- definitions -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(times_ns, st.floats(0, 100))
def test_a_percentile_interpolates_between_its_neighbours(values: list[int], percent: float) -> None:
    ordered = sorted(values)
    position = percent / 100 * (len(ordered) - 1)
    low = int(position)
    expected = ordered[low] + (position - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])
    assert metrics.percentile(values, percent) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(times_ns)
def test_fps_is_frames_over_time(values: list[int]) -> None:
    assert metrics.fps(values) == pytest.approx(1e9 / statistics.fmean(values), rel=1e-9)


def test_fps_is_not_the_mean_of_rates() -> None:
    uneven = [10 * MS, 90 * MS]
    assert metrics.fps(uneven) == pytest.approx(20.0)
    assert statistics.fmean(1e9 / value for value in uneven) > 55


def test_the_two_one_percent_lows_differ_and_each_keeps_its_definition() -> None:
    values = [20 * MS] * 198 + [50 * MS, 100 * MS]
    assert metrics.low1_avg_fps(values) == pytest.approx(1e3 / 75)
    assert metrics.low1_p99_fps(values) == pytest.approx(1e9 / float(np.percentile(values, 99)))
    assert metrics.low1_avg_fps(values) != pytest.approx(metrics.low1_p99_fps(values))


def test_hitch_is_milliseconds_late_per_second() -> None:
    assert metrics.hitch_ms_per_s([0, 5 * MS, -3 * MS, 15 * MS], 2_000 * MS) == pytest.approx(10.0)


def test_runs_and_windows_of_misses() -> None:
    missed = [0, 1, 1, 0, 1, 1, 1, 0, 1]
    assert metrics.worst_miss_run(missed) == 3
    assert metrics.most_misses_in(missed, 5) == 4
    assert metrics.most_misses_in(missed, 100) == 6


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 70))
def test_most_misses_in_a_window_agrees_with_looking_at_every_window(missed: list[bool], window: int) -> None:
    expected = max(sum(missed[at : at + window]) for at in range(max(1, len(missed) - window + 1)))
    assert metrics.most_misses_in(missed, window) == expected


def test_switches_are_counted_per_hundred_ticks() -> None:
    assert metrics.switches_per_100([4] * 25 + [2] * 24 + [4]) == pytest.approx(4.0)


def test_nothing_measured_is_none_and_never_nan() -> None:
    measured = [metrics.percentile([], 50), metrics.fps([]), metrics.low1_p99_fps([]), metrics.low1_avg_fps([])]
    assert [*measured, metrics.hitch_ms_per_s([], 0), metrics.switches_per_100([])] == [None] * 6
    assert metrics.worst_miss_run([]) == metrics.most_misses_in([], 5) == 0


# --- telemetry and report ----------------------------------------------------------------------------------------


def measured(by_tick: Any, ticks: int, **options: Any) -> tuple[Telemetry, Session]:
    session, telemetry = Session(by_tick, **options), Telemetry()
    session.loop.run(ticks)
    for record in session.records:
        telemetry.observe(record)
    return telemetry, session


def report_of(telemetry: Telemetry, session: Session, **options: Any) -> dict[str, Any]:
    return build_report(telemetry, session.world.info, clock="fixed", deadline_ns=PERIOD_NS, **options)


COSTS = {"condition": 2 * MS, "denoise": 5 * MS, "decode": 3 * MS, "commit": 4 * MS}


def test_the_report_has_exactly_the_promised_keys_and_is_json() -> None:
    telemetry, session = measured(lambda tick: COSTS, 20)
    report = report_of(telemetry, session, ttff_ms={"import": 1.0}, state=session.world.state_inventory())
    assert set(report) == REPORT_KEYS
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report["stage_ms"]) == {"condition", "denoise", "decode", "commit", "present"}
    assert set(report["ttff_ms"]) == {"import", "load", "warmup", "first_frame", "total"}
    assert report["schema"] == "nextframe.report/1"


def test_an_even_session_reports_its_rate_and_costs() -> None:
    telemetry, session = measured(lambda tick: COSTS, 50)
    report = report_of(telemetry, session)
    assert report["fps"] == pytest.approx(20.0)
    assert report["response_ms"]["p50"] == report["response_ms"]["max"] == 15.0
    assert report["stage_ms"]["denoise"] == {"p50": 10.0, "p99": 10.0}
    assert report["stage_ms"]["commit"]["p50"] == 4.0
    assert report["overhead_ms"] == {"p50": 0.0, "p99": 0.0}
    assert report["steps_histogram"] == {"1": 0, "2": 50, "4": 0}
    assert (report["misses"], report["miss_rate"]) == (0, 0.0)


def test_time_that_is_no_stage_of_the_world_is_overhead() -> None:
    session, telemetry = Session(lambda tick: COSTS), Telemetry()
    poll = session.controller.poll

    def slow_poll(tick: int) -> Action:
        session.clock.advance_ns(MS)
        return poll(tick)

    session.controller.poll = slow_poll  # type: ignore[method-assign]
    session.loop.run(3)
    for record in session.records:
        telemetry.observe(record)
    assert report_of(telemetry, session)["overhead_ms"]["p50"] == 1.0


def test_waiting_for_the_commit_of_the_tick_before_is_not_overhead() -> None:
    telemetry, session = measured(lambda tick: {"commit": 30 * MS, "decode": 30 * MS}, 3)
    assert session.records[1].response_ns > 30 * MS, "it did wait"
    assert report_of(telemetry, session)["overhead_ms"]["p99"] == 0.0


def test_warm_up_ticks_are_excluded_and_said_so() -> None:
    telemetry, session = measured(lambda tick: {"decode": (200 if tick < 3 else 10) * MS}, 30)
    report = report_of(telemetry, session, warmup_ticks=3)
    assert (report["ticks"], report["warmup_ticks"]) == (27, 3)
    assert report["misses"] == 0
    assert report["response_ms"]["max"] == 10.0
    assert report_of(telemetry, session)["misses"] == 3, "they would have counted"


def test_misses_carry_their_numbers() -> None:
    telemetry, session = measured(lambda tick: {"decode": (120 if tick in (10, 11) else 10) * MS}, 40)
    report = report_of(telemetry, session)
    assert (report["misses"], report["worst_miss_run"], report["lost_slots"], report["held_frames"]) == (2, 2, 4, 4)
    assert report["miss_causes"] == {"decode": 2}
    assert report["hitch_ms_per_s"] > 0
    assert report["fps"] < 20


@pytest.mark.parametrize("stage", ["condition", "denoise", "decode"])
def test_a_miss_is_blamed_on_the_part_that_took_longer_than_usual(stage: str) -> None:
    telemetry, _ = measured(lambda tick: {**COSTS, **({stage: 100 * MS} if tick == 7 else {})}, 20)
    assert miss_causes(telemetry.columns()) == {stage: 1}


def test_a_miss_after_a_long_commit_is_blamed_on_the_late_start() -> None:
    telemetry, _ = measured(lambda tick: {**COSTS, "commit": (75 if tick == 7 else 4) * MS}, 20)
    assert miss_causes(telemetry.columns()) == {"late_start": 1}


def test_a_pause_is_no_frame_time() -> None:
    session, telemetry = Session(), Telemetry()
    session.loop.run(5)
    session.clock.advance_ns(60_000 * MS)
    session.loop.run(5)
    for record in session.records:
        telemetry.observe(record)
    assert report_of(telemetry, session)["fps"] == pytest.approx(20.0)


def test_input_to_present_counts_only_ticks_with_input() -> None:
    session, telemetry = Session(lambda tick: {"decode": 10 * MS}), Telemetry()
    session.loop.run(2)
    session.controller.last_input_ns = session.clock.now_ns()
    session.loop.run(1)
    for record in session.records:
        telemetry.observe(record)
    assert report_of(telemetry, session)["input_to_present_ms"] == {"p50": 10.0, "p95": 10.0}
    assert list(telemetry.columns()["input_to_present_ns"]) == [NONE_NS, NONE_NS, 10 * MS]


def test_the_hud_sees_the_last_ticks_and_the_whole_count() -> None:
    telemetry, _ = measured(lambda tick: {"decode": (60 if tick == 0 else 10) * MS}, LIVE_TICKS + 30)
    live = telemetry.live()
    assert live is not None
    assert (live.misses, live.held_frames, live.rung) == (1, 1, 2)
    assert live.p99_response_ms == 10.0, "the miss is out of the window"
    assert live.fps == pytest.approx(20.0)
    assert len(live.frame_ms) == LIVE_TICKS
    assert live.reason == "fixed at 2 steps"


def test_before_the_first_tick_there_is_nothing_to_show_and_nothing_to_pass() -> None:
    telemetry, session = Telemetry(), Session()
    assert telemetry.live() is None
    report = report_of(telemetry, session)
    assert report["ticks"] == 0
    assert report["miss_rate"] is None
    assert exit_code(report) == 2
    json.dumps(report, allow_nan=False)


def test_the_exit_code_follows_the_target() -> None:
    telemetry, session = measured(lambda tick: {"decode": (120 if tick == 5 else 10) * MS}, 20)
    report = report_of(telemetry, session)
    assert [exit_code(report, target) for target in (None, 0.05, 0.049)] == [0, 0, 1]


def test_a_start_up_phase_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="compile"):
        report_of(Telemetry(), Session(), ttff_ms={"compile": 1.0})


def test_every_definition_names_a_key_of_the_report() -> None:
    assert set(metrics.DEFINITIONS) - {"percentiles"} <= REPORT_KEYS
