"""Claims about definitions: each number means what docs/metrics.md says, against a reading of its own."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.observe import metrics
from tests.support.doubles import MS, PERIOD_NS

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
    assert metrics.jitter_ns([], PERIOD_NS) is None
    assert len(metrics.animation_errors_ns([], [], [], [], PERIOD_NS)) == 0
    assert metrics.percentiles([], 50, 99.9) == {"p50": None, "p999": None}
    assert metrics.worst_miss_run([]) == metrics.most_misses_in([], 5) == 0


# --- smoothness ------------------------------------------------------------------------------------------------


def errors_ms(
    present_ms: list[float], *, frames: int = 1, paced_ms: float = 0, broken_at: tuple[int, ...] = ()
) -> list:
    count = len(present_ms)
    errors_ns = metrics.animation_errors_ns(
        [value * MS for value in present_ms],
        [paced_ms * MS] * count,
        [frames] * count,
        [int(tick not in (0, *broken_at)) for tick in range(count)],
        PERIOD_NS,
    )
    return [error_ns / MS for error_ns in errors_ns]


def test_even_frames_that_show_even_world_time_have_no_animation_error() -> None:
    assert errors_ms([10, 60, 110, 160]) == [0, 0, 0]


def test_a_late_frame_errs_twice_once_too_late_and_once_too_early() -> None:
    assert errors_ms([10, 60, 122, 160]) == [0, -12, 12]


def test_a_world_slower_than_the_clock_errs_in_every_frame() -> None:
    assert errors_ms([0, 55, 110, 165]) == [-5, -5, -5]


def test_even_frame_times_can_hide_an_animation_error() -> None:
    present_ms = [0.0, 55.0, 110.0]
    assert statistics.pstdev(np.diff(present_ms)) == 0
    assert errors_ms(present_ms) != [0, 0]


def test_nothing_is_compared_over_a_pause_a_reset_or_a_clock_gap() -> None:
    assert errors_ms([0, 50, 9_000, 9_050], broken_at=(2,)) == [0, 0]
    assert errors_ms([0, 50, 9_000, 9_050]) == [0, -8_900, 0], "it would have counted"


def test_several_frames_of_a_tick_share_its_world_time() -> None:
    assert errors_ms([0, 50], frames=2, paced_ms=25) == [0, 0, 0]
    assert errors_ms([0, 50], frames=2, paced_ms=20) == [-5, 5, 5]


def test_frames_shown_at_the_same_instant_are_one() -> None:
    assert errors_ms([0, 50], frames=2, paced_ms=0) == [-25]
    assert errors_ms([0, 0, 50]) == [0]


def test_jitter_of_an_even_session_is_zero_and_one_late_frame_moves_it_by_a_sixteenth() -> None:
    assert metrics.jitter_ns([PERIOD_NS] * 9, PERIOD_NS) == 0
    assert metrics.jitter_ns([PERIOD_NS, PERIOD_NS + 16 * MS], PERIOD_NS) == pytest.approx(MS)


def test_jitter_settles_at_a_constant_departure_and_forgets_an_old_one() -> None:
    assert metrics.jitter_ns([PERIOD_NS + 8 * MS] * 500, PERIOD_NS) == pytest.approx(8 * MS)
    assert metrics.jitter_ns([90 * MS] + [PERIOD_NS] * 500, PERIOD_NS) == pytest.approx(0, abs=1)


def test_the_999th_thousandth_has_a_name_without_a_point() -> None:
    assert set(metrics.percentiles([1], 50, 99, 99.9)) == {"p50", "p99", "p999"}
