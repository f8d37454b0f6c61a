"""Claims about recordings: they say exactly what was played, in few bytes, and refuse what they have no room for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.core import Action, ClockGap, PlayedTick, ReplayError, Reset
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.recording.records import PREAMBLE, TICKS, records, unpacked
from nextframe.runtime.recording.writer import ReplayWriter
from tests.support.replays import HEAD, INFO, record, recorded_ticks, some_ticks, write


@given(st.lists(recorded_ticks, max_size=30))
@settings(deadline=None)
def test_a_recording_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[PlayedTick]
) -> None:
    path = tmp_path_factory.mktemp("nfr") / "a.nfr"
    write(path, ticks)
    replay = read_replay(path)
    assert replay.ticks == tuple(ticks)
    assert (replay.complete, replay.lost_bytes, replay.message) == (True, 0, "")


def test_the_header_reads_back_as_it_was_written(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    writer.close()
    assert read_replay(tmp_path / "a.nfr").header == HEAD


def test_the_tick_rate_is_exact(tmp_path: Path) -> None:
    write(tmp_path / "a.nfr", [], info=replace(INFO, tick_hz=Fraction(35, 2)))
    assert read_replay(tmp_path / "a.nfr").header.tick_hz == Fraction(35, 2)


def test_an_axis_at_rest_is_the_same_as_one_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.nfr", [PlayedTick(Action(axes=MappingProxyType({"steer": 0, "throttle": -127})), 1)])
    assert read_replay(tmp_path / "a.nfr").ticks[0].action == Action(axes={"throttle": -127})


def test_recording_a_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "a.nfr", some_ticks(30))
    assert write(tmp_path / "b.nfr", read_replay(tmp_path / "a.nfr").ticks) == first


def test_a_tick_with_keys_and_two_axes_costs_less_than_40_bytes(tmp_path: Path) -> None:
    ticks = [
        PlayedTick(Action(frozenset({"fire"}), {"steer": n % 127 + 1, "throttle": -127}), 4, n * 99_991 % 2**32)
        for n in range(2_000)
    ]
    header_bytes = len(write(tmp_path / "empty.nfr", []))
    mean_bytes = (len(write(tmp_path / "a.nfr", ticks)) - header_bytes) / len(ticks)
    assert mean_bytes < 40


def test_resets_keep_their_seeds(tmp_path: Path) -> None:
    ticks = [PlayedTick(Action(), 1), PlayedTick(Action(reset=True), 1, None, (Reset(99), ClockGap()))]
    write(tmp_path / "a.nfr", ticks)
    assert read_replay(tmp_path / "a.nfr").reset_seeds == {1: 99}


def test_a_recording_begun_in_the_middle_of_a_session_starts_at_tick_0(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    writer.record_tick(500, PlayedTick(Action(reset=True), 1, events=(Reset(3),)))
    writer.record_tick(501, PlayedTick(Action(), 2))
    writer.close()
    replay = read_replay(tmp_path / "a.nfr")
    assert replay.reset_seeds == {0: 3}
    assert [tick.steps_applied for tick in replay.ticks] == [1, 2]


def test_batches_hold_at_most_half_a_second(tmp_path: Path) -> None:
    write(tmp_path / "a.nfr", some_ticks(11))
    with open(tmp_path / "a.nfr", "rb") as file:
        file.seek(PREAMBLE.size)
        found = list(records(file, (tmp_path / "a.nfr").stat().st_size))
    assert [len(unpacked(r.payload)[1]) for r in found if r.kind == TICKS] == [2, 2, 2, 2, 2, 1]  # at 4 Hz


def test_ticks_slower_than_their_rate_are_still_written_after_half_a_second(tmp_path: Path) -> None:
    times_ns = iter(range(0, 10**12, 300_000_000))
    writer = ReplayWriter(tmp_path / "a.nfr", replace(HEAD, tick_hz=Fraction(100)), now_ns=lambda: next(times_ns))
    record(writer, some_ticks(6))
    writer.close()
    with open(tmp_path / "a.nfr", "rb") as file:
        file.seek(PREAMBLE.size)
        found = list(records(file, (tmp_path / "a.nfr").stat().st_size))
    assert [len(unpacked(r.payload)[1]) for r in found if r.kind == TICKS] == [3, 3]


# --- the writer refuses ------------------------------------------------------------------------------------------


def test_an_existing_file_is_not_overwritten_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.nfr"
    path.write_text("precious")
    with pytest.raises(ReplayError, match="there already"):
        ReplayWriter(path, HEAD)
    assert path.read_text() == "precious"
    ReplayWriter(path, HEAD, overwrite=True).close()
    assert read_replay(path).complete


def test_a_place_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="expected a place to record to"):
        ReplayWriter(tmp_path / "none" / "a.nfr", HEAD)


@pytest.mark.parametrize(
    ("tick", "says"),
    [
        (PlayedTick(Action(frozenset({"jump"})), 1), "jump"),
        (PlayedTick(Action(axes={"look": 1}), 1), "look"),
        (PlayedTick(Action(axes={"steer": 128}), 1), "axis levels"),
        (PlayedTick(Action(), -1), "denoise steps"),
        (PlayedTick(Action(), 1, 2**32), "32 bits"),
        (PlayedTick(Action(prompt="x" * 5000), 1), "4096 characters"),
        (PlayedTick(Action(prompt="\ud800"), 1), "cannot be stored"),
    ],
)
def test_what_the_format_has_no_room_for_is_refused(tmp_path: Path, tick: PlayedTick, says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        write(tmp_path / "a.nfr", [tick])


def test_ticks_must_follow_each_other_and_come_before_the_end(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    writer.record_tick(0, PlayedTick(Action(), 1))
    with pytest.raises(ReplayError, match="expected tick 1, got 2"):
        writer.record_tick(2, PlayedTick(Action(), 1))
    writer.close()
    writer.close()
    with pytest.raises(ReplayError, match="closed"):
        writer.record_tick(1, PlayedTick(Action(), 1))


def test_a_full_disk_is_one_clear_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(ReplayError, match="could not go on recording"):
        ReplayWriter("/dev/full", HEAD, overwrite=True)
