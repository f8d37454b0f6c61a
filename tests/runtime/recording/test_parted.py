"""Claims about recordings through time travel: where the line of ticks breaks, the recording goes on in a next file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.core import Action, ManualClock, PlayedTick, ReplayError
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop, Recorder
from nextframe.runtime.recording.format import header_for
from nextframe.runtime.recording.parted import PartedRecording, PartStart, part_path
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.recording.writer import ReplayWriter
from nextframe.runtime.session.choices import make_recorder
from nextframe.runtime.session.playback import PlaybackOptions, play_back
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.runtime.session.startup import OpenWorld
from nextframe.runtime.timeline.machine import TimeMachine, TimeSettings
from tests.support.doubles import PERIOD_NS, ListDisplay, ListRecorder

RIGHT, LEFT = (Action(axes={"throttle": 127, "steer": steer}) for steer in (90, -90))


class RecordedSession:
    """A toy session that is recorded and whose player can go back: `run(ticks)`, `rewind(frames)`, `save`, `load`."""

    def __init__(
        self, folder: Path, *, overwrite: bool = False, snapshot: bool = True, checksum_every: int = 20
    ) -> None:
        self.clock, self.said, self.steer = ManualClock(), list[str](), RIGHT
        self.last_input_ns: int | None = None
        found = find_world("toy")
        self.world = load_world(found, self.clock)
        self.world.reset(0)
        opened = OpenWorld(found, self.world, {})

        def make(start: PartStart) -> Recorder:
            noted = replace(opened, environment=dict(start.notes))
            state = start.state if snapshot else None
            return make_recorder(start.path, noted, 0, overwrite=start.overwrite, live=False, initial_snapshot=state)

        self.recording = PartedRecording(folder / "a.nfr", self.world, make, say=self.said.append, overwrite=overwrite)
        self.time = TimeMachine(
            self.world, self.recording, TimeSettings(folder), say=self.said.append, broken=self.recording.go_on_from
        )
        self.loop = Loop(
            self.world,
            self,
            ListDisplay(self.clock),
            FixedGovernor(2),
            self.clock,
            tick_period_ns=PERIOD_NS,
            deadline_ns=PERIOD_NS,
            recorder=self.time,
            interlude=self.time,
            checksum_every=checksum_every,
        )

    def poll(self, tick: int) -> Action:
        return self.steer

    def close(self) -> None:
        pass

    def rewind(self, frames: int) -> None:
        """Hold the key for so many shown frames, then let go and land."""
        self.time.hold_rewind(True)
        for _ in range(frames):
            assert self.time.turn(self.loop.tick) is not None
        self.time.hold_rewind(False)

    def load(self) -> None:
        self.time.wait_for_saves()
        self.time.request_load()

    def end(self) -> list[Path]:
        self.time.close()
        return self.recording.paths


def verified(path: Path) -> bool:
    return play_back(PlaybackOptions(path, verify=True)) == 0


def test_after_a_rewind_the_recording_goes_on_in_a_next_part_and_both_verify(tmp_path: Path) -> None:
    session = RecordedSession(tmp_path)
    session.loop.run(60)
    session.rewind(12)
    session.steer = LEFT
    session.loop.run(50)
    paths = session.end()
    assert [path.name for path in paths] == ["a.nfr", "a-2.nfr"]
    assert all(map(verified, paths))
    first, second = map(read_replay, paths)
    assert (len(first.ticks), first.complete, second.complete) == (60, True, True)
    assert 40 <= int(second.header.environment["session_tick"]) < 60
    assert f"recording goes on in {paths[1]}" in session.said


def test_a_part_goes_on_where_the_first_one_was_at_that_tick(tmp_path: Path) -> None:
    """With the same input again the second part is the first one's own end."""
    session = RecordedSession(tmp_path, checksum_every=1)
    session.loop.run(60)
    session.rewind(12)
    session.loop.run(30)
    first, second = map(read_replay, session.end())
    began = int(second.header.environment["session_tick"])
    ours = {began + n: tick.checksum for n, tick in enumerate(second.ticks) if tick.checksum is not None}
    theirs = {n: tick.checksum for n, tick in enumerate(first.ticks) if tick.checksum is not None}
    both = ours.keys() & theirs.keys()
    assert both
    assert all(ours[tick] == theirs[tick] for tick in both)


def test_a_quick_load_begins_a_part_too_and_every_part_verifies(tmp_path: Path) -> None:
    session = RecordedSession(tmp_path)
    session.loop.run(25)
    session.time.request_save()
    session.loop.run(25)
    session.load()
    session.loop.run(25)
    session.load()
    session.loop.run(30)
    paths = session.end()
    assert [path.name for path in paths] == ["a.nfr", "a-2.nfr", "a-3.nfr"]
    assert all(map(verified, paths))
    starts = [read_replay(path).header.environment.get("session_tick") for path in paths]
    assert starts == [None, 25, 25]
    assert [read_replay(path).header.environment.get("part") for path in paths] == [None, 2, 3]


def test_a_part_of_a_few_ticks_has_a_checksum_and_verifies(tmp_path: Path) -> None:
    session = RecordedSession(tmp_path)
    session.loop.run(25)
    session.rewind(3)
    session.loop.run(4)
    paths = session.end()
    assert len(read_replay(paths[1]).ticks) < 10
    assert verified(paths[1])


def test_a_part_without_the_state_it_begins_with_does_not_verify(tmp_path: Path) -> None:
    """The negative control: were the jump not in the file, a playback would tell."""
    session = RecordedSession(tmp_path, snapshot=False)
    session.loop.run(60)
    session.rewind(12)
    session.loop.run(30)
    first, second = session.end()
    assert verified(first)
    assert not verified(second)


def test_a_recording_that_is_not_told_of_the_jump_refuses_the_tick(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", header_for(load_world(find_world("toy")).info, seed=0, environment={}))
    for tick in range(5):
        writer.record_tick(tick, PlayedTick(Action(), 2))
    with pytest.raises(ReplayError, match="expected tick 5, got 3"):
        writer.record_tick(3, PlayedTick(Action(), 2))
    writer.close()


def test_a_load_before_the_first_tick_begins_the_same_file_again(tmp_path: Path) -> None:
    one = RecordedSession(tmp_path)
    one.loop.run(20)
    one.time.request_save()
    one.loop.run(1)
    [path] = one.end()
    path.unlink()
    session = RecordedSession(tmp_path)
    session.load()
    session.loop.run(30)
    paths = session.end()
    assert [path.name for path in paths] == ["a.nfr"]
    assert read_replay(paths[0]).header.environment["session_tick"] == 20
    assert verified(paths[0])


def test_a_jump_with_no_tick_after_it_leaves_no_empty_file(tmp_path: Path) -> None:
    session = RecordedSession(tmp_path)
    session.loop.run(30)
    session.rewind(5)
    session.time.turn(session.loop.tick)
    paths = session.end()
    assert [path.name for path in paths] == ["a.nfr"]
    assert sorted(path.name for path in tmp_path.glob("*.nfr")) == ["a.nfr"]


def test_going_back_twice_before_a_tick_makes_one_part(tmp_path: Path) -> None:
    session = RecordedSession(tmp_path)
    session.loop.run(40)
    session.rewind(5)
    turn = session.time.turn(session.loop.tick)
    assert turn is not None
    session.loop.tick = turn.next_tick
    session.rewind(5)
    session.loop.run(25)
    paths = session.end()
    assert [path.name for path in paths] == ["a.nfr", "a-2.nfr"]
    assert all(map(verified, paths))


def test_a_name_that_is_taken_is_left_alone_unless_files_may_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a-2.nfr").write_bytes(b"mine")
    session = RecordedSession(tmp_path)
    session.loop.run(30)
    session.rewind(5)
    session.loop.run(5)
    assert [path.name for path in session.end()] == ["a.nfr", "a-3.nfr"]
    assert (tmp_path / "a-2.nfr").read_bytes() == b"mine"
    again = RecordedSession(tmp_path, overwrite=True)
    again.loop.run(30)
    again.rewind(5)
    again.loop.run(5)
    assert [path.name for path in again.end()] == ["a.nfr", "a-2.nfr"]


class Failing:
    """A recorder whose disk fails at the end."""

    ticks = 0
    problem = "the disk is full"

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        self.ticks += 1

    def close(self) -> None:
        raise ReplayError("the disk is full")


def parted(path: Path, recorders: list[Any]) -> tuple[PartedRecording, list[str]]:
    said: list[str] = []
    world = load_world(find_world("toy"))

    def make(start: PartStart) -> Recorder:
        made = recorders.pop(0)
        if isinstance(made, Exception):
            raise made
        return made

    return PartedRecording(path, world, make, say=said.append), said


def played(recording: PartedRecording, tick: int) -> None:
    recording.record_tick(tick, PlayedTick(Action(), 2))


def test_a_disk_that_failed_in_an_earlier_part_is_told_at_the_end_once(tmp_path: Path) -> None:
    recording, _ = parted(tmp_path / "a.nfr", [Failing(), ListRecorder()])
    played(recording, 0)
    assert recording.problem == "the disk is full"
    recording.go_on_from(0)
    played(recording, 0)
    with pytest.raises(ReplayError, match="the disk is full"):
        recording.close()
    recording.close()


@pytest.mark.parametrize("error", [ReplayError("no space there"), OSError("no space there")])
def test_a_place_that_takes_no_next_part_ends_the_recording_and_not_the_session(
    tmp_path: Path, error: Exception
) -> None:
    first, later = ListRecorder(), ListRecorder()
    recording, said = parted(tmp_path / "a.nfr", [first, error, later])
    played(recording, 0)
    recording.go_on_from(0)
    played(recording, 0)
    recording.go_on_from(0)
    assert said == ["no space there"]
    assert len(first.actions) == 1
    assert not later.actions
    recording.close()


def test_only_the_first_tick_of_a_part_is_given_a_checksum_of_its_own(tmp_path: Path) -> None:
    one, two = ListRecorder(), ListRecorder()
    recording, _ = parted(tmp_path / "a.nfr", [one, two])
    for tick in range(3):
        played(recording, tick)
    recording.go_on_from(1)
    for tick in range(1, 3):
        played(recording, tick)
    recording.close()
    assert (list(one.checksums), list(two.checksums)) == ([0], [1])


def test_after_the_end_a_jump_begins_nothing(tmp_path: Path) -> None:
    recording, said = parted(tmp_path / "a.nfr", [ListRecorder()])
    played(recording, 0)
    recording.close()
    recording.go_on_from(0)
    assert not said
    assert recording.paths == [tmp_path / "a.nfr"]


def test_parts_are_numbered_before_the_suffix() -> None:
    assert [part_path(Path("x/drive.nfr"), n).as_posix() for n in (1, 2, 10)] == [
        "x/drive.nfr", "x/drive-2.nfr", "x/drive-10.nfr",
    ]  # fmt: skip
