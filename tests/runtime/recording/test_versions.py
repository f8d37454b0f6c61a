"""Claims about versions: old recordings play back for ever, newer ones are read as far as that can be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextframe.runtime.core import Action, FixedClock, PlayedTick, ReplayError, Reset
from nextframe.runtime.recording.diff import diff_files
from nextframe.runtime.recording.format import FORMAT_MAJOR, FORMAT_MINOR, Replay
from nextframe.runtime.recording.playback import Playback, ReplayVerifier
from nextframe.runtime.recording.reader import load_snapshot, read_replay
from nextframe.runtime.recording.records import FOOTER, TICKS
from nextframe.tools.lab.recording import golden as replay_golden
from nextframe.worlds.toy.world import ToyWorld
from tests.support.replays import framed, handmade

GOLDEN = sorted(replay_golden.FOLDER.glob("*.nfr"))


def test_a_newer_minor_version_is_read_and_what_is_unknown_ignored(tmp_path: Path) -> None:
    tick = [1, b"\x05\0", 2, 0, 9, "rain", "reset:1", "something new"]
    path = handmade(
        tmp_path / "a.nfr",
        framed(200, b"any bytes"),
        framed(TICKS, [0, [tick], "new"]),
        framed(FOOTER, {"ticks": 1, "new": 1}),
        minor=9,
        header={"new": [1, 2]},
    )
    replay = read_replay(path)
    assert replay.complete
    assert replay.header.format_version == (1, 9)
    action = Action(frozenset({"handbrake"}), {"steer": 5}, "rain")
    assert replay.ticks == (PlayedTick(action, 2, 9, (Reset(1),)),)


@pytest.mark.parametrize("major", [0, 2, 65_535])
def test_another_major_version_is_refused(tmp_path: Path, major: int) -> None:
    with pytest.raises(ReplayError, match=rf"expected format 1\.x, got {major}\.0"):
        read_replay(handmade(tmp_path / "a.nfr", major=major), recover=True)


def test_a_record_that_a_playback_needs_and_this_version_does_not_know_stops_it(tmp_path: Path) -> None:
    path = handmade(
        tmp_path / "a.nfr", framed(99, b"state of a new kind"), framed(TICKS, [0, [[0, b"\0\0", 1]]]), minor=9
    )
    with pytest.raises(ReplayError, match=r"record type 99 is unknown .*newer version"):
        read_replay(path)


def test_a_promise_that_a_newer_version_added_is_read_as_the_weakest(tmp_path: Path) -> None:
    assert read_replay(handmade(tmp_path / "a.nfr", minor=9, header={"promise": "R7"})).header.promise == "R2"


# --- golden recordings -------------------------------------------------------------------------------------------


def played_back(replay: Replay, path: Path, first_tick: int = 0, *, world: ToyWorld | None = None) -> ReplayVerifier:
    start, stored = replay.start_before(first_tick)
    world = world or ToyWorld(FixedClock())
    world.reset(replay.header.seed)
    if stored is not None:
        world.restore(load_snapshot(path, stored))
    verifier = ReplayVerifier(replay, start)
    Playback(replay, world, verifier, start).run(len(replay.ticks))
    return verifier


def test_every_version_of_the_format_has_a_golden_recording() -> None:
    versions = {path.stem.split("-")[1] for path in GOLDEN}
    assert versions == {f"{FORMAT_MAJOR}.{minor}" for minor in range(FORMAT_MINOR + 1)}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_recording_plays_back_bit_for_bit(path: Path) -> None:
    replay = read_replay(path)
    assert (replay.complete, len(replay.ticks)) == (True, replay_golden.TICKS - replay_golden.first_tick(path.stem))
    verifier = played_back(replay, path)
    assert verifier.first_difference is None
    assert verifier.verified
    assert verifier.checksums_compared >= 5


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_recordings_of_all_versions_hold_the_same_session(path: Path) -> None:
    first = replay_golden.first_tick(path.stem)
    assert read_replay(path).ticks == read_replay(GOLDEN[0]).ticks[first:]


def test_the_newest_golden_is_what_this_code_writes(tmp_path: Path) -> None:
    newest = [path for path in GOLDEN if f"-{FORMAT_MAJOR}.{FORMAT_MINOR}" in path.stem]
    assert len(newest) == 2
    for path in newest:
        again = tmp_path / path.name
        replay_golden.record_session(again, first_tick=replay_golden.first_tick(path.stem))
        assert diff_files(path, again).same  # not byte for byte: zlib's builds compress differently
        kept, new = read_replay(path), read_replay(again)
        assert [stored.tick for stored in kept.snapshots] == [stored.tick for stored in new.snapshots] != []


def test_a_golden_recording_does_not_play_back_in_a_world_that_differs_by_one_number() -> None:
    class Stickier(ToyWorld):
        def advance(self, action, plan):  # type: ignore[no-untyped-def]
            return super().advance(Action(action.buttons, {**action.axes, "throttle": 1}), plan)

    verifier = played_back(read_replay(GOLDEN[0]), GOLDEN[0], world=Stickier(FixedClock()))
    assert verifier.first_difference is not None
    assert verifier.first_difference.tick == 0
