"""Claims about planning: what is asked for, how layers are balanced, what fits, what is chosen and said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.tools.plan import words
from nextframe.tools.plan.hardware import Device, parse_devices, parse_link
from nextframe.tools.plan.layout import Interval, Layout, balance, balanced, cycle_of, memory_bytes, traffic_of
from nextframe.tools.plan.planner import answer
from nextframe.tools.plan.predict import Goal, estimated, predicted
from nextframe.tools.plan.profile import Cost, PlanError, Profile, StageCosts, read_profile, write_profile
from nextframe.tools.plan.simulate import simulate
from nextframe.tools.plan.wan import wan_profile
from tests.support.plans import DEVICE, GB, INSTANT, profile, request

# --- balancing ----------------------------------------------------------------------------------------------------


def every_split(layers: int, stages: int) -> Iterator[tuple[Interval, ...]]:
    for cuts in combinations(range(1, layers), stages - 1):
        yield tuple(pairwise((0, *cuts, layers)))


def busiest(split: tuple[Interval, ...], loads: list[float], extras: list[float], speeds: list[float]) -> float:
    return max(
        (sum(loads[first:end]) + extra) / speed
        for (first, end), extra, speed in zip(split, extras, speeds, strict=True)
    )


@st.composite
def stage_loads(draw: st.DrawFn) -> tuple[list[float], list[float], list[float]]:
    stages = draw(st.integers(1, 4))
    some = st.floats(0.1, 10)
    loads = draw(st.lists(some, min_size=stages, max_size=7))
    extras = draw(st.lists(st.floats(0, 20), min_size=stages, max_size=stages))
    return loads, extras, draw(st.lists(some, min_size=stages, max_size=stages))


@given(stage_loads())
@settings(deadline=None, max_examples=100)
def test_no_split_of_the_layers_has_a_less_busy_busiest_stage(
    drawn: tuple[list[float], list[float], list[float]],
) -> None:
    loads, extras, speeds = drawn
    found = balance(tuple(loads), tuple(extras), tuple(speeds))
    assert found[0][0] == 0
    assert found[-1][1] == len(loads)
    assert all(end == first for (_, end), (first, _) in pairwise(found))
    assert all(first < end for first, end in found)
    best = min(busiest(split, loads, extras, speeds) for split in every_split(len(loads), len(extras)))
    assert busiest(found, loads, extras, speeds) == pytest.approx(best)


def test_a_stage_that_also_decodes_gets_fewer_layers() -> None:
    assert balanced(profile(), "pipeline", (DEVICE,) * 2, False, 1).intervals == ((0, 3), (3, 4))


def test_a_device_twice_as_fast_gets_twice_the_layers() -> None:
    devices = (DEVICE, replace(DEVICE, speed=2.0), DEVICE)
    six = profile(layers=6, costs=StageCosts(layer=Cost(row_ms=1), decode=Cost()))
    assert balanced(six, "pipeline", devices, True, 1).intervals == ((0, 2), (2, 6))


# --- memory -------------------------------------------------------------------------------------------------------


def test_every_device_holds_its_own_layers_and_the_memory_of_all_sessions_in_them() -> None:
    layout = Layout("pipeline", ((0, 3), (3, 4)), (DEVICE,) * 2, rows=1, sessions=5)
    need = memory_bytes(profile(), layout)
    assert need == [round(3 * (1 + 5 * 0.1) * GB), round(1.5 * GB + 0.5 * GB)]


def test_stream_batch_remembers_once_for_every_denoise_step() -> None:
    three = profile(denoise_steps=3)
    lossless, stream = (Layout(mode, ((0, 4),), (DEVICE,), 1, 1) for mode in ("serial", "stream-batch"))
    assert memory_bytes(three, stream)[0] - memory_bytes(three, lossless)[0] == 2 * 4 * GB // 10


def test_what_does_not_fit_says_by_how_much() -> None:
    small = (Device("box", 4 * GB),)
    with pytest.raises(PlanError, match=r"0\.90 GB short on its fullest device, which needs 4\.90 GB"):
        answer(replace(request(), devices=small))


def test_what_is_too_big_for_one_device_is_split_and_nothing_is_compared_with_it() -> None:
    found = answer(replace(request(), devices=(Device("box", 4 * GB),) * 2))
    assert found.alone is None
    assert found.alone_short_bytes == round(0.9 * GB)
    assert found.recommended.shape.stages == 2
    assert any("0.90 GB short" in sentence for sentence in words.sentences(found))


# --- choosing -----------------------------------------------------------------------------------------------------


def test_alone_on_one_device_a_tick_takes_all_its_work() -> None:
    best = answer(request()).recommended
    assert best.shape.mode == "serial"
    assert best.latency_ms == pytest.approx(60)
    assert best.fps_session == pytest.approx(1000 / 60)


def test_a_second_device_for_decoding_costs_no_latency_and_no_staleness() -> None:
    best = answer(request(2)).recommended
    assert best.shape.mode == "overlapped"
    assert best.latency_ms == pytest.approx(60)
    assert best.fps_session == pytest.approx(25)
    assert best.lag_latents == 0


def test_throughput_uses_every_device_and_latency_does_not_pay_for_it() -> None:
    best = answer(request(4, sessions=8, goal=Goal.THROUGHPUT)).recommended
    assert best.fps_total == pytest.approx(4 * 1000 / 60, rel=0.01)
    assert best.devices == 4


def test_stream_batch_is_chosen_only_when_asked_for_and_says_how_late_it_is() -> None:
    lossless = answer(request(4, goal=Goal.THROUGHPUT))
    lossy = answer(request(4, goal=Goal.THROUGHPUT, lossy=True))
    assert {plan.shape.mode for plan in lossless.plans} <= {"serial", "overlapped"}
    assert lossy.recommended.shape.mode == "stream-batch"
    assert lossy.recommended.fps_total > lossless.recommended.fps_total
    assert lossy.recommended.lag_latents > 0
    assert any("late: stream-batch is not lossless" in line for line in words.sentences(lossy))


def test_stream_batch_is_refused_for_a_generator_with_clean_history() -> None:
    with pytest.raises(PlanError, match="history of the same noise level"):
        answer(request(2, profile=profile(history="clean"), lossy=True))


def test_rows_share_a_forward_where_a_call_costs_more_than_a_row() -> None:
    starting = profile(costs=StageCosts(layer=Cost(fixed_ms=10, row_ms=0.1), decode=Cost(row_ms=1)))
    best = answer(request(profile=starting, sessions=8, goal=Goal.THROUGHPUT)).recommended
    assert best.shape.rows == 8
    assert best.fps_total > 5 * 1000 / 41.4


def test_no_more_rows_share_a_forward_than_costs_are_known_for() -> None:
    costs = StageCosts(layer=Cost(fixed_ms=10, row_ms=0.1), decode=Cost(row_ms=1))
    found = answer(request(profile=profile(costs=costs, max_rows=4), sessions=12, goal=Goal.THROUGHPUT))
    assert found.recommended.shape.rows == 4
    assert all(plan.shape.rows <= 4 for plan in found.plans)


def test_limits_come_before_the_goal() -> None:
    starting = profile(costs=StageCosts(layer=Cost(fixed_ms=10, row_ms=2), decode=Cost(row_ms=1)))
    asked = request(profile=starting, sessions=8, goal=Goal.THROUGHPUT)
    free, bound = answer(asked), answer(replace(asked, max_latency_ms=70))
    assert free.recommended.latency_max_ms > 70
    assert bound.recommended.latency_max_ms <= 70
    assert bound.met


def test_a_limit_that_cannot_be_kept_is_said_and_not_met() -> None:
    found = answer(request(frame_hz=30))
    assert not found.met
    assert any(line.startswith("NOT MET: 30 FPS asked, 16.67 predicted") for line in words.sentences(found))


def test_the_sessions_that_are_counted_do_keep_the_rate() -> None:
    asked = request(4, sessions=100, goal=Goal.SESSIONS, frame_hz=5)
    found = answer(asked)
    best = found.recommended
    assert not found.met
    assert best.fps_session >= 5
    assert best.sessions == best.sessions_at_rate == 12, "a replica makes 16.67 pictures a second: three sessions each"
    assert any("12 of 100" in line for line in words.sentences(found))


def test_faster_devices_get_more_sessions() -> None:
    devices = (DEVICE, replace(DEVICE, speed=3.0))
    best = answer(replace(request(sessions=8, goal=Goal.THROUGHPUT), devices=devices)).recommended
    assert sorted(layout.sessions for layout in best.layouts) == [2, 6]


def test_what_is_simulated_is_near_what_was_estimated() -> None:
    asked = request(8, sessions=20)
    for plan in answer(asked).plans:
        assert estimated(asked, plan.layouts).fps_total == pytest.approx(plan.fps_total, rel=0.02)


def test_ten_thousand_sessions_on_sixty_four_devices_can_be_planned() -> None:
    large = (Device("box", 100 * GB),) * 64
    found = answer(replace(request(sessions=10_000, goal=Goal.SESSIONS, frame_hz=0.5), devices=large))
    assert found.recommended.sessions == 64 * 33, "16.67 pictures a second for 0.5 each"


def test_a_few_groups_in_line_stand_for_all_of_them() -> None:
    layout = replace(balanced(profile(denoise_steps=2), "pipeline", (DEVICE,) * 3, False, 1), sessions=40)
    asked = request(3, profile=profile(denoise_steps=2), sessions=40)
    thin = predicted(asked, (layout,))
    cycle = cycle_of(asked.profile, layout, INSTANT)
    full = simulate(cycle, traffic_of(asked.profile, layout, cycle))
    assert thin.fps_total == pytest.approx(full.latents_per_s, rel=0.01)
    assert thin.latency_ms == pytest.approx(full.latency_p50_ms, rel=0.01)


@pytest.mark.parametrize("sessions", [0, -1, 1_000_001])
def test_a_number_of_sessions_that_means_nothing_is_refused(sessions: int) -> None:
    with pytest.raises(PlanError, match="--sessions: expected 1 to 1000000"):
        answer(request(sessions=sessions))


def test_counting_sessions_needs_a_rate() -> None:
    with pytest.raises(PlanError, match="say which with --fps"):
        answer(request(goal=Goal.SESSIONS))


# --- devices and links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", [("h100", 1.0, 80)] * 4),
        ("2xh100", [("h100", 1.0, 80)] * 2),
        ("h100,2xh200", [("h100", 1.0, 80)] + [("h200", 1.0, 141)] * 2),
        ("2XH100*0.5/40GB", [("h100", 0.5, 40)] * 2),
        ("toaster*0.01/1gb", [("toaster", 0.01, 1)]),
        ("2*0.5", [("h100", 0.5, 80)] * 2),
        ("rtx4090", [("rtx4090", pytest.approx(165.2 / 989.4), 24)]),
    ],
)
def test_devices_are_counted_named_and_scaled(text: str, expected: list[tuple[str, float, float]]) -> None:
    found = parse_devices(text, wan_profile("wan-1.3b"))
    assert [(device.name, device.speed, device.memory_bytes / GB) for device in found] == expected


@pytest.mark.parametrize("text", ["", "4y", "0xh100", "xh100", "4xh100,", "h100*", "h100/4", "5000", "h100*0", "9" * 9])
def test_devices_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(PlanError, match="--devices"):
        parse_devices(text, wan_profile("wan-1.3b"))


def test_costs_measured_on_one_kind_say_nothing_of_another() -> None:
    with pytest.raises(PlanError, match=r"h100\*SPEED"):
        parse_devices("h100", profile())


def test_a_link_is_a_name_or_two_numbers_or_the_profiles_own() -> None:
    assert parse_link("nvlink", profile()).bandwidth_gb_s == 450
    assert parse_link("12.5,0.05", profile()).latency_ms == 0.05
    assert parse_link(None, profile(link=INSTANT)) == INSTANT
    for text in ("fast", "1", "0,1", "1,-1", "nan,0"):
        with pytest.raises(PlanError, match="--link"):
            parse_link(text, profile())


# --- the file of a profile ----------------------------------------------------------------------------------------


def test_a_profile_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "profile.json"
    for given_profile in (profile(), wan_profile("wan-14b")):
        write_profile(given_profile, path)
        assert read_profile(path) == given_profile


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"layers": 4', '"layers": 0', "layers"),
        ('"row_ms": 10.0', '"row_ms": -1', "costs.layer.row_ms"),
        ('"denoise_steps"', '"denoise_step"', "denoise_steps"),
        ('"points": []', '"points": [[2, 3.0], [1, 4.0]]', "ascending rows"),
        ("profile/1", "profile/9", 'expected "schema"'),
        ('"layer_scale": []', '"layer_scale": [1, 2]', "expected 4 numbers"),
        ("{", "", "JSON"),
    ],
)
def test_a_profile_that_is_wrong_says_where(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = tmp_path / "profile.json"
    write_profile(profile(), path)
    text = path.read_text(encoding="utf-8")
    assert before in text, "the negative control must change something"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(PlanError, match=r"profile\.json") as caught:
        read_profile(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_profile_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="No such file"):
        read_profile(tmp_path / "nowhere.json")


def test_a_call_is_never_quicker_than_its_floor() -> None:
    cost = Cost(fixed_ms=1, row_ms=2, floor_ms=6)
    assert [cost.ms(rows) for rows in (1, 2, 3, 4)] == [6, 6, 7, 9]


def test_profiles_are_values() -> None:
    assert hash(profile()) == hash(profile())
    assert isinstance(profile(), Profile)
