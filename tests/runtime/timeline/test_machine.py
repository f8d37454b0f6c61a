"""Claims about playing with time in a session: rewind, branches, quick-save, the split view; on a manual clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nextframe.runtime.core import Action, ManualClock, PlayedTick
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop
from nextframe.runtime.timeline.machine import TimeMachine, TimeSettings, half_size
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import PERIOD_NS, ListDisplay, ListedController, ListObserver

RIGHT, LEFT = (Action(axes={"throttle": 127, "steer": steer}) for steer in (90, -90))


class Sums:
    """A recorder that keeps tick and checksum."""

    problem = ""

    def __init__(self) -> None:
        self.sums: list[tuple[int, int | None]] = []

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        self.sums.append((tick, played.checksum))

    def close(self) -> None:
        pass


class TimedSession:
    """A toy session whose player can go back: `run(ticks)` runs that many slots, ticks or not."""

    def __init__(self, folder: Path, action: Callable[[int], Action] = lambda tick: RIGHT) -> None:
        self.clock, self.said = ManualClock(), list[str]()
        self.world = ToyWorld(self.clock)
        self.display, self.recorder, self.observer = ListDisplay(self.clock), Sums(), ListObserver()
        self.breaks = 0
        self.action = action
        self.time = TimeMachine(
            self.world, self.recorder, TimeSettings(folder), say=self.said.append, broken=self._broken
        )
        self.loop = Loop(
            self.world,
            _Player(self),
            self.display,
            FixedGovernor(2),
            self.clock,
            tick_period_ns=PERIOD_NS,
            deadline_ns=PERIOD_NS,
            observer=self.observer,
            recorder=self.time,
            interlude=self.time,
            checksum_every=1,
        )

    def _broken(self, tick: int) -> None:
        self.breaks += 1

    def rewind(self, frames: int) -> None:
        """Hold the key for so many shown frames, then let go."""
        self.time.hold_rewind(True)
        shown = len(self.display.frames) + frames
        while len(self.display.frames) < shown:
            turn = self.time.turn(self.loop.tick)
            assert turn is not None
            for frame in turn.frames:
                self.display.present(frame)
        self.time.hold_rewind(False)

    def checksums(self) -> list[tuple[int, int]]:
        """Tick and checksum, as recorded, in the order they were played."""
        return self.recorder.sums


class _Player(ListedController):
    def __init__(self, session: TimedSession) -> None:
        super().__init__(session.clock)
        self._session = session

    def poll(self, tick: int) -> Action:
        return self._session.action(tick)


def test_after_a_rewind_the_same_input_leads_to_the_same_world(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.loop.run(60)
    session.rewind(12)
    session.loop.run(30)
    played = session.checksums()
    first = dict(played[:60])
    again = [pair for pair in played[60:] if pair[0] in first]
    assert len(again) >= 12
    assert all(first[tick] == checksum for tick, checksum in again)


def test_after_a_rewind_another_input_leads_elsewhere(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.loop.run(60)
    session.rewind(12)
    session.action = lambda tick: LEFT
    session.loop.run(30)
    played = session.checksums()
    first = dict(played[:60])
    assert any(first[tick] != checksum for tick, checksum in played[60:] if tick in first)


def test_a_rewind_shows_the_past_backward_and_breaks_the_recording_once(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.loop.run(40)
    forward = list(session.display.frames)
    session.rewind(8)
    backward = session.display.frames[40:]
    assert all(np.array_equal(frame, forward[39 - 1 - index]) for index, frame in enumerate(backward))
    assert session.breaks == 0, "nothing is lost while the key is only held"
    session.loop.run(2)
    assert session.breaks == 1


def test_a_key_that_is_held_at_the_start_finds_no_past_and_play_goes_on(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.time.hold_rewind(True)
    session.loop.run(3)
    assert session.observer.records[0].tick == 0


def test_a_quick_load_goes_on_where_the_quick_save_was(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.loop.run(20)
    session.time.request_save()
    session.loop.run(30)
    session.time.wait_for_saves()
    session.time.request_load()
    session.loop.run(10)
    played = session.checksums()
    first = dict(played[:50])
    after = played[50:]
    assert after[0][0] == 20
    assert all(first[tick] == checksum for tick, checksum in after[:30])
    assert "saved: quick" in session.said
    assert session.breaks == 1


def test_a_slot_that_is_not_there_is_said_and_play_goes_on(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.time.request_load("nothing")
    session.loop.run(3)
    assert "no such save" in session.said[0]
    assert [record.tick for record in session.observer.records] == [0, 1, 2]


def test_the_split_view_plays_both_branches_and_leaves_the_present_alone(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.loop.run(40)
    session.rewind(10)
    session.action = lambda tick: LEFT
    session.loop.run(15)
    before, tick = session.world.checksum(), session.loop.tick
    session.time.request_split()
    shown = len(session.display.frames)
    turn = session.time.turn(tick)
    while turn is not None and turn.frames:
        session.display.present(turn.frames[0])
        turn = session.time.turn(tick)
    assert len(session.display.frames) - shown > 15
    halves = [np.split(frame, 2, axis=1) for frame in session.display.frames[shown : shown + 12]]
    assert any(not np.array_equal(a, b) for a, b in halves), "the branches part"
    assert session.world.checksum() == before
    assert session.loop.tick == tick


def test_the_split_view_can_be_left_at_any_time(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.loop.run(40)
    session.rewind(10)
    session.loop.run(5)
    before, tick = session.world.checksum(), session.loop.tick
    session.time.request_split()
    for _ in range(3):
        assert session.time.turn(tick) is not None
    session.time.request_split()
    session.time.turn(tick)
    assert session.world.checksum() == before
    assert session.time.turn(tick) is None


def test_without_a_rewind_there_are_no_branches_to_show(tmp_path: Path) -> None:
    session = TimedSession(tmp_path)
    session.time.request_split()
    session.loop.run(3)
    assert "no branches yet" in session.said[0]


def test_two_frames_at_half_their_size_fit_into_one() -> None:
    left, right = np.full((6, 8, 3), 10, np.uint8), np.full((6, 8, 3), 200, np.uint8)
    frame = half_size(np.concatenate([left, right], axis=1))
    assert frame.shape == (6, 8, 3)
    assert frame[2, 0, 0] == 10
    assert frame[2, -1, 0] == 200
    assert frame[0].max() == 0
