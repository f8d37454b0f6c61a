"""Claims about ticks that go wrong: latents that are no numbers, devices without room, and playing it all again."""

from __future__ import annotations

import random
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nextframe.model.generator.guards import FiniteCheck, is_out_of_memory, lack_of_room
from nextframe.runtime.ahead.world import AheadWorld
from nextframe.runtime.core import (
    Action,
    ClockGap,
    ConfigError,
    DriftAction,
    FixedClock,
    Frame,
    Mishaps,
    PlayedTick,
    ReplayError,
    Reset,
    TickPlan,
    always_open,
)
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop, period_ns
from nextframe.runtime.recording.compare import belongs_to, differences, leaves
from nextframe.runtime.recording.format import Replay, header_for
from nextframe.runtime.recording.playback import Playback, ReplayVerifier
from nextframe.runtime.recording.reader import load_snapshot, read_replay
from nextframe.runtime.recording.writer import ReplayWriter
from nextframe.runtime.session.choices import SessionOptions
from nextframe.runtime.session.headless import run_session
from nextframe.runtime.session.parts.guards import (
    MOST_DISCARDED_IN_A_ROW,
    MOST_SAID,
    GuardPart,
    TooManyDiscardedError,
    summary,
)
from nextframe.runtime.session.playback import PlaybackOptions, play_back
from nextframe.runtime.session.startup import StartUp, open_world
from nextframe.runtime.tick.controls import SessionControls
from nextframe.runtime.tick.events import events_from_text, events_to_text, gathered
from nextframe.runtime.timeline.line import play_again
from nextframe.runtime.timeline.synctest import synctest
from nextframe.worlds.neural.tick import OutOfRoomError
from nextframe.worlds.neural.world import NeuralWorld
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import ListDisplay, ListObserver, ListRecorder
from tests.support.worlds.faulty import NoRoom, Once, poison
from tests.support.worlds.small import SMALL_WINDOW_TICKS, small_neural

BAD = [float("nan"), float("inf"), float("-inf")]
SEED = 3


def world_at(ticks: int = 0, *, overlap: bool = False) -> NeuralWorld:
    world = small_neural()
    world.overlap = overlap
    world.reset(SEED)
    for tick in range(ticks):
        step(world, tick)
    return world


def action_of(tick: int) -> Action:
    prompt = ("day", "night")[tick // 7 % 2] if tick % 7 == 3 else None
    return Action(axes={"steer": 127 if tick // 5 % 2 else -60, "throttle": 90}, prompt=prompt)


def step(world: Any, tick: int, steps: int = 2, mishaps: Mishaps | None = None) -> tuple[Frame, int, Mishaps]:
    """One tick, committed: its frame, the steps applied, what happened."""
    result = world.advance(action_of(tick), TickPlan(steps, 0, mishaps=mishaps or Mishaps()))
    result.commit()
    return result.frames[0].copy(), result.steps_applied, result.mishaps()


class Moving:
    """The actions above, as a controller."""

    last_input_ns: int | None = None

    def __init__(self, resets: tuple[int, ...] = ()) -> None:
        self._resets = resets

    def poll(self, tick: int) -> Action:
        return replace(action_of(tick), reset=tick in self._resets)

    def close(self) -> None:
        pass


class Live:
    """A session of a world on a fixed clock, with a guard, and everything it saw at hand."""

    def __init__(
        self, world: Any, *, recorder: Any = None, aftercare: Any = None, resets: tuple[int, ...] = ()
    ) -> None:
        clock = FixedClock()
        self.controls, self.said = SessionControls(), []
        self.recorder: Any = recorder or ListRecorder()
        self.display, self.observer = ListDisplay(clock), ListObserver()
        said: list[str] = self.said
        self.guard = GuardPart(self.controls, said.append)
        self.loop = Loop(
            world,
            Moving(resets),
            self.display,
            FixedGovernor(2),
            clock,
            tick_period_ns=period_ns(world.info.tick_hz),
            deadline_ns=1,
            observer=_Both(self.observer, self.guard),
            recorder=self.recorder,
            controls=self.controls,
            checksum_every=1,
            seed=SEED,
            aftercare=aftercare,
        )


class _Both:
    def __init__(self, *observers: Any) -> None:
        self._observers = observers

    def observe(self, record: Any) -> None:
        for observer in self._observers:
            observer.observe(record)


def recorded(world: NeuralWorld, path: Path, ticks: int = 40, resets: tuple[int, ...] = ()) -> Replay:
    """A live session with a snapshot every 10 ticks, read back."""
    writer = ReplayWriter(
        path, header_for(world.info, seed=SEED, environment={}), live=False, take_snapshot=world.snapshot,
        snapshot_every_ticks=10,
    )  # fmt: skip
    Live(world, recorder=writer, resets=resets).loop.run(ticks)
    writer.close()
    return read_replay(path)


def played_back(replay: Replay, path: Path, start: int = 0) -> ReplayVerifier:
    """By a world in which nothing goes wrong, from a tick that holds a snapshot or from the beginning."""
    world = world_at()
    verifier = ReplayVerifier(replay, start)
    if start:
        _, snapshot = replay.start_before(start)
        assert snapshot is not None
        world.restore(load_snapshot(path, snapshot))
    Playback(replay, world, verifier, start).run(len(replay.ticks))
    return verifier


# --- a latent that is no number -------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("value", BAD)
def test_a_bad_latent_reaches_neither_memory_nor_screen(value: float, overlap: bool) -> None:
    world = poison(world_at(overlap=overlap), [4], value)
    for tick in range(4):
        shown, _, mishaps = step(world, tick)
        assert mishaps == Mishaps()
    before = world.snapshot()
    held, steps, mishaps = step(world, 4)
    assert mishaps == Mishaps(discarded=True)
    assert steps == 2
    np.testing.assert_array_equal(held, shown)
    assert [part.path for part in differences(before, world.snapshot())] == ["generator/tick"]
    world.close()


def test_negative_control_without_the_check_memory_and_picture_go_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FiniteCheck, "answer", lambda self: True)
    world = poison(world_at(), [4])
    frames = [step(world, tick)[0] for tick in range(5)]
    assert (frames[4] != frames[3]).any()
    assert not all(torch.isfinite(lane.keys).all() for lane in world.generator.memory.lanes)
    after = step(world, 5)
    assert not torch.isfinite(world.generator.last).all()
    assert after[2] == Mishaps()


def test_a_world_goes_on_after_a_discarded_tick_as_if_it_had_stood_still_for_it() -> None:
    faulty, healthy = poison(world_at(4), [4]), world_at(4)
    step(faulty, 4)
    healthy.generator.skip()
    for tick in range(5, 12):
        np.testing.assert_array_equal(step(faulty, tick)[0], step(healthy, tick)[0])
    assert torch.isfinite(faulty.generator.last).all()


def test_the_prompt_of_a_discarded_tick_is_taken_on() -> None:
    world = poison(world_at(3), [3])
    before = world.prompt
    assert action_of(3).prompt is not None
    step(world, 3)
    assert world.prompt != before


def test_the_noise_goes_on_so_a_discarded_tick_is_not_made_again() -> None:
    world = poison(world_at(4), [4])
    noise = world.generator.noise(SEED)
    step(world, 4)
    assert not torch.equal(noise, world.generator.noise(SEED))


def test_a_tick_begun_before_a_discarded_one_is_no_longer_current() -> None:
    world = poison(world_at(4), [4])
    early = world.start(action_of(4), 2)
    step(world, 4)
    assert not early.is_current


def test_the_drift_monitor_is_not_told_of_a_discarded_tick() -> None:
    class Monitor:
        seen = 0

        def observe(self, latent: Any, condition: Any) -> None:
            assert np.isfinite(latent).all()
            self.seen += 1

        def reset(self) -> None:
            pass

    world, monitor = poison(world_at(), [2, 3]), Monitor()
    world.watch(monitor, decides=False)  # type: ignore[arg-type]
    for tick in range(6):
        step(world, tick)
    assert monitor.seen == 4


def test_ticks_begun_ahead_are_discarded_like_others() -> None:
    clock = FixedClock()
    serial, inner = poison(world_at(), [5, 9]), poison(world_at(), [5, 9])
    ahead = AheadWorld(inner, clock)
    for tick in range(14):
        result = ahead.advance(action_of(tick), TickPlan(2, deadline_ns=0))
        result.commit()
        frame, _, mishaps = step(serial, tick)
        np.testing.assert_array_equal(result.frames[0], frame)
        assert result.mishaps() == mishaps
        assert ahead.checksum() == serial.checksum()
        ahead.prepare(clock.now_ns() + 1_000_000)
    assert ahead.guess().outcome == "hit"


# --- a discarded tick in a session ------------------------------------------------------------------------------------


def test_the_loop_records_a_discarded_tick_and_counts_its_frame_as_held() -> None:
    session = Live(poison(world_at(), [6, 7]))
    session.loop.run(10)
    assert session.recorder.events == {6: "discarded", 7: "discarded"}
    assert [record.held_frames for record in session.observer.records] == [0] * 6 + [1, 1] + [0] * 2
    np.testing.assert_array_equal(session.display.frames[7], session.display.frames[5])
    assert session.loop.tick == 10
    assert session.said == ["tick 6: its latent is no number; discarded, the last picture is held"]


def test_nothing_is_done_about_drift_after_a_discarded_tick() -> None:
    class Aftercare:
        asked: list[int] = []  # noqa: RUF012 - of this test alone

        def after_commit(self, tick: int) -> str | None:
            self.asked.append(tick)
            return None

    aftercare = Aftercare()
    Live(poison(world_at(), [2]), aftercare=aftercare).loop.run(5)
    assert aftercare.asked == [0, 1, 3, 4]


@pytest.mark.parametrize("start", [0, 10, 20])
def test_a_healthy_world_plays_back_a_session_with_discarded_ticks(tmp_path: Path, start: int) -> None:
    path = tmp_path / "a.nfr"
    replay = recorded(poison(world_at(), [0, 6, 10, 11, 25]), path)
    assert sum(tick.mishaps.discarded for tick in replay.ticks) == 5
    verifier = played_back(replay, path, start)
    assert verifier.verified
    assert verifier.checksums_compared == 40 - start


def test_a_reset_and_a_discard_of_the_same_tick_play_back(tmp_path: Path) -> None:
    replay = recorded(poison(world_at(), [0]), tmp_path / "a.nfr", resets=(15,))
    assert replay.ticks[15].events == (Reset(3), Mishaps(discarded=True))
    assert played_back(replay, tmp_path / "a.nfr").verified


def test_negative_control_a_playback_that_is_not_told_differs_at_that_tick(tmp_path: Path) -> None:
    replay = recorded(poison(world_at(), [6]), tmp_path / "a.nfr")
    untold = replace(replay, ticks=[replace(tick, events=()) for tick in replay.ticks])
    found = played_back(untold, tmp_path / "a.nfr").first_difference
    assert found is not None
    assert (found.tick, found.what) == (6, "checksum")


def test_a_rewind_plays_a_discarded_tick_again_as_it_was() -> None:
    world = poison(world_at(4), [4], only_once=True)
    before = world.snapshot()
    frame, steps, mishaps = step(world, 4)
    after = world.checksum()
    world.restore(before)
    again = play_again(world, PlayedTick(action_of(4), steps, after, gathered(mishaps)), 4)
    np.testing.assert_array_equal(again[0], frame)


@pytest.mark.parametrize("only_once", [False, True])
def test_synctest_agrees_over_discarded_ticks_that_come_back_or_do_not(only_once: bool) -> None:
    world = poison(world_at(), [5, 12, 13], only_once=only_once)
    found = synctest(world, action_of, depth=4, ticks=20, plans=lambda tick: TickPlan(2, deadline_ns=0), seed=SEED)
    assert found.same, found.mismatch


def test_negative_control_synctest_sees_a_discarded_tick_that_is_not_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlayedTick, "mishaps", Mishaps())
    world = poison(world_at(), [5], only_once=True)
    found = synctest(world, action_of, depth=4, ticks=20, plans=lambda tick: TickPlan(2, deadline_ns=0), seed=SEED)
    assert found.mismatch is not None
    assert found.mismatch.tick == 5


# --- when it does not stop --------------------------------------------------------------------------------------------


def test_a_session_ends_after_a_second_of_discarded_ticks_with_all_of_them_recorded() -> None:
    session = Live(poison(world_at(), range(5, 1000)))
    session.loop.run(200)
    last = 5 + MOST_DISCARDED_IN_A_ROW - 1
    assert session.loop.tick == last + 1
    assert len(session.recorder.events) == MOST_DISCARDED_IN_A_ROW
    with pytest.raises(TooManyDiscardedError, match=f"tick {last}: .*reset"):
        session.guard.check()


def test_negative_control_one_good_tick_starts_the_count_anew() -> None:
    bad = [tick for tick in range(60) if tick % MOST_DISCARDED_IN_A_ROW]
    session = Live(poison(world_at(), bad))
    session.loop.run(60)
    session.guard.check()
    guards = session.guard.as_report()["guards"]
    assert (guards["discarded_ticks"], guards["first_discarded_tick"], guards["discarded"]) == (57, 1, bad)


def test_a_reset_cures_a_memory_that_has_gone_bad() -> None:
    world = world_at(4)
    world.generator.memory.lanes[0].keys.fill_(float("nan"))
    assert step(world, 4)[2].discarded
    assert step(world, 5)[2].discarded
    world.reset(SEED)
    assert not step(world, 0)[2].discarded


def test_a_fault_that_comes_and_goes_does_not_flood_the_console() -> None:
    session = Live(poison(world_at(), range(0, 60, 2)))
    session.loop.run(60)
    assert len(session.said) == MOST_SAID
    assert session.said[-1].endswith("(further ones are in the report)")


def test_the_summary_names_the_first_tick_and_says_nothing_of_a_good_session() -> None:
    good, bad = Live(world_at()), Live(poison(world_at(), [3, 5]))
    for session in (good, bad):
        session.loop.run(8)
    assert summary(good.guard.as_report()["guards"]) is None
    assert summary(bad.guard.as_report()["guards"]) == "guards: 2 discarded ticks, the first 3"


# --- a device without room --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("place", ["start", "step"])
def test_a_tick_without_room_is_made_again_on_the_lowest_rung(place: str, overlap: bool) -> None:
    faulty, healthy, fault = world_at(9, overlap=overlap), world_at(9), Once(place)
    NoRoom(faulty, fault)
    fault.armed = True
    frame, steps, mishaps = step(faulty, 9, steps=4)
    assert (steps, mishaps) == (1, Mishaps(out_of_memory=True))
    np.testing.assert_array_equal(frame, step(healthy, 9, steps=1)[0])
    assert faulty.checksum() == healthy.checksum()
    assert step(faulty, 10, steps=4)[1:] == (4, Mishaps())
    faulty.close()


def test_a_decode_without_room_brings_the_tick_to_the_lowest_rung() -> None:
    faulty, healthy, fault = world_at(9), world_at(9), Once("decode")
    NoRoom(faulty, fault)
    fault.armed = True
    frame, steps, mishaps = step(faulty, 9, steps=4)
    assert (steps, mishaps) == (1, Mishaps(out_of_memory=True))
    np.testing.assert_array_equal(frame, step(healthy, 9, steps=1)[0])


def test_with_overlap_a_decode_without_room_is_tried_again_since_its_latent_is_on_its_way_to_memory() -> None:
    faulty, healthy, fault = world_at(9, overlap=True), world_at(9), Once("decode")
    NoRoom(faulty, fault)
    fault.armed = True
    frame, steps, mishaps = step(faulty, 9, steps=4)
    assert (steps, mishaps) == (4, Mishaps(out_of_memory=True))
    np.testing.assert_array_equal(frame, step(healthy, 9, steps=4)[0])
    faulty.close()


@pytest.mark.parametrize("overlap", [False, True])
def test_a_commit_without_room_is_done_again_and_changes_nothing(overlap: bool) -> None:
    faulty, healthy, fault = world_at(9, overlap=overlap), world_at(9), Once("commit")
    NoRoom(faulty, fault)
    fault.armed = True
    assert step(faulty, 9)[1:] == (2, Mishaps(out_of_memory=True))
    step(healthy, 9)
    assert faulty.checksum() == healthy.checksum()
    faulty.close()


def test_when_the_lowest_rung_has_no_room_either_the_memory_in_view_is_halved() -> None:
    world, room = world_at(9), 3
    NoRoom(world, lambda place: place == "start" and world.generator.window_seen > room)
    _, steps, mishaps = step(world, 9, steps=4)
    assert (steps, mishaps) == (1, Mishaps(out_of_memory=True, window=SMALL_WINDOW_TICKS // 2))
    assert step(world, 10, steps=4)[1:] == (4, Mishaps())  # with less in view there is room for every step


def test_less_memory_in_view_is_other_frames_so_the_guard_is_seen_to_work() -> None:
    narrow, whole = world_at(9), world_at(9)
    step(narrow, 9, mishaps=Mishaps(window=1))
    step(whole, 9)
    assert narrow.checksum() != whole.checksum()


def test_a_commit_that_never_fits_goes_on_with_less_in_view_from_there() -> None:
    world = world_at(9)
    NoRoom(world, lambda place: place == "commit" and world.generator.window_seen > 3)
    healthy = world_at(9)
    frame, _, mishaps = step(world, 9)
    assert mishaps == Mishaps(out_of_memory=True, commit_window=3)
    np.testing.assert_array_equal(frame, step(healthy, 9, mishaps=mishaps)[0])
    assert world.checksum() == healthy.checksum()


def test_a_narrowed_window_is_state_until_a_reset() -> None:
    world = world_at(9)
    step(world, 9, mishaps=Mishaps(window=3))
    snapshot, crc = world.snapshot(), world.checksum()
    covered = [path for path, _ in leaves(snapshot) if any(belongs_to(path, p.name) for p in world.state_inventory())]
    assert covered == [path for path, _ in leaves(snapshot)]
    assert "generator/limit" in covered
    world.reset(SEED)
    assert world.generator.window_seen == SMALL_WINDOW_TICKS
    assert "limit" not in world.snapshot()["generator"]
    fresh = world_at()
    assert world.checksum() == fresh.checksum()
    fresh.restore(snapshot)
    assert fresh.generator.window_seen == 3
    assert fresh.checksum() == crc


def test_a_tick_that_is_dropped_leaves_the_window_as_it_was() -> None:
    world = world_at(9)
    before = world.checksum()
    NoRoom(world, lambda place: place == "start" and world.generator.window_seen > 3)
    tick = world.start(action_of(9), 4)
    tick.denoise(4, always_open)
    assert tick.mishaps.window == 3
    assert world.generator.window_seen == SMALL_WINDOW_TICKS
    assert world.checksum() == before


def test_a_device_that_never_has_room_ends_the_session_with_one_clear_line() -> None:
    world = world_at(9)
    NoRoom(world, lambda place: place == "step")
    with pytest.raises(OutOfRoomError, match="expected room on cpu for a tick of 1 denoise steps with 1 ticks"):
        step(world, 9)


def test_negative_control_another_error_is_not_taken_for_a_lack_of_room() -> None:
    world, fault = world_at(9), Once("step")
    NoRoom(world, fault, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    fault.armed = True
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        step(world, 9)


def test_a_tick_begun_ahead_without_room_is_shown_on_the_lowest_rung() -> None:
    clock, world, fault = FixedClock(), world_at(9), Once("step")
    NoRoom(world, fault)
    ahead = AheadWorld(world, clock)
    ahead.advance(Action(), TickPlan(4, deadline_ns=0)).commit()
    fault.armed = True
    ahead.prepare(clock.now_ns() + 1)  # ends, although on this clock there is always time for one step more
    result = ahead.advance(Action(), TickPlan(4, deadline_ns=0))
    result.commit()
    assert (result.steps_applied, result.mishaps()) == (1, Mishaps(out_of_memory=True))
    assert ahead.guess().outcome == "hit"


@pytest.mark.parametrize("start", [0, 10, 20, 30])
def test_a_healthy_world_plays_back_a_session_that_ran_out_of_room_again_and_again(tmp_path: Path, start: int) -> None:
    world, draws = world_at(), random.Random(5)
    poison(world, [7, 19])

    def lacks(place: str) -> bool:
        cramped = place == "start" and world.generator.tick > 23 and world.generator.window_seen > 3
        return cramped or draws.random() < 0.03

    NoRoom(world, lacks)
    path = tmp_path / "a.nfr"
    replay = recorded(world, path, resets=(35,))
    events = [tick.mishaps for tick in replay.ticks]
    assert sum(one.out_of_memory for one in events) > 3
    assert any(one.window for one in events)
    assert sum(one.discarded for one in events) == 2
    assert played_back(replay, path, start).verified


def test_the_report_says_when_room_was_lacking_and_what_was_done() -> None:
    world = world_at()
    NoRoom(world, lambda place: place == "start" and world.generator.tick > 3 and world.generator.window_seen > 3)
    session = Live(world)
    session.loop.run(8)
    guards = session.guard.as_report()["guards"]
    assert guards["out_of_memory"] == [4]
    assert guards["memory_windows"] == [{"tick": 4, "window_ticks": 3}]
    assert session.said == ["tick 4: the device had no room; 3 ticks of memory are in view from here on"]
    assert session.recorder.events == {4: "out_of_memory,window:3"}


def test_a_world_over_processes_refuses_a_tick_that_was_played_with_less_in_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = world_at(2)
    monkeypatch.setattr(type(world.generator), "can_see_less", False)
    with pytest.raises(ConfigError, match="in one process"):
        step(world, 2, mishaps=Mishaps(window=3))


# --- the parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("place", [0, 17, 99])
def test_one_bad_number_among_good_ones_is_found(value: float, place: int) -> None:
    latent, check = torch.randn(1, 100), FiniteCheck()
    latent[0, place] = value
    check.ask(latent)
    assert not check.answer()


def test_large_numbers_are_numbers() -> None:
    check = FiniteCheck()
    check.ask(torch.full((1, 100), 3e38))
    assert check.answer()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_asking_waits_for_nothing_and_the_answer_is_right() -> None:
    check, latent = FiniteCheck(), torch.zeros(1, 100, device="cuda")
    for value, good in ((1.0, True), (float("nan"), False), (2.0, True)):
        latent[0, 5] = value
        with torch.cuda.device(0):
            torch.cuda.set_sync_debug_mode("error")
            check.ask(latent)
            torch.cuda.set_sync_debug_mode("default")
        assert check.answer() is good


def test_what_the_host_s_allocator_says_is_known_for_a_lack_of_room() -> None:
    assert lack_of_room(lambda: torch.empty(1 << 60) and None, torch.device("cpu")) is not None
    assert lack_of_room(lambda: None, torch.device("cpu")) is None
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("broken"))


def test_the_tensors_of_failed_work_are_free_before_it_is_tried_again() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def work() -> None:
        tensor = torch.zeros(8)
        kept.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("no room for more")

    assert lack_of_room(work, torch.device("cpu")) == "no room for more"
    assert kept[0]() is None


@pytest.mark.parametrize(
    "mishaps",
    [Mishaps(), Mishaps(True), Mishaps(False, True), Mishaps(True, True, 12, 3), Mishaps(commit_window=1)],
)
def test_an_event_says_all_of_it_among_other_events(mishaps: Mishaps) -> None:
    played = PlayedTick(Action(), 2, events=gathered(Reset(7), mishaps, ClockGap(), DriftAction("log")))
    assert events_from_text(events_to_text(played.events)) == played.events
    assert played.plan(reason="again").mishaps == mishaps


@pytest.mark.parametrize(
    "text", ["window:", "window:0", "window:-3", "commit_window:x", "window:99999999999", "window:³"]
)
def test_a_damaged_event_is_refused_with_one_clear_line(text: str) -> None:
    events = events_from_text(text)
    assert events_to_text(events) == text
    with pytest.raises(ReplayError, match="recorded event"):
        PlayedTick(Action(), 2, events=events).plan(reason="again")


def test_a_world_without_guards_has_no_mishaps_and_minds_no_forced_ones() -> None:
    world = ToyWorld()
    world.reset(0)
    result = world.advance(Action(), TickPlan(world.info.ladder[0], 0, mishaps=Mishaps(discarded=True)))
    result.commit()
    assert result.mishaps() == Mishaps()


# --- whole sessions ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_session_of_the_shipped_world_survives_both_faults_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faulty(*args: Any, **named: Any) -> Any:
        opened = open_world(*args, **named)
        poison(opened.world, [12, 13])  # type: ignore[arg-type]
        fault = Once("step")
        NoRoom(opened.world, fault)  # type: ignore[arg-type]
        fault.armed = True
        return opened

    monkeypatch.setattr("nextframe.runtime.session.headless.open_world", faulty)
    path = tmp_path / "a.nfr"
    options = SessionOptions(
        "circuit", ticks=30, idle=True, clock="fixed", record=path, out=tmp_path, pictures=False
    )  # fmt: skip
    guards = run_session(options, StartUp()).report["guards"]
    assert (guards["discarded"], guards["out_of_memory"]) == ([12, 13], [0])
    assert "tick 12: its latent is no number" in capsys.readouterr().err
    monkeypatch.undo()
    assert play_back(PlaybackOptions(path, verify=True)) == 0


@pytest.mark.slow
def test_a_session_of_nothing_but_bad_latents_ends_with_an_error_and_everything_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*args: Any, **named: Any) -> Any:
        opened = open_world(*args, **named)
        poison(opened.world, range(5, 1000))  # type: ignore[arg-type]
        return opened

    monkeypatch.setattr("nextframe.runtime.session.headless.open_world", faulty)
    path = tmp_path / "a.nfr"
    with pytest.raises(TooManyDiscardedError, match="tick 24"):
        run_session(
            SessionOptions("circuit", ticks=100, idle=True, clock="fixed", record=path, out=tmp_path, pictures=False),
            StartUp(),
        )
    assert (tmp_path / "report.json").is_file()
    assert read_replay(path).complete
    monkeypatch.undo()
    assert play_back(PlaybackOptions(path, verify=True)) == 0
