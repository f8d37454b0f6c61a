"""Claims about playing with time: going back and playing the same again gives the same bits, at a bounded cost."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from nextframe.runtime.core import Action, FixedClock, Frame, PlayedTick, Reset, TickPlan, TickResult, World
from nextframe.runtime.display.null import NullDisplay
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop
from nextframe.runtime.tick.controls import SessionControls
from nextframe.runtime.timeline.branches import BranchError, Branches, ab_frames, joined
from nextframe.runtime.timeline.line import (
    AGE_PER_GAP,
    RewindPlan,
    Timeline,
    TimelineError,
    TimelineRecorder,
    described,
    frames_again,
    go_to,
)
from nextframe.runtime.timeline.rewind import FASTEST_TICKS, Rewinder, ticks_back
from nextframe.tools.lab.timeline import cost as time_cost
from nextframe.worlds.toy.world import ToyWorld
from tests.support.worlds.small import small_neural

PICTURE = np.zeros((2, 2, 3), np.uint8)


def action_of(tick: int) -> Action:
    """Never the same twice in a row."""
    return Action(axes={"steer": (tick * 37) % 255 - 127, "throttle": 127}, prompt="night" if tick % 40 == 7 else None)


class Session:
    """A world that was played, its timeline, and the frame and checksum of every state it went through."""

    def __init__(self, world: World, timeline: Timeline | None = None) -> None:
        self.world, self.timeline = world, timeline or Timeline()
        self.recorder = TimelineRecorder(self.timeline, world)
        self.frames: dict[int, Frame] = {0: world.reset(1)}
        self.checksums: dict[int, int] = {0: world.checksum()}
        self.timeline.begin(0, world.snapshot())

    def play(self, ticks: int, actions: Callable[[int], Action] = action_of) -> Session:
        for tick in range(self.timeline.tick, self.timeline.tick + ticks):
            action, steps = actions(tick), self.world.info.ladder[tick % 2]
            events = (Reset(tick),) if action.reset else ()
            if action.reset:
                self.world.reset(tick)
            result = self.world.advance(action, TickPlan(steps, 0))
            self.frames[tick + 1] = result.frames[-1].copy()
            result.commit()
            self.checksums[tick + 1] = self.world.checksum()
            checksum = self.checksums[tick + 1] if tick % 20 == 0 else None
            self.recorder.record_tick(tick, PlayedTick(action, result.steps_applied, checksum, events))
        return self


@lru_cache(maxsize=1)
def neural() -> World:
    return small_neural()


def toy_session(ticks: int, timeline: Timeline | None = None) -> Session:
    return Session(ToyWorld(), timeline).play(ticks)


def roomy(every_ticks: int = 5) -> Timeline:
    return Timeline(1 << 30, every_ticks, longest_gap_ticks=max(60, every_ticks))


def kept_ticks(timeline: Timeline) -> list[int]:
    """The ticks of the snapshots that are still there, found by asking for every tick."""
    return sorted({timeline.rewind_to(tick).snapshot_tick for tick in range(timeline.oldest_tick, timeline.tick + 1)})


class FakeWorld(ToyWorld):
    """A toy that forgets one part of its state when it is restored."""

    def restore(self, snapshot: object) -> None:
        super().restore({**snapshot, "trail": np.zeros((48, 64), np.float32)})  # type: ignore[dict-item]


class PairWorld(ToyWorld):
    """Two frames a tick, the first of them dark."""

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        result = super().advance(action, plan)
        return replace(result, frames=[result.frames[0] // 2, result.frames[0]])


# --- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_world", [ToyWorld, neural])
def test_going_back_and_playing_the_same_again_is_as_if_it_had_never_gone_back(make_world: Callable[[], World]) -> None:
    session = Session(make_world()).play(43)
    go_to(session.world, session.timeline.rewind_to(19))
    assert session.world.checksum() == session.checksums[19]
    session.timeline.truncate(19)
    first_time = dict(session.checksums)
    session.play(24)
    assert session.checksums == first_time


@pytest.mark.parametrize("make_world", [ToyWorld, neural])
def test_going_back_and_playing_something_else_leads_elsewhere(make_world: Callable[[], World]) -> None:
    session = Session(make_world()).play(30)
    present = session.checksums[30]
    go_to(session.world, session.timeline.rewind_to(19))
    session.timeline.truncate(19)
    session.play(11, lambda tick: Action())
    assert session.checksums[30] != present


@pytest.mark.parametrize("make_world", [ToyWorld, neural])
def test_every_reachable_tick_comes_back(make_world: Callable[[], World]) -> None:
    session = Session(make_world(), Timeline(1 << 30, 7)).play(40)
    for tick in range(41):
        frames = go_to(session.world, session.timeline.rewind_to(tick))
        assert session.world.checksum() == session.checksums[tick]
        assert not frames or np.array_equal(frames[-1], session.frames[tick])


def test_a_reset_in_between_is_played_again_with_its_seed() -> None:
    session = Session(ToyWorld(), roomy(50)).play(30, lambda tick: replace(action_of(tick), reset=tick == 11))
    go_to(session.world, session.timeline.rewind_to(25))
    assert session.world.checksum() == session.checksums[25]


def test_a_loop_fills_a_timeline_through_its_recorder() -> None:
    world, timeline, controls = ToyWorld(), Timeline(), SessionControls()

    class Script:
        last_input_ns = None

        def poll(self, tick: int) -> Action:
            if tick == 13:
                controls.request_reset(5)
            return action_of(tick)

        def close(self) -> None:
            pass

    world.reset(1)
    timeline.begin(0, world.snapshot())
    loop = Loop(
        world, Script(), NullDisplay(FixedClock()), FixedGovernor(2), FixedClock(), tick_period_ns=Fraction(50_000_000),
        deadline_ns=50_000_000, recorder=TimelineRecorder(timeline, world), controls=controls, checksum_every=1,
    )  # fmt: skip
    loop.run(17)
    there = world.checksum()
    loop.run(13)
    assert timeline.tick == 30
    go_to(world, timeline.rewind_to(17))
    assert world.checksum() == there


# --- guards, and that they can fail -----------------------------------------------------------------------------------


def test_a_tick_that_was_not_noted_is_noticed_at_once() -> None:
    session = toy_session(5)
    with pytest.raises(TimelineError, match="expected tick 5 next, got 6"):
        session.timeline.note(6, PlayedTick(Action(), 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs[:3] + inputs[4:],
        lambda inputs: [*inputs[:3], replace(inputs[3], action=Action()), *inputs[4:]],
        lambda inputs: [*inputs[:3], replace(inputs[3], steps_applied=4), *inputs[4:]],
        lambda inputs: [*inputs[:3], replace(inputs[3], events=(Reset(9),)), *inputs[4:]],
    ],
    ids=["an input is missing", "another input", "another rung", "a reset that never was"],
)
def test_a_past_that_is_not_what_was_played_is_noticed(
    change: Callable[[Sequence[PlayedTick]], Sequence[PlayedTick]],
) -> None:
    session = toy_session(25, roomy(100))
    plan = session.timeline.rewind_to(25)
    go_to(session.world, plan)
    with pytest.raises(TimelineError, match=r"tick (19|20): came out different"):
        go_to(session.world, replace(plan, inputs=tuple(change(list(plan.inputs)))))


def test_a_world_whose_snapshot_lacks_a_part_is_noticed() -> None:
    session = Session(FakeWorld(), roomy(4)).play(22)
    with pytest.raises(TimelineError, match="came out different"):
        go_to(session.world, session.timeline.rewind_to(21))


def test_a_rung_that_a_world_cuts_short_is_noticed() -> None:
    class Hasty(ToyWorld):
        def advance(self, action: Action, plan: TickPlan) -> TickResult:
            return super().advance(action, replace(plan, denoise_steps=1))

    world = Hasty()
    with pytest.raises(TimelineError, match="expected 2 denoise steps when played again, got 1"):
        go_to(world, RewindPlan(world.snapshot(), 0, (PlayedTick(Action(), 2),)))


@pytest.mark.parametrize("tick", [-1, 11])
def test_ticks_out_of_reach_are_an_error_that_names_the_reach(tick: int) -> None:
    with pytest.raises(TimelineError, match=rf"from 0 to 10, got {tick}"):
        toy_session(10).timeline.rewind_to(tick)


def test_a_timeline_must_begin_before_it_is_used() -> None:
    played = PlayedTick(Action(), 1)
    for use in (lambda: Timeline().note(0, played), lambda: Timeline().tick, lambda: Timeline().rewind_to(0)):
        with pytest.raises(TimelineError, match="call begin"):
            use()


@pytest.mark.parametrize("arguments", [(0, 5), (100, 0), (100, 61)])
def test_a_timeline_without_room_or_sense_is_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="timeline"):
        Timeline(*arguments)


# --- budget and reach -------------------------------------------------------------------------------------------------


def test_ten_thousand_ticks_stay_within_the_budget_and_reach_far() -> None:
    budget = 4 << 20
    world, timeline = ToyWorld(), Timeline(budget, 5)
    unthinned = Timeline(budget, 5, longest_gap_ticks=5)
    world.reset(1)
    for one in (timeline, unthinned):
        one.begin(0, world.snapshot())
    checksums = {}
    for tick in range(10_000):
        action = action_of(tick // 10)  # keys are held for a while
        world.advance(action, TickPlan(1, 0)).commit()
        snapshot = world.snapshot() if timeline.wants_snapshot(tick) else None
        for one in (timeline, unthinned):
            one.note(tick, PlayedTick(action, 1), snapshot)
            assert one.bytes <= budget
        if tick % 97 == 0:
            checksums[tick + 1] = world.checksum()
    assert timeline.reach_ticks == 10_000 - timeline.oldest_tick
    assert timeline.reach_ticks > 3 * unthinned.reach_ticks, "thinning must be worth it"
    reachable = [tick for tick in checksums if tick >= timeline.oldest_tick]
    assert len(reachable) > 20
    for tick in reachable:
        go_to(world, timeline.rewind_to(tick))
        assert world.checksum() == checksums[tick]


def test_spacing_grows_with_age_and_the_near_past_stays_dense() -> None:
    session = toy_session(3_000, Timeline(4 << 20, 5))
    ticks, now = kept_ticks(session.timeline), session.timeline.tick
    assert ticks[-1] == now
    for older, newer in pairwise(ticks):
        allowed = max(5, (now - newer + 5) // AGE_PER_GAP + 5)
        assert newer - older <= min(60, allowed)
    assert max(np.diff(ticks)) > 5 * min(np.diff(ticks))


def test_a_budget_too_small_for_one_snapshot_keeps_the_newest() -> None:
    session = toy_session(12, Timeline(1, 5))
    assert kept_ticks(session.timeline) == [10]
    assert session.timeline.reach_ticks == 2
    go_to(session.world, session.timeline.rewind_to(11))
    assert session.world.checksum() == session.checksums[11]


def test_the_stated_bytes_are_no_less_than_what_is_held() -> None:
    world = ToyWorld()
    world.reset(1)
    timeline = Timeline(1 << 30, 10)
    tracemalloc.start()
    try:
        timeline.begin(0, world.snapshot())
        recorder = TimelineRecorder(timeline, world)
        for tick in range(400):
            world.advance(action_of(tick), TickPlan(1, 0)).commit()
            recorder.record_tick(tick, PlayedTick(action_of(tick), 1, 12345678 + tick))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held * 0.7 < timeline.bytes
    assert timeline.bytes < held * 1.5


def test_equal_actions_in_a_row_are_kept_once() -> None:
    busy, held = (Session(ToyWorld(), roomy(60)).play(50, actions) for actions in (action_of, lambda tick: Action()))
    assert held.timeline.bytes < busy.timeline.bytes - 49 * 1000


def test_truncating_gives_the_room_back() -> None:
    session = toy_session(20)
    bytes_then = session.timeline.bytes
    session.play(20)
    session.timeline.truncate(20)
    assert session.timeline.bytes == bytes_then
    assert session.timeline.tick == session.timeline.reach_ticks == 20


def test_beginning_anew_forgets_everything() -> None:
    session = toy_session(20)
    session.timeline.begin(100, session.world.snapshot())
    assert (session.timeline.oldest_tick, session.timeline.tick, session.timeline.reach_ticks) == (100, 100, 0)


def test_the_hud_is_told_how_far_back_one_can_go() -> None:
    assert described(toy_session(40).timeline, 20.0) == "rewind: 2 s, 0 MB"


# --- going back frame by frame ----------------------------------------------------------------------------------------


def hold(rewinder: Rewinder, frames: int) -> None:
    for _ in range(frames):
        rewinder.step_back()


def walk_back(session: Session, rewinder: Rewinder, limit: int = 10_000) -> list[int]:
    """Hold the key to the end; every frame must be the one that was once shown. Returns the ticks shown."""
    shown: list[int] = []
    for _ in range(limit):
        before = rewinder.ticks_simulated
        frame = rewinder.step_back()
        assert frame is not None
        assert rewinder.ticks_simulated - before <= 5
        assert np.array_equal(frame.frame, session.frames[frame.tick])
        shown.append(frame.tick)
        if frame.at_end:
            return shown
    raise AssertionError("never came to the end")


def test_each_shown_frame_costs_at_most_five_ticks_and_is_the_one_once_shown() -> None:
    session = toy_session(300, roomy())
    shown = walk_back(session, Rewinder(session.world, session.timeline))
    steps = [300 - shown[0], *(-np.diff(shown)).tolist()]
    expected = [ticks_back(held) for held in range(len(steps))]
    assert steps[:-1] == expected[:-1], "with snapshots every 5 ticks nothing is ever waited for"
    assert shown[-1] == 1


def test_the_past_is_played_again_once_and_not_once_per_frame() -> None:
    session = toy_session(100, roomy(5))
    rewinder = Rewinder(session.world, session.timeline)
    frames = 0
    while rewinder.tick > 1:
        rewinder.step_back()
        rewinder.slow_down()
        frames += 1
    assert frames == 99
    assert rewinder.ticks_simulated <= 100


def test_the_work_is_spread_so_that_slow_rewinding_costs_one_tick_per_frame() -> None:
    session = toy_session(100, roomy(5))
    rewinder = Rewinder(session.world, session.timeline)
    costs = []
    for _ in range(90):
        before = rewinder.ticks_simulated
        rewinder.step_back()
        rewinder.slow_down()
        costs.append(rewinder.ticks_simulated - before)
    assert costs[0] > 1, "the first stretch has had no frames to be played over"
    assert max(costs[1:5]) <= 2
    assert set(costs[5:]) == {1}


@pytest.mark.parametrize("budget", [1 << 20, 2 << 20, 8 << 20])
@pytest.mark.parametrize("longest_gap_ticks", [20, 60, 300])
def test_a_thinned_past_costs_no_more_and_never_goes_forward(budget: int, longest_gap_ticks: int) -> None:
    session = toy_session(1500, Timeline(budget, 5, longest_gap_ticks=longest_gap_ticks))
    shown = walk_back(session, Rewinder(session.world, session.timeline))
    assert all(newer >= older for newer, older in pairwise(shown))
    assert shown[-1] == session.timeline.oldest_tick + 1


def test_speed_in_a_thinned_past_is_still_about_what_the_key_asks_for() -> None:
    session = toy_session(1500, Timeline(2 << 20, 5))
    shown = walk_back(session, Rewinder(session.world, session.timeline))
    wanted, asked = 1500, []
    for held in range(len(shown)):
        wanted -= ticks_back(held)
        asked.append(wanted)
    assert max(abs(was - ought) for was, ought in zip(shown, asked, strict=True)) <= 60 + FASTEST_TICKS


@pytest.mark.parametrize("frames_held", [1, 4, 17, 40, 75])
@pytest.mark.parametrize("make_world", [ToyWorld, neural])
def test_play_goes_on_from_the_frame_on_screen(frames_held: int, make_world: Callable[[], World]) -> None:
    session = Session(make_world(), roomy()).play(120)
    first_time = dict(session.checksums)
    rewinder = Rewinder(session.world, session.timeline)
    hold(rewinder, frames_held)
    on_screen, before = rewinder.tick, rewinder.ticks_simulated
    landing = rewinder.land()
    assert landing.tick == on_screen == session.timeline.tick
    assert rewinder.ticks_simulated - before <= 5
    assert session.world.checksum() == first_time[landing.tick]
    assert [played.action for played in landing.future] == [action_of(tick) for tick in range(on_screen, 120)]
    session.play(120 - landing.tick)
    assert session.checksums == first_time


def test_landing_in_the_thinned_past_costs_at_most_five_ticks_also_the_second_time() -> None:
    session = toy_session(1500, Timeline(2 << 20, 5))
    for _ in range(3):
        rewinder = Rewinder(session.world, session.timeline)
        hold(rewinder, 45)
        before = rewinder.ticks_simulated
        landing = rewinder.land()
        assert rewinder.ticks_simulated - before <= 5
        assert session.world.checksum() == session.checksums[landing.tick]
        again = rewinder.step_back()
        assert again is not None
        assert again.tick == landing.tick - 1, "what was made on the way is kept: the next press begins without a jump"
        rewinder.cancel()


def test_cancelling_brings_the_present_back() -> None:
    session = toy_session(50)
    rewinder = Rewinder(session.world, session.timeline)
    hold(rewinder, 20)
    rewinder.cancel()
    assert session.world.checksum() == session.checksums[50]
    assert rewinder.tick == session.timeline.tick == 50
    session.play(5)


def test_landing_without_having_gone_back_changes_nothing() -> None:
    session = toy_session(50)
    assert Rewinder(session.world, session.timeline).land().future == ()
    assert session.world.checksum() == session.checksums[50]


def test_there_is_nothing_to_go_back_to_before_the_first_tick() -> None:
    session = toy_session(0)
    assert Rewinder(session.world, session.timeline).step_back() is None


def test_the_cache_stays_within_its_budget_and_shows_fewer_frames_instead() -> None:
    session = toy_session(600, Timeline(1 << 30, 60))
    small = 400_000
    rewinder = Rewinder(session.world, session.timeline, cache_bytes=small)
    most, shown = 0, set()
    while rewinder.tick > 1:
        frame = rewinder.step_back()
        assert frame is not None
        assert np.array_equal(frame.frame, session.frames[frame.tick])
        most, shown = max(most, rewinder.bytes), shown | {frame.tick}
    assert most <= small
    wide = Rewinder(session.world, session.timeline)
    assert len(shown) < len(set(walk_back(session, wide)))


def test_a_key_held_longer_goes_faster_to_a_limit() -> None:
    speeds = [ticks_back(held) for held in range(200)]
    assert speeds[0] == 1
    assert speeds == sorted(speeds)
    assert set(speeds) == {1, 2, 4, 8, 16}


def test_a_past_that_comes_out_different_stops_the_journey() -> None:
    session = Session(FakeWorld(), roomy()).play(45)
    rewinder = Rewinder(session.world, session.timeline)
    with pytest.raises(TimelineError, match="came out different"):
        hold(rewinder, 40)


# --- branches ---------------------------------------------------------------------------------------------------------


def tried_again(session: Session, back: int, ticks: int) -> Branches:
    """Go back, split, and play something else for so many ticks."""
    rewinder, branches = Rewinder(session.world, session.timeline), Branches()
    hold(rewinder, back)
    landing = rewinder.land()
    branches.split(landing.tick, session.world.snapshot(), landing.future)
    session.play(ticks, lambda tick: Action(axes={"steer": -127}))
    for at, played in enumerate(session.timeline.inputs_from(landing.tick), start=landing.tick):
        branches.note(at, played)
    return branches


@pytest.mark.parametrize("make_world", [ToyWorld, neural])
def test_both_branches_lead_again_to_where_they_led(make_world: Callable[[], World]) -> None:
    session = Session(make_world()).play(40)
    end_a = session.checksums[40]
    branches = tried_again(session, back=8, ticks=12)
    end_b = session.world.checksum()
    assert (branches.a.tick, branches.split_tick, len(branches.a.played), len(branches.b.played)) == (32, 32, 8, 12)
    for branch, end in ((branches.a, end_a), (branches.b, end_b)):
        go_to(session.world, branch.plan())
        assert session.world.checksum() == end


@pytest.mark.parametrize("two_worlds", [False, True])
@pytest.mark.parametrize("make_world", [ToyWorld, neural])
def test_the_split_view_shows_both_branches_tick_by_tick(make_world: Callable[[], World], two_worlds: bool) -> None:
    session = Session(make_world()).play(40)
    branches = tried_again(session, back=8, ticks=12)
    world = session.world
    expected = [[frames[-1] for frames in frames_again(world, one.plan())] for one in (branches.a, branches.b)]
    go_to(world, branches.b.plan())
    here = world.checksum()
    other = type(world)() if two_worlds and isinstance(world, ToyWorld) else small_neural() if two_worlds else None
    pictures = list(ab_frames(branches.a, branches.b, world, other))
    assert len(pictures) == 12
    width = world.info.width_px
    for at, picture in enumerate(pictures):
        assert picture.shape == (world.info.height_px, 2 * width + 2, 3)
        assert np.array_equal(picture[:, :width], expected[0][min(at, 7)]), "the shorter one stands still at its end"
        assert np.array_equal(picture[:, width + 2 :], expected[1][at])
        assert (picture[:, width : width + 2] == 255).all()
    assert world.checksum() == here, "looking changes nothing"


def test_the_split_view_leaves_the_world_as_it_was_also_when_it_is_left_before_its_end() -> None:
    session = toy_session(40)
    branches = tried_again(session, back=8, ticks=12)
    here = session.world.checksum()
    pictures = ab_frames(branches.a, branches.b, session.world)
    next(pictures)
    pictures.close()
    assert session.world.checksum() == here


def test_worlds_with_several_frames_a_tick_show_all_of_them() -> None:
    session = Session(PairWorld()).play(20)
    branches = tried_again(session, back=5, ticks=3)
    pictures = list(ab_frames(branches.a, branches.b, session.world))
    assert len(pictures) == 2 * 3 + 2 * 2
    assert pictures[0][:, :64].mean() < pictures[1][:, :64].mean()


def test_one_branch_against_itself_is_twice_the_same_picture() -> None:
    session = toy_session(40)
    branches = tried_again(session, back=8, ticks=12)
    for picture in ab_frames(branches.a, branches.a, session.world):
        assert np.array_equal(picture[:, :64], picture[:, 66:])


def test_a_branch_that_comes_out_different_is_an_error() -> None:
    session = toy_session(41)
    branches = tried_again(session, back=8, ticks=20)
    other = replace(branches.b, played=(replace(branches.b.played[0], action=Action()), *branches.b.played[1:]))
    with pytest.raises(TimelineError, match="came out different"):
        list(ab_frames(branches.a, other, session.world))


def test_branch_b_takes_every_tick_and_no_hole() -> None:
    branches = Branches(max_ticks=2)
    branches.split(10, {}, [PlayedTick(Action(), 1)] * 5)
    assert len(branches.a.played) == 2
    branches.note(10, PlayedTick(Action(), 1))
    with pytest.raises(BranchError, match="expected tick 11 next, got 12"):
        branches.note(12, PlayedTick(Action(), 1))
    branches.note(11, PlayedTick(Action(), 1))
    assert branches.full
    branches.note(12, PlayedTick(Action(), 1))
    assert len(branches.b.played) == 2


def test_branch_b_can_be_rewound_to_its_beginning_and_no_further() -> None:
    branches = Branches()
    branches.split(10, {}, ())
    for tick in (10, 11, 12):
        branches.note(tick, PlayedTick(Action(), 1))
    assert branches.rewind(11)
    assert len(branches.b.played) == 1
    assert not branches.rewind(9)
    assert branches.split_tick is None
    with pytest.raises(BranchError, match="expected a split"):
        branches.a  # noqa: B018 - asking is the test


def test_frames_of_two_sizes_cannot_stand_side_by_side() -> None:
    assert joined(PICTURE, PICTURE, 4).shape == (2, 8, 3)
    with pytest.raises(BranchError, match="one size"):
        joined(PICTURE, np.zeros((2, 3, 3), np.uint8))


# --- the measurement --------------------------------------------------------------------------------------------------


def test_the_cost_of_time_is_measured_and_stated_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    time_cost.main(["--world", "toy", "--repeats", "2"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["schema"] == "nextframe.time_cost/1"
    assert set(found["p95_ms"]) >= {"snapshot", "restore", "save", "load", "frame of the past", "landing"}
    assert found["reach_s"] > 0


def test_a_cost_that_was_never_measured_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert time_cost.main(["--world", "toy", "--repeats", "0"]) == 2
    assert "--repeats" in capsys.readouterr().err
