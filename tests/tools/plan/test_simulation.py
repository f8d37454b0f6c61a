"""Claims about simulated pipelines: what the closed form says, what it only bounds, and how late a new input is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nextframe.tools.plan.formula import bounds, demand_ms, length_ms
from nextframe.tools.plan.layout import Layout, Mode, balanced, cycle_of, traffic_of
from nextframe.tools.plan.profile import Cost, Link, Profile, Sizes, StageCosts
from nextframe.tools.plan.simulate import Branch, Cycle, Simulated, Traffic, Visit, simulate
from tests.support.plans import DEVICE, INSTANT, profile

times = st.floats(0.5, 20)
NEAR = 0.01


@st.composite
def worlds(draw: st.DrawFn) -> Profile:
    return profile(
        layers=draw(st.integers(2, 8)),
        denoise_steps=draw(st.integers(1, 4)),
        history=draw(st.sampled_from(["clean", "same_level"])),
        costs=StageCosts(
            condition=Cost(row_ms=draw(times)),
            layer=Cost(fixed_ms=draw(times), row_ms=draw(times)),
            step=Cost(row_ms=draw(times)),
            decode=Cost(row_ms=draw(times)),
            commit_layer=Cost(row_ms=draw(times)),
        ),
        sizes=Sizes(hop_row_bytes=10**6, latent_row_bytes=10**5),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Cycle, Traffic]:
    world = draw(worlds())
    mode: Mode = draw(st.sampled_from(["serial", "overlapped", "pipeline", "stream-batch"]))
    assume(mode != "stream-batch" or world.history == "same_level")
    own_decoder = mode == "overlapped" or (mode != "serial" and draw(st.booleans()))
    stages = draw(st.integers(1, min(4, world.layers)))
    devices = (DEVICE,) * (stages + own_decoder)
    rows = draw(st.integers(1, 3))
    layout = replace(balanced(world, mode, devices, own_decoder, rows), sessions=rows * draw(st.integers(1, 6)))
    link = Link(bandwidth_gb_s=draw(st.floats(0.1, 100)), latency_ms=draw(st.floats(0, 2)))
    cycle = cycle_of(world, layout, link)
    return cycle, traffic_of(world, layout, cycle)


@given(cases())
@settings(deadline=None, max_examples=150)
def test_where_the_closed_form_is_exact_the_simulation_agrees(case: tuple[Cycle, Traffic]) -> None:
    cycle, traffic = case
    bound = bounds(cycle, traffic)
    assume(bound.exact)
    assert simulate(cycle, traffic, 60).latents_per_s == pytest.approx(bound.latents_per_s, rel=NEAR)


@given(cases())
@settings(deadline=None, max_examples=150)
def test_no_layout_beats_the_closed_form_and_none_is_slower_than_one_thing_at_a_time(
    case: tuple[Cycle, Traffic],
) -> None:
    cycle, traffic = case
    bound, seen = bounds(cycle, traffic), simulate(cycle, traffic, 40)
    everything_ms = sum(length_ms(chain) for chain in cycle.chains)
    assert seen.latents_per_s <= bound.latents_per_s * (1 + NEAR)
    assert seen.latents_per_s >= 1e3 / everything_ms * (1 - NEAR)
    assert seen.latency_p50_ms >= bound.latency_ms * (1 - NEAR) or traffic.passes > 1


@given(cases())
@settings(deadline=None, max_examples=60)
def test_lag_is_a_matter_of_counting_and_zero_wherever_nothing_is_lossy(case: tuple[Cycle, Traffic]) -> None:
    cycle, traffic = case
    assert traffic.passes <= simulate(cycle, traffic, 10).lag_latents + 1 <= traffic.passes * traffic.payloads


def test_a_latent_that_is_finished_when_the_next_reads_its_input_does_not_delay_it() -> None:
    """The first stage takes as long as all others: of three latents under way one is only on its way back."""
    stages = (Visit(0, 5.0), Visit(1, 3.0), Visit(2, 2.0, finishes=True, shows=True), Visit(3, 0.05))
    assert simulate(Cycle(stages), Traffic(1, 3, 4, payloads=3), 10).lag_latents == 1
    slower = (stages[0], Visit(1, 3.0), Visit(2, 2.01, finishes=True, shows=True), stages[3])
    assert simulate(Cycle(slower), Traffic(1, 3, 4, payloads=3), 10).lag_latents == 2


def stream(denoise_steps: int, stages: int, sessions: int = 1) -> Simulated:
    world = profile(denoise_steps=denoise_steps, layers=8)
    layout = replace(balanced(world, "stream-batch", (DEVICE,) * stages, False, 1), sessions=sessions)
    cycle = cycle_of(world, layout, INSTANT)
    return simulate(cycle, traffic_of(world, layout, cycle), 30)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("denoise_steps", [1, 2, 4])
def test_stream_batch_is_late_by_steps_times_stages_less_one(denoise_steps: int, stages: int) -> None:
    assert stream(denoise_steps, stages).lag_latents == denoise_steps * stages - 1


def test_sessions_take_the_place_of_a_sessions_own_frames() -> None:
    assert stream(1, 4, sessions=2).lag_latents == 1
    assert stream(1, 4, sessions=4).lag_latents == 0


def test_sessions_fill_a_pipeline_without_staleness_and_with_hardly_any_latency() -> None:
    world = profile(layers=8, denoise_steps=3, costs=StageCosts(layer=Cost(row_ms=5), decode=Cost()))
    layouts = [
        Layout("pipeline", ((0, 2), (2, 4), (4, 6), (6, 8)), (DEVICE,) * 4, rows=1, sessions=sessions)
        for sessions in (1, 4, 40)
    ]
    one, four, forty = (
        simulate(cycle, traffic_of(world, layout, cycle), 40)
        for layout in layouts
        for cycle in [cycle_of(world, layout, INSTANT)]
    )
    assert [one.lag_latents, four.lag_latents, forty.lag_latents] == [0, 0, 0]
    assert four.latents_per_s == pytest.approx(4 * one.latents_per_s, rel=NEAR)
    assert forty.latents_per_s == pytest.approx(four.latents_per_s, rel=NEAR)
    assert four.latency_p50_ms == pytest.approx(one.latency_p50_ms, rel=NEAR)
    assert forty.latency_p50_ms == pytest.approx(one.latency_p50_ms, rel=NEAR), "who waits, waits with input unread"


def test_decode_beside_the_next_tick_takes_nothing_from_the_rate() -> None:
    main, decode = (Visit(0, 30, finishes=True),), Visit(1, 20, shows=True)
    beside = simulate(Cycle(main, (Branch(0, (decode,)),)), Traffic(1, 1, 2), 50)
    in_line = simulate(Cycle((*main, replace(decode, resource=0))), Traffic(1, 1, 1), 50)
    assert beside.latents_per_s == pytest.approx(1000 / 30, rel=NEAR)
    assert in_line.latents_per_s == pytest.approx(1000 / 50, rel=NEAR)
    assert beside.latency_p50_ms == in_line.latency_p50_ms == pytest.approx(50)


@pytest.mark.parametrize("unshown", [2, 3, 10])
def test_a_slow_decoder_is_never_fed_faster_than_it_empties(unshown: int) -> None:
    cycle = Cycle((Visit(0, 10, finishes=True),), (Branch(0, (Visit(1, 40, shows=True),)),))
    few, many = (simulate(cycle, Traffic(8, 8, unshown), ticks) for ticks in (20, 80))
    assert few.latents_per_s == pytest.approx(25, rel=NEAR)
    assert few.latency_max_ms == pytest.approx(many.latency_max_ms), "it does not grow with time"
    assert few.latency_max_ms <= unshown * 40 + 10


def test_a_session_with_a_period_starts_no_more_often() -> None:
    cycle = Cycle((Visit(0, 10, finishes=True, shows=True),))
    paced = simulate(cycle, Traffic(4, 4, 4, period_ms=100), 30)
    assert paced.latents_per_s == pytest.approx(40, rel=NEAR)
    assert paced.latency_max_ms == pytest.approx(10), "spread over the period they do not meet"


def test_a_period_that_is_too_short_is_just_as_fast_as_it_goes() -> None:
    cycle = Cycle((Visit(0, 10, finishes=True, shows=True),))
    assert simulate(cycle, Traffic(4, 4, 4, period_ms=20), 30).latents_per_s == pytest.approx(100, rel=NEAR)


def test_a_link_that_is_too_narrow_is_the_bottleneck() -> None:
    world = profile(sizes=Sizes(hop_row_bytes=10**8))
    layout = Layout("pipeline", ((0, 2), (2, 4)), (DEVICE,) * 2, rows=1, sessions=8)
    wide, narrow = (
        simulate(cycle, traffic_of(world, layout, cycle), 40).latents_per_s
        for gb_s in (100.0, 1.0)
        for cycle in [cycle_of(world, layout, Link(bandwidth_gb_s=gb_s, latency_ms=0))]
    )
    assert wide == pytest.approx(1000 / 40, rel=NEAR)
    assert narrow == pytest.approx(1000 / 100, rel=NEAR)


def test_what_follows_on_one_device_is_not_interrupted_and_no_work_is_lost() -> None:
    world = profile(denoise_steps=4, history="clean", costs=StageCosts(
        condition=Cost(row_ms=3), layer=Cost(row_ms=10), step=Cost(row_ms=1), decode=Cost(row_ms=20),
        commit_layer=Cost(row_ms=10), commit=Cost(row_ms=2),
    ))  # fmt: skip
    one = cycle_of(world, balanced(world, "serial", (DEVICE,), False, 1), INSTANT)
    assert len(one.main) == 3, "denoise, decode, commit"
    assert demand_ms(one)[0] == pytest.approx(3 + 4 * (40 + 1) + 20 + 42)


def test_a_generator_with_its_own_noise_levels_needs_no_commit_pass() -> None:
    costs = StageCosts(layer=Cost(row_ms=10), decode=Cost(row_ms=20), commit_layer=Cost(row_ms=10))
    clean, own = (profile(history=history, costs=costs) for history in ("clean", "same_level"))
    layout = balanced(clean, "serial", (DEVICE,), False, 1)
    assert length_ms(cycle_of(clean, layout, INSTANT).main) == pytest.approx(100)
    assert length_ms(cycle_of(own, layout, INSTANT).main) == pytest.approx(60)
