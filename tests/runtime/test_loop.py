"""Claims about the loop, on a clock that only moves when a test moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import Action, FixedClock, ManualClock, PlayedTick, TickPlan, TickResult
from nextframe.runtime.governor.adaptive import AdaptiveGovernor
from nextframe.runtime.loop import Timetable, Turn, period_ns
from nextframe.runtime.tick.again import again
from nextframe.runtime.tick.guess import NullAhead
from nextframe.runtime.tick.probe import HostUse, NullProbe
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import MS, PERIOD_NS, KnownStops, Session


def only(tick: int, costs: Mapping[str, int]) -> Any:
    """Charges `costs` on one tick, nothing on the others."""
    return lambda now: costs if now == tick else {}


LEFT = Action(axes={"steer": -100, "throttle": 127})


# --- release times -------------------------------------------------------------------------------------------


def test_ten_minutes_at_60_hz_end_on_the_exact_nanosecond() -> None:
    table = Timetable(period_ns(Fraction(60)))
    table.anchor(7)
    assert table.release_ns(36_000) == 7 + 600 * 1_000_000_000


def test_a_period_rounded_to_nanoseconds_would_drift() -> None:
    assert Timetable(int(period_ns(Fraction(60)))).release_ns(36_000) != 600 * 1_000_000_000


def test_a_delayed_timetable_keeps_its_exact_period() -> None:
    table = Timetable(period_ns(Fraction(30000, 1001)))
    table.delay(5)
    assert table.release_ns(30_000) == 5 + 1001 * 1_000_000_000


def test_ticks_are_released_on_the_grid_and_input_is_read_at_the_release() -> None:
    session = Session(lambda tick: {"denoise": 5 * MS})
    session.loop.run(5)
    assert session.controller.polled_at_ns == [slot * PERIOD_NS for slot in range(5)]
    assert [record.release_ns for record in session.records] == session.controller.polled_at_ns


# --- order ---------------------------------------------------------------------------------------------------


def test_commit_runs_after_the_picture_and_off_its_path() -> None:
    session = Session(lambda tick: {"decode": 10 * MS, "commit": 20 * MS})
    session.loop.run(3)
    for record in session.records:
        assert record.response_ns == 10 * MS
        assert record.commit_end_ns - record.present_ns == 20 * MS
        assert record.stage_ns["commit"] == 20 * MS


def test_the_checksum_is_taken_after_the_commit() -> None:
    session = Session()
    session.loop.run(1)
    assert session.recorder.checksums == {0: session.world.checksum()}


def test_checksums_come_every_k_ticks_or_never() -> None:
    every_third, never = Session(checksum_every=3), Session(checksum_every=0)
    every_third.loop.run(7)
    never.loop.run(7)
    assert list(every_third.recorder.checksums) == [0, 3, 6]
    assert never.recorder.checksums == {}


def test_the_time_of_the_earliest_input_reaches_the_record() -> None:
    session = Session()
    session.controller.last_input_ns = -3 * MS
    session.loop.run(1)
    assert session.records[0].input_event_ns == -3 * MS


# --- being late ----------------------------------------------------------------------------------------------


def test_a_tick_in_time_misses_nothing_and_one_nanosecond_more_is_a_miss() -> None:
    in_time, late = Session(only(0, {"decode": PERIOD_NS})), Session(only(0, {"decode": PERIOD_NS + 1}))
    in_time.loop.run(2)
    late.loop.run(2)
    assert [record.missed for record in in_time.records] == [False, False]
    assert [record.missed for record in late.records] == [True, False]


def test_after_an_overrun_the_next_tick_is_released_at_once_with_a_whole_deadline() -> None:
    session = Session(only(1, {"decode": 120 * MS}))
    session.loop.run(4)
    assert [record.release_ns // MS for record in session.records] == [0, 50, 170, 220]
    assert [record.missed for record in session.records] == [False, True, False, False]
    assert session.records[2].deadline_ns == 220 * MS


def test_every_whole_period_of_dilation_is_one_lost_slot() -> None:
    session = Session(lambda tick: {"decode": 70 * MS})
    session.loop.run(10)
    dilation_ms = 10 * 20
    assert sum(record.lost_slots for record in session.records) == dilation_ms // 50
    assert session.clock.now_ns() == (10 * 50 + dilation_ms) * MS


def test_a_world_a_little_too_slow_runs_a_little_slower_not_at_half_the_rate() -> None:
    session = Session(lambda tick: {"decode": 52 * MS})
    session.loop.run(100)
    releases = [record.release_ns for record in session.records]
    assert {later - earlier for earlier, later in pairwise(releases)} == {52 * MS}


def test_an_overrun_is_never_caught_up_with_extra_ticks() -> None:
    session = Session(lambda tick: {"decode": 150 * MS})
    session.loop.run(20)
    releases = [record.release_ns for record in session.records]
    assert all(later - earlier == 150 * MS for earlier, later in pairwise(releases))
    assert {record.lost_slots for record in session.records} == {2}


def test_overload_ends_with_its_cause() -> None:
    session = Session(lambda tick: {"decode": (150 if tick < 1200 else 10) * MS})
    session.loop.run(1300)
    assert all(record.missed for record in session.records[:1200])
    assert not any(record.missed for record in session.records[1200:]), "no debt is carried out of the overload"


def test_a_held_frame_is_counted_once_for_each_frame_period_it_stayed() -> None:
    session = Session(only(1, {"decode": 120 * MS}))
    session.loop.run(3)
    assert [record.held_frames for record in session.records] == [0, 2, 0]


def test_a_commit_that_reaches_into_the_next_slot_delays_it_and_loses_nothing() -> None:
    session = Session(only(0, {"decode": 40 * MS, "commit": 25 * MS}))
    session.loop.run(2)
    first, second = session.records
    assert (first.missed, first.lost_slots) == (False, 0)
    assert second.release_ns == 50 * MS
    assert second.start_ns == second.poll_ns == 65 * MS
    assert second.response_ns == 15 * MS, "what the commit took is missing from the next tick's budget"


def test_a_commit_longer_than_a_slot_makes_the_next_tick_late_and_that_moves_the_timetable() -> None:
    session = Session(only(0, {"commit": 130 * MS}))
    session.loop.run(3)
    assert [record.missed for record in session.records] == [False, True, False]
    assert [record.release_ns // MS for record in session.records] == [0, 50, 130]
    assert [record.lost_slots for record in session.records] == [0, 0, 0]
    assert session.records[1].response_ns == 80 * MS


@pytest.mark.parametrize("stage", ["condition", "denoise", "decode", "commit"])
@pytest.mark.parametrize("ms", [120, 200, 260, 400, 10_000])
def test_time_in_the_worlds_own_stages_is_a_miss_however_long(stage: str, ms: int) -> None:
    hitch = Session(only(1, {stage: ms * MS}))
    hitch.loop.run(6)
    assert sum(record.missed for record in hitch.records) == 1
    assert not any(record.clock_gap for record in hitch.records)
    assert max(record.response_ns for record in hitch.records) >= (ms - 50) * MS
    assert hitch.records[-1].release_ns >= ms * MS, "the world stood still for it"


def test_a_longer_hitch_never_looks_better_than_a_shorter_one() -> None:
    late_ns = []
    for ms in (60, 120, 200, 249, 251, 260, 400, 2_000):
        session = Session(lambda tick, ms=ms: {"decode": ms * MS} if tick % 20 == 10 else {})  # type: ignore[misc]
        session.loop.run(100)
        late_ns.append((sum(r.missed for r in session.records), sum(r.late_ns for r in session.records)))
    assert late_ns == sorted(late_ns)
    assert {misses for misses, _ in late_ns} == {5}


def test_a_deadline_shorter_than_the_period_can_be_missed_without_losing_a_slot() -> None:
    session = Session(only(0, {"decode": 30 * MS}), deadline_ns=20 * MS)
    session.loop.run(2)
    assert (session.records[0].missed, session.records[0].lost_slots) == (True, 0)
    assert session.records[0].held_frames == 1


@pytest.mark.parametrize("stage", ["decode", "commit"])
def test_a_process_that_was_stopped_is_one_clock_gap_and_no_miss(stage: str) -> None:
    session = Session(only(1, {stage: 10_000 * MS}), probe=KnownStops((50 * MS, 10_050 * MS)))
    session.loop.run(4)
    assert [record.clock_gap for record in session.records] == [False, True, False, False]
    assert session.records[1].gap_ns == (9_950 if stage == "decode" else 10_000) * MS, (
        "in decode, a period of it is free"
    )
    assert not any(record.missed or record.lost_slots or record.held_frames for record in session.records)
    assert session.recorder.events == {1: "clock_gap"}


def test_a_tick_that_was_late_by_itself_is_a_miss_beside_its_clock_gap() -> None:
    session = Session(only(1, {"decode": 1_000 * MS}), probe=KnownStops((60 * MS, 660 * MS)))
    session.loop.run(3)
    record = session.records[1]
    assert (record.clock_gap, record.gap_ns, record.missed) == (True, 600 * MS, True)
    assert record.late_ns == 350 * MS


def test_a_short_stop_is_lateness_like_any_other() -> None:
    session = Session(only(1, {"decode": 200 * MS}), probe=KnownStops((60 * MS, 260 * MS)))
    session.loop.run(3)
    assert [(r.clock_gap, r.missed) for r in session.records] == [(False, False), (False, True), (False, False)]


def test_work_ahead_that_takes_too_long_is_the_worlds_and_no_clock_gap() -> None:
    class SlowAhead(NullAhead):
        def prepare(self, release_ns: int) -> None:
            if release_ns == 2 * PERIOD_NS:
                session.clock.advance_ns(700 * MS)

    session = Session()
    session.loop._ahead = SlowAhead()
    session.loop.run(5)
    assert [record.clock_gap for record in session.records] == [False] * 5
    assert [record.missed for record in session.records] == [False, False, True, False, False]


def test_a_machine_stopped_between_ticks_is_one_clock_gap_too() -> None:
    class Suspended(ManualClock):
        def sleep_until(self, time_ns: int) -> None:
            super().sleep_until(time_ns + (10_000 * MS if time_ns == 2 * PERIOD_NS else 0))

    session = Session(lambda tick: {"decode": 45 * MS}, clock=Suspended())
    session.loop.run(5)
    assert [record.clock_gap for record in session.records] == [False, False, True, False, False]
    assert not any(record.missed or record.lost_slots for record in session.records)


def test_a_world_that_is_always_slow_cannot_hide_its_misses_as_clock_gaps() -> None:
    session = Session(lambda tick: {"decode": 400 * MS})
    session.loop.run(10)
    assert all(record.missed and not record.clock_gap for record in session.records)


def test_a_tick_that_was_woken_too_late_is_a_miss_whatever_the_cause() -> None:
    class Sleepy(ManualClock):
        def sleep_until(self, time_ns: int) -> None:
            super().sleep_until(time_ns + (120 * MS if time_ns == 2 * PERIOD_NS else 0))

    session = Session(clock=Sleepy())
    session.loop.run(4)
    assert [record.missed for record in session.records] == [False, False, True, False]
    assert [record.lost_slots for record in session.records] == [0, 0, 1, 0]
    assert [record.release_ns // MS for record in session.records] == [0, 50, 100, 220]


def test_an_interlude_takes_slots_shows_frames_and_says_where_to_go_on() -> None:
    class GoesBack:
        """Instead of ticks 3 and 4: shows two frames, slowly, and goes on at tick 1."""

        turns = 0

        def turn(self, next_tick: int) -> Turn | None:
            if next_tick < 3 or self.turns == 2:
                return None
            self.turns += 1
            session.clock.advance_ns(120 * MS)
            return Turn([np.full((48, 64, 3), self.turns, np.uint8)], next_tick if self.turns == 1 else 1)

    session = Session(interlude=GoesBack())
    session.loop.run(6)
    assert [record.tick for record in session.records] == [0, 1, 2, 1, 2, 3, 4, 5]
    assert [frame[0, 0, 0] for frame in session.display.frames[3:5]] == [1, 2]
    assert not any(record.missed or record.lost_slots or record.clock_gap for record in session.records)
    assert [record.resumed for record in session.records] == [True, False, False, True, False, False, False, False]


def test_what_the_machine_did_is_read_from_poll_to_present() -> None:
    class Counting(NullProbe):
        def use(self) -> HostUse:
            return HostUse(cpu_ns=7)

    session = Session(probe=Counting())
    session.loop.run(2)
    assert [record.host.cpu_ns for record in session.records] == [7, 7]


def test_a_fixed_clock_never_misses() -> None:
    session = Session()
    assert isinstance(session.clock, FixedClock)
    session.loop.run(50)
    assert not any(record.missed for record in session.records)
    assert session.clock.now_ns() == 49 * PERIOD_NS


# --- several frames per tick -----------------------------------------------------------------------------------


def frames_at(session: Session, count: int) -> list[int]:
    """When each of `count` frames of one tick was presented, in ms."""
    world, advance = session.world, session.world.advance

    def several(action: Action, plan: TickPlan) -> TickResult:
        result = advance(action, plan)
        return TickResult(
            list(result.frames) * count, result.steps_applied, result.stage_ns, result.step_ns, result.commit
        )

    world.advance = several  # type: ignore[method-assign]
    session.loop.run(1)
    return [time_ns // MS for time_ns in session.display.presented_ns]


def test_the_frames_of_one_tick_are_spread_evenly_over_the_room_it_has_left() -> None:
    session = Session(only(0, {"decode": 10 * MS}))
    assert frames_at(session, 4) == [10, 20, 30, 40]
    assert session.records[0].paced_ns == 30 * MS
    assert session.records[0].response_ns == 10 * MS


def test_a_late_tick_shows_its_frames_at_once() -> None:
    assert frames_at(Session(only(0, {"decode": 60 * MS})), 3) == [60, 60, 60]


# --- pause, single tick, stop, reset -----------------------------------------------------------------------------


class Pausing(ManualClock):
    """Calls `press[n]` when the loop waits for the n-th time: the player at the keys."""

    def __init__(self) -> None:
        super().__init__()
        self.press: dict[int, Any] = {}
        self.waits = 0

    def sleep_until(self, time_ns: int) -> None:
        super().sleep_until(time_ns)
        self.press.get(self.waits, lambda: None)()
        self.waits += 1


def test_a_pause_runs_no_ticks_and_costs_no_misses() -> None:
    clock = Pausing()
    session = Session(clock=clock)
    clock.press = {2: session.controls.toggle_pause, 100: session.controls.toggle_pause}
    session.loop.run(4)
    assert [record.release_ns // PERIOD_NS for record in session.records] == [0, 1, 100, 101]
    assert [record.resumed for record in session.records] == [True, False, True, False]
    assert not any(record.missed or record.lost_slots for record in session.records)


def test_a_single_tick_runs_one_and_stays_paused() -> None:
    clock = Pausing()
    session = Session(clock=clock)
    clock.press = {0: session.controls.toggle_pause, 5: session.controls.request_single_tick}
    clock.press[20] = session.controls.request_stop
    session.loop.run()
    assert [record.release_ns // PERIOD_NS for record in session.records] == [5]


def test_a_stop_ends_the_session_between_ticks() -> None:
    clock = Pausing()
    session = Session(clock=clock)
    clock.press = {3: session.controls.request_stop}
    session.loop.run()
    assert len(session.records) == session.loop.tick == 3


def test_a_reset_starts_the_world_anew_before_the_tick_and_is_in_the_recorded_action() -> None:
    clock = Pausing()
    session = Session(clock=clock, actions=[LEFT] * 6)
    clock.press = {3: session.controls.request_reset}
    session.loop.run(6)
    assert [action.reset for action in session.recorder.actions] == [False, False, False, True, False, False]
    assert session.recorder.events == {3: "reset:0"}
    checksums = list(session.recorder.checksums.values())
    assert checksums[3:] == checksums[:3], "the same world under the same inputs"


def test_a_reset_while_paused_shows_the_new_world() -> None:
    clock = Pausing()
    session = Session(clock=clock)
    clock.press = {0: session.controls.toggle_pause, 4: session.controls.request_reset}
    clock.press[9] = session.controls.request_stop
    session.loop.run()
    assert [action.reset for action in session.recorder.actions] == [True]


def replayed(ticks: Sequence[PlayedTick]) -> dict[int, int]:
    """The checksums of a second world that plays again what the first session recorded."""
    world, checksums = ToyWorld(), {}
    world.reset(0)
    for tick, played in enumerate(ticks):
        again(world, played, seed=0)
        checksums[tick] = world.checksum()
    return checksums


def eventful() -> Session:
    """Steering, a prompt, quality changes under load, a scripted reset and one to another seed."""
    clock = Pausing()
    actions = [LEFT] * 10 + [Action(prompt="night")] + [LEFT] * 9 + [Action(reset=True)] + [LEFT] * 60
    session = Session(
        lambda tick: {"denoise": (30 if 40 < tick < 60 else 8) * MS},
        actions=actions,
        governor=lambda clock: AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=PERIOD_NS),
        clock=clock,
    )
    clock.press = {30: lambda: session.controls.request_reset(seed=5)}
    session.loop.run(80)
    return session


def test_what_was_recorded_replays_the_session_exactly() -> None:
    session = eventful()
    assert {1, 4} <= set(session.recorder.steps), "the session must contain quality changes to be worth replaying"
    assert sorted(session.recorder.events.values()) == ["reset:0", "reset:5"]
    assert replayed(session.recorder.ticks) == session.recorder.checksums


def test_a_replay_at_another_quality_is_noticed() -> None:
    session = eventful()
    other = [replace(session.recorder.ticks[0], steps_applied=1), *session.recorder.ticks[1:]]
    assert replayed(other) != session.recorder.checksums


def test_a_replay_without_the_seed_of_a_reset_is_noticed() -> None:
    session = eventful()
    untold = [replace(played, events=()) for played in session.recorder.ticks]
    assert replayed(untold) != session.recorder.checksums


def test_a_tick_cut_short_says_so() -> None:
    session = Session(
        lambda tick: {"denoise": (9 if tick < 40 else 17) * MS},
        governor=lambda clock: AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=PERIOD_NS),
    )
    session.loop.run(41)
    assert session.records[40].reason.endswith("cut to 2 mid-tick")
    assert not any("cut" in record.reason for record in session.records[:40])


def test_run_goes_on_where_it_stopped() -> None:
    whole, halves = Session(actions=[LEFT] * 10), Session(actions=[LEFT] * 10)
    whole.loop.run(10)
    halves.loop.run(4)
    halves.loop.run(6)
    assert whole.recorder.checksums == halves.recorder.checksums


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"deadline_ns": 0}, "deadline"), ({"period_ns": 0}, "period"), ({"checksum_every": -1}, "checksum_every")],
)
def test_impossible_settings_are_refused_with_their_value(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Session(**wrong)  # type: ignore[arg-type]
