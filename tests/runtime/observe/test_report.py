"""Claims about telemetry and the report: the promised keys, what each counts and leaves out, and the exit code."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from nextframe.runtime.core import Action
from nextframe.runtime.governor.adaptive import TraceGovernor
from nextframe.runtime.observe import metrics
from nextframe.runtime.observe import report as reports
from nextframe.runtime.observe.causes import MissLog
from nextframe.runtime.observe.report import build_report, exit_code, shortage
from nextframe.runtime.observe.telemetry import COLUMNS, LIVE_TICKS, MAX_DECISIONS, NONE_NS, Telemetry
from tests.support.doubles import IDLE, MS, PERIOD_NS, Session
from tests.support.paths import ROOT

DEFINITIONS_PAGE = ROOT / "docs" / "metrics.md"
REPORT_KEYS = {
    *("schema", "world", "tick_hz", "clock", "ticks", "warmup_ticks", "deadline_ms", "misses", "miss_rate"),
    *(
        "worst_miss_run",
        "most_misses_in_100",
        "lost_slots",
        "held_frames",
        "clock_gaps",
        "clock_gap_ms",
        "response_ms",
        "fps",
    ),
    *("low1_p99_fps", "low1_avg_fps", "hitch_ms_per_s", "animation_error_ms", "jitter_ms", "ttff_ms"),
    *("steps_histogram", "steps_mean", "level_switches_per_100", "stage_ms", "overhead_ms", "input_to_present_ms"),
    *("miss_causes", "missed_ticks", "governor", "series", "state", "env", "config_sha256", "weights_sha256"),
    "definitions",
}
SERIES_KEYS = {
    *("ticks_per_point", "tick", "response_ms", "frame_ms", "steps", "missed", "stage_ms", "input_to_present_ms"),
}
MISSED_TICK_KEYS = {
    *("tick", "late_ms", "release_ms", "steps_asked", "steps_applied", "cause", "evidence", "numbers", "stage_ms"),
    "before",
}


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
    assert (report["misses"], report["worst_miss_run"], report["lost_slots"], report["held_frames"]) == (2, 2, 2, 4)
    assert report["miss_causes"] == {"unknown": 2}, "causes were not looked for"
    assert report["hitch_ms_per_s"] > 0
    assert report["fps"] < 20


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
    assert [exit_code(report, target) for target in (None, 0.05, 0.051)] == [0, 0, 0]
    assert exit_code(report, 0) == 1


def test_a_start_up_phase_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="compile"):
        report_of(Telemetry(), Session(), ttff_ms={"compile": 1.0})


def test_every_definition_names_a_key_of_the_report() -> None:
    assert set(metrics.DEFINITIONS) - {"percentiles"} <= REPORT_KEYS
    assert report_of(Telemetry(), Session())["definitions"] == metrics.DEFINITIONS


def test_every_key_of_the_report_is_on_the_definitions_page() -> None:
    page = DEFINITIONS_PAGE.read_text(encoding="utf-8")
    assert {key for key in REPORT_KEYS | SERIES_KEYS | MISSED_TICK_KEYS if f"`{key}" not in page} == set()
    assert re.search(r"`no_such_key", page) is None


# --- smoothness and resets ---------------------------------------------------------------------------------------


def test_an_even_session_is_smooth_and_a_slow_one_says_how_much_it_is_not() -> None:
    even = report_of(*measured(lambda tick: COSTS, 50))
    assert even["animation_error_ms"] == {"p50": 0.0, "p99": 0.0}
    assert even["jitter_ms"] == 0.0
    slow = report_of(*measured(lambda tick: {"decode": 60 * MS}, 50))
    assert slow["animation_error_ms"]["p50"] == pytest.approx(10.0)
    assert 9 < slow["jitter_ms"] < 10


def test_the_step_of_world_time_over_a_reset_is_no_animation_error() -> None:
    def worst_error_ms(*, watched: bool) -> float:
        session = Session(
            lambda tick: {"decode": (40 if tick == 5 else 10) * MS}, actions=[*[IDLE] * 5, Action(reset=True)]
        )
        telemetry = Telemetry(session.controls if watched else None)
        session.observer.observe = telemetry.observe  # type: ignore[method-assign]
        session.loop.run(6)
        return report_of(telemetry, session)["animation_error_ms"]["p99"]

    assert worst_error_ms(watched=True) == 0.0
    assert worst_error_ms(watched=False) > 28.0, "it would have counted"


# --- governor, series ----------------------------------------------------------------------------------------------


def test_each_change_of_the_planned_steps_is_in_the_report_with_its_reason() -> None:
    telemetry, session = measured(lambda tick: {}, 9, governor=lambda clock: TraceGovernor([2, 2, 2, 4, 4, 1, 1, 2]))
    governor = report_of(telemetry, session, governor_name="trace")["governor"]
    assert governor["name"] == "trace"
    assert [(change["tick"], change["from_steps"], change["to_steps"]) for change in governor["decisions"]] == [
        (3, 2, 4),
        (5, 4, 1),
        (7, 1, 2),
    ]
    assert governor["decisions"][0]["reason"] == "4 steps, forced by the trace"
    assert set(governor["decisions"][0]) == {"tick", "from_steps", "to_steps", "reason"}
    late = report_of(telemetry, session, warmup_ticks=6)["governor"]
    assert [change["tick"] for change in late["decisions"]] == [7]


def test_a_governor_that_never_rests_does_not_fill_the_report() -> None:
    telemetry, session = measured(lambda tick: {}, 700, governor=lambda clock: TraceGovernor([1, 2] * 400))
    assert len(report_of(telemetry, session)["governor"]["decisions"]) == MAX_DECISIONS


def test_a_short_session_is_in_the_series_tick_by_tick() -> None:
    telemetry, session = measured(lambda tick: {**COSTS, **({"decode": 90 * MS} if tick == 4 else {})}, 8)
    series = report_of(telemetry, session)["series"]
    assert set(series) == SERIES_KEYS
    assert (series["ticks_per_point"], series["tick"]) == (1, list(range(8)))
    assert series["response_ms"] == [15.0] * 4 + [102.0] + [15.0] * 3
    assert series["missed"] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert series["frame_ms"][0] is None
    assert series["input_to_present_ms"] == [None] * 8
    assert series["stage_ms"]["denoise"] == [10.0] * 8


def test_a_long_session_keeps_its_worst_moments_when_it_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_POINTS", 10)
    telemetry, session = measured(
        lambda tick: {"decode": (90 if tick == 13 else 10) * MS},
        95,
        governor=lambda clock: TraceGovernor([4] * 50 + [1] + [4]),
    )
    series = report_of(telemetry, session, load_ms=[float(tick == 42) for tick in range(95)])["series"]
    assert series["ticks_per_point"] == 10
    assert series["tick"] == list(range(0, 95, 10))
    assert {len(values) for values in (*series["stage_ms"].values(), series["missed"], series["frame_ms"])} == {10}
    assert series["response_ms"] == [10.0, 90.0, *[10.0] * 8], "the longest of each ten, never their mean"
    assert series["missed"] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert series["steps"] == [4, 4, 4, 4, 4, 1, 4, 4, 4, 4]
    assert series["stage_ms"]["decode"][:3] == [10.0, 18.0, 10.0]
    assert series["load_ms"] == [0.0] * 4 + [1.0] + [0.0] * 5


def test_the_series_covers_what_is_measured_and_no_warm_up() -> None:
    telemetry, session = measured(lambda tick: COSTS, 30)
    series = report_of(telemetry, session, warmup_ticks=12, load_ms=[*range(30)])["series"]
    assert series["tick"] == list(range(12, 30))
    assert series["load_ms"] == list(range(12, 30))
    with pytest.raises(ValueError, match="30 ticks, got 3"):
        report_of(telemetry, session, load_ms=[1, 2, 3])


# --- misses --------------------------------------------------------------------------------------------------------


def test_the_report_says_of_each_miss_what_caused_it() -> None:
    session = Session(lambda tick: {**COSTS, **({"denoise": 40 * MS} if tick in (7, 20) else {})})
    telemetry, log = Telemetry(), MissLog(warmup_ticks=10)
    session.loop.run(30)
    for record in session.records:
        telemetry.observe(record)
        log.observe(record)
    report = report_of(telemetry, session, warmup_ticks=10, miss_log=log)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["misses"], report["miss_causes"]) == (1, {"denoise": 1})
    (missed,) = report["missed_ticks"]
    assert set(missed) == MISSED_TICK_KEYS
    assert (missed["tick"], missed["late_ms"], missed["release_ms"]) == (20, 35.0, 1039.0)
    assert [before["tick"] for before in missed["before"]] == [17, 18, 19]
    assert missed["before"][0] == {
        "tick": 17,
        "response_ms": 15.0,
        "steps_applied": 2,
        "late_start_ms": 0.0,
        "stage_ms": {"condition": 2.0, "denoise": 10.0, "decode": 3.0, "present": 0.0, "commit": 4.0},
    }


def test_a_log_with_another_warm_up_is_refused() -> None:
    with pytest.raises(ValueError, match="3 warm-up ticks, got 0"):
        report_of(Telemetry(), Session(), warmup_ticks=3, miss_log=MissLog())


# --- is it enough to decide? ---------------------------------------------------------------------------------------


def of_ticks(ticks: int, misses: int = 0, warmup_ticks: int = 0) -> dict[str, Any]:
    rate = misses / ticks if ticks else None
    return {"ticks": ticks, "misses": misses, "miss_rate": rate, "warmup_ticks": warmup_ticks, "clock_gaps": 0}


@pytest.mark.parametrize(
    ("target", "needed"), [(0.005, 200), (0.01, 100), (0.05, 20), (0.03, 34), (0.5, 20), (1.0, 20), (0.0, 20)]
)
def test_a_run_too_short_to_decide_is_told_so(target: float, needed: int) -> None:
    assert exit_code(of_ticks(needed - 1), target) == 2
    assert f"needs {needed} measured ticks, this session has {needed - 1}" in (
        shortage(of_ticks(needed - 1), target) or ""
    )
    assert exit_code(of_ticks(needed), target) == 0
    assert shortage(of_ticks(needed), target) is None


def test_a_long_enough_run_above_its_target_has_missed_it() -> None:
    assert exit_code(of_ticks(200, 1), 0.005) == 0
    assert exit_code(of_ticks(200, 2), 0.005) == 1
    assert exit_code(of_ticks(20, 1), 0.0) == 1


def test_without_a_target_any_measured_tick_is_enough() -> None:
    assert exit_code(of_ticks(1, 1)) == 0
    assert shortage(of_ticks(1)) is None


def test_the_advice_counts_the_warm_up_too() -> None:
    assert "--ticks 110 or more" in (shortage(of_ticks(3, warmup_ticks=10), 0.01) or "")
    assert shortage(of_ticks(0, warmup_ticks=10)) == "no tick was measured: all 10 were warm-up"


# --- the observer's own footprint ----------------------------------------------------------------------------------


def test_telemetry_keeps_integers_and_no_records() -> None:
    telemetry, session = measured(lambda tick: COSTS, 3)
    record = session.records[-1]
    for tick in range(3, 5_000):
        telemetry.observe(replace(record, tick=tick))
    columns = telemetry.columns()
    assert len(columns) == len(COLUMNS), "no two of one name"
    assert {column.dtype.kind for column in columns.values()} == {"i"}
    assert len(columns) * 8 <= 200, "bytes a tick"
    assert list(columns["tick"]) == list(range(5_000))


def test_clock_gaps_count_against_a_target_unless_they_are_to_be_ignored() -> None:
    report = {**of_ticks(200, 1), "clock_gaps": 1}
    assert exit_code(report, 0.005) == 1
    assert exit_code(report, 0.005, ignore_clock_gaps=True) == 0
