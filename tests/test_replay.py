"""Claims about recordings: they say exactly what was played, survive being cut anywhere, and never lie."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.replayed import ReplayController
from controllers.scripted import Entry, Script, ScriptedController
from runtime.core import AXIS_LEVELS, Action, ActionSpace, Controller, FixedClock, Frame, ReplayError, WorldInfo
from runtime.governor import TraceGovernor
from runtime.loop import Governor, Loop, Recorder
from runtime.replay import (
    CRC,
    FOOTER,
    FRAME,
    HEADER,
    MAGIC,
    MAX_RECORD_BYTES,
    PREAMBLE,
    TICKS,
    RecordedTick,
    Replay,
    ReplayVerifier,
    ReplayWriter,
    check_fits,
    header_for,
    read_replay,
)
from runtime.replay_format import header_to_plain
from worlds.toy.world import ToyWorld

ACTIONS = ActionSpace(("handbrake", "fire"), ("steer", "throttle"), {"weather": ("clear", "rain")})
INFO = WorldInfo(
    name="pond",
    width_px=64,
    height_px=48,
    tick_hz=Fraction(4),
    ladder=(1, 2, 4),
    actions=ACTIONS,
    config_sha256="c" * 64,
    weights_sha256="a" * 64,
    config_text="name: pond\n",
)
HEAD = header_for(INFO, seed=7, environment={"python": "3.11", "threads": 2}, created_utc="2025-01-01T00:00:00Z")

actions = st.builds(
    Action,
    buttons=st.frozensets(st.sampled_from(ACTIONS.buttons)),
    axes=st.dictionaries(st.sampled_from(ACTIONS.axes), st.integers(-AXIS_LEVELS, AXIS_LEVELS).filter(bool)),
    prompt=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    reset=st.booleans(),
)
recorded_ticks = st.builds(
    RecordedTick,
    action=actions,
    steps_applied=st.sampled_from([1, 2, 4]),
    checksum=st.none() | st.integers(0, 2**32 - 1),
    event=st.none() | st.sampled_from(["reset:7", "clock_gap"]),
)


def some_ticks(count: int) -> list[RecordedTick]:
    return [
        RecordedTick(
            Action(frozenset({"fire"} if n % 3 == 0 else ()), {"steer": n % 100 + 1}, "rain" if n == 5 else None),
            (1, 2, 4)[n % 3],
            n * 1000 if n % 4 == 0 else None,
            "clock_gap" if n == 6 else None,
        )
        for n in range(count)
    ]


def write(path: Path, ticks: Sequence[RecordedTick], *, close: bool = True, info: WorldInfo = INFO) -> bytes:
    header = header_for(info, seed=7, environment={"python": "3.11"})
    with ReplayWriter(path, header, overwrite=True) as writer:
        for n, tick in enumerate(ticks):
            writer.record_tick(n, tick.action, tick.steps_applied, tick.checksum, tick.event)
        so_far = path.read_bytes()
    if not close:
        path.write_bytes(so_far)
    return path.read_bytes()


def framed(kind: int, content: Any) -> bytes:
    payload = content if isinstance(content, bytes) else msgpack.packb(content)
    data = FRAME.pack(kind, len(payload)) + payload
    return data + CRC.pack(crc32c(data))


def handmade(path: Path, *records: bytes, major: int = 1, minor: int = 0, header: Any = None) -> Path:
    plain = {**header_to_plain(HEAD), "format": [major, minor], **(header or {})}
    path.write_bytes(PREAMBLE.pack(MAGIC, major, minor) + framed(HEADER, plain) + b"".join(records))
    return path


# --- what was written is what is read ----------------------------------------------------------------------------


@given(st.lists(recorded_ticks, max_size=30))
@settings(deadline=None)
def test_a_recording_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[RecordedTick]
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
    write(tmp_path / "a.nfr", [RecordedTick(Action(axes=MappingProxyType({"steer": 0, "throttle": -127})), 1)])
    assert read_replay(tmp_path / "a.nfr").ticks[0].action == Action(axes={"throttle": -127})


def test_recording_a_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "a.nfr", some_ticks(30))
    assert write(tmp_path / "b.nfr", read_replay(tmp_path / "a.nfr").ticks) == first


def test_a_tick_with_keys_and_two_axes_costs_less_than_40_bytes(tmp_path: Path) -> None:
    ticks = [
        RecordedTick(Action(frozenset({"fire"}), {"steer": n % 127 + 1, "throttle": -127}), 4, n * 99_991 % 2**32)
        for n in range(2_000)
    ]
    header_bytes = len(write(tmp_path / "empty.nfr", []))
    mean_bytes = (len(write(tmp_path / "a.nfr", ticks)) - header_bytes) / len(ticks)
    assert mean_bytes < 40


def test_resets_keep_their_seeds(tmp_path: Path) -> None:
    ticks = [RecordedTick(Action(), 1), RecordedTick(Action(reset=True), 1, None, "reset:99,clock_gap")]
    write(tmp_path / "a.nfr", ticks)
    assert read_replay(tmp_path / "a.nfr").reset_seeds == {1: 99}


def test_a_recording_begun_in_the_middle_of_a_session_starts_at_tick_0(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    writer.record_tick(500, Action(reset=True), 1, None, "reset:3")
    writer.record_tick(501, Action(), 2, None, None)
    writer.close()
    replay = read_replay(tmp_path / "a.nfr")
    assert replay.reset_seeds == {0: 3}
    assert [tick.steps_applied for tick in replay.ticks] == [1, 2]


def test_batches_hold_at_most_a_second(tmp_path: Path) -> None:
    ticks = some_ticks(11)
    write(tmp_path / "a.nfr", ticks, close=False)
    replay = read_replay(tmp_path / "a.nfr")
    assert replay.ticks == tuple(ticks[:8])  # 4 Hz: two whole seconds are on disk, three ticks were not
    assert not replay.complete
    assert "never closed" in replay.message


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
        (RecordedTick(Action(frozenset({"jump"})), 1), "jump"),
        (RecordedTick(Action(axes={"look": 1}), 1), "look"),
        (RecordedTick(Action(axes={"steer": 128}), 1), "axis levels"),
        (RecordedTick(Action(), -1), "denoise steps"),
        (RecordedTick(Action(), 1, 2**32), "32 bits"),
        (RecordedTick(Action(prompt="x" * 5000), 1), "4096 characters"),
        (RecordedTick(Action(prompt="\ud800"), 1), "cannot be stored"),
    ],
)
def test_what_the_format_has_no_room_for_is_refused(tmp_path: Path, tick: RecordedTick, says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        write(tmp_path / "a.nfr", [tick])


def test_ticks_must_follow_each_other_and_come_before_the_end(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    writer.record_tick(0, Action(), 1, None, None)
    with pytest.raises(ReplayError, match="expected tick 1, got 2"):
        writer.record_tick(2, Action(), 1, None, None)
    writer.close()
    writer.close()
    with pytest.raises(ReplayError, match="closed"):
        writer.record_tick(1, Action(), 1, None, None)


def test_a_full_disk_is_one_clear_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(ReplayError, match="could not go on recording"):
        ReplayWriter("/dev/full", HEAD, overwrite=True)


# --- damage ------------------------------------------------------------------------------------------------------


def test_a_file_cut_at_any_byte_gives_back_a_prefix(tmp_path: Path) -> None:
    ticks = tuple(some_ticks(22))
    data = write(tmp_path / "whole.nfr", ticks)
    path = tmp_path / "cut.nfr"
    most, refused = 0, 0
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            replay = read_replay(path, recover=True)
        except ReplayError:
            refused += 1
            assert most == 0  # only a cut header leaves nothing
            continue
        assert replay.ticks == ticks[: len(replay.ticks)]
        assert not replay.complete
        assert len(replay.ticks) >= most
        most = len(replay.ticks)
        if replay.lost_bytes:
            with pytest.raises(ReplayError, match=rf"{most} ticks .* are readable.*--recover"):
                read_replay(path)
        else:
            assert read_replay(path).ticks == replay.ticks
    assert most == len(ticks)
    assert refused > 0


def test_a_flipped_byte_never_gives_a_wrong_tick(tmp_path: Path) -> None:
    ticks = tuple(some_ticks(22))
    data = write(tmp_path / "whole.nfr", ticks)
    header = read_replay(tmp_path / "whole.nfr").header
    path = tmp_path / "flipped.nfr"
    for place in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
            with pytest.raises(ReplayError):
                read_replay(path)
            try:
                replay = read_replay(path, recover=True)
            except ReplayError:
                continue
            assert replay.header == header
            assert replay.ticks == ticks[: len(replay.ticks)]
            assert replay.lost_bytes > 0
            assert not replay.complete


def test_a_batch_missing_from_the_middle_is_noticed(tmp_path: Path) -> None:
    batches = [framed(TICKS, [n, [[0, b"\0\0", 1]]]) for n in range(3)]
    whole = read_replay(handmade(tmp_path / "a.nfr", *batches))
    assert len(whole.ticks) == 3
    replay = read_replay(handmade(tmp_path / "b.nfr", batches[0], batches[2]), recover=True)
    assert len(replay.ticks) == 1
    assert "part of the file is missing" in replay.message


@pytest.mark.parametrize("length", [MAX_RECORD_BYTES + 1, 0x7FFFFFFF, 0xFFFFFFFF, MAX_RECORD_BYTES - 1, 200_000])
def test_a_hostile_length_allocates_nothing(tmp_path: Path, length: int) -> None:
    path = handmade(tmp_path / "a.nfr", FRAME.pack(TICKS, length) + b"short")
    tracemalloc.start()
    try:
        replay = read_replay(path, recover=True)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert replay.ticks == ()
    assert replay.lost_bytes > 0
    assert peak_bytes < 150_000


@pytest.mark.parametrize(
    "content",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 2**32 - 1 entries, none of which follow
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 100_000 + b"\xc0",
        b"\xc1",
        b"",
        [],
        {"a": 1},
        [0],
        [0, {}],
        ["0", []],
        [0, [[]]],
        [0, [[4, b"\0\0", 1]]],  # a third button, of two
        [0, [[-1, b"\0\0", 1]]],
        [0, [[0, b"\0", 1]]],
        [0, [[0, b"\0\x80", 1]]],  # level -128
        [0, [[0, "xx", 1]]],
        [0, [[0, b"\0\0", True]]],
        [0, [[0, b"\0\0", 1, 2]]],
        [0, [[0, b"\0\0", 1, 0, -5]]],
        [0, [[0, b"\0\0", 1, 0, None, 5]]],
        [0, [[0, b"\0\0", 1, 0, None, "x" * 5000]]],
        [0, [[0, b"\0\0", 1, 0, None, None, b"x"]]],
        [0, [[0, b"\0\0", 1]] * 1001],
    ],
)
def test_nonsense_with_a_valid_crc_is_damage(tmp_path: Path, content: Any) -> None:
    path = handmade(tmp_path / "a.nfr", framed(TICKS, content))
    with pytest.raises(ReplayError, match="0 ticks"):
        read_replay(path)
    assert read_replay(path, recover=True).ticks == ()


@pytest.mark.parametrize(
    "header",
    [
        {"tick_hz": [0, 1]},
        {"tick_hz": [20, 0]},
        {"tick_hz": [20]},
        {"tick_hz": "20"},
        {"seed": -1},
        {"seed": None},
        {"buttons": ["a", "a"]},
        {"buttons": [f"b{n}" for n in range(64)]},
        {"axes": "steer"},
        {"axes": [1]},
        {"ladder": [0]},
        {"world": 5},
        {"prompts": {"a": "b"}},
        {"format": [1]},
        {"format": [1, 7]},
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    with pytest.raises(ReplayError, match="no readable header"):
        read_replay(handmade(tmp_path / "a.nfr", header=header), recover=True)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([framed(FOOTER, {"ticks": 3})], "does not agree"),
        ([framed(FOOTER, [1])], "does not agree"),
        ([framed(FOOTER, {"ticks": 0}), b"x"], "cut short"),
        ([framed(FOOTER, {"ticks": 0}), framed(TICKS, [0, []])], "after the end"),
        ([framed(77, {})], "record type 77 is unknown"),
        ([framed(HEADER, {})], "unknown"),
    ],
)
def test_records_in_the_wrong_place_are_damage(tmp_path: Path, records: list[bytes], says: str) -> None:
    replay = read_replay(handmade(tmp_path / "a.nfr", *records), recover=True)
    assert says in replay.message
    assert not replay.complete


@given(data=st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_at_all_get_past_as_another_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("nfr") / "a.nfr"
    path.write_bytes(data)
    with pytest.raises(ReplayError):
        read_replay(path, recover=True)
    assert read_replay(handmade(path, data), recover=True).ticks == ()
    with_crc = read_replay(handmade(path, framed(TICKS, data)), recover=True)
    assert len(with_crc.ticks) <= len(data)


@pytest.mark.parametrize("data", [b"", MAGIC[:4], MAGIC, MAGIC + b"\x01\0\0\0", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_another_kind_of_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.nfr").write_bytes(data)
    with pytest.raises(ReplayError):
        read_replay(tmp_path / "a.nfr", recover=True)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="No such file"):
        read_replay(tmp_path / "none.nfr")


RECORD_UNTIL_KILLED = """
import sys
from fractions import Fraction
from runtime.core import Action
from runtime.replay import ReplayWriter
from tests.test_replay import HEAD
from dataclasses import replace
writer = ReplayWriter(sys.argv[1], replace(HEAD, tick_hz=Fraction(20)))
for tick in range(100_000_000):
    writer.record_tick(tick, Action(axes={"steer": tick % 127 + 1}), 1, None, None)
    if tick % 7 == 0:
        print(tick, flush=True)
"""


def test_a_killed_recording_loses_at_most_a_second(tmp_path: Path) -> None:
    path = tmp_path / "killed.nfr"
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", RECORD_UNTIL_KILLED, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        last = 0
        while last < 300:
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    replay = read_replay(path)
    assert len(replay.ticks) > last - 20
    assert all(tick.action == Action(axes={"steer": n % 127 + 1}) for n, tick in enumerate(replay.ticks))
    assert not replay.complete


# --- versions ----------------------------------------------------------------------------------------------------


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
    assert replay.ticks == (RecordedTick(action, 2, 9, "reset:1"),)


@pytest.mark.parametrize("major", [0, 2, 65_535])
def test_another_major_version_is_refused(tmp_path: Path, major: int) -> None:
    with pytest.raises(ReplayError, match=rf"expected format 1\.x, got {major}\.0"):
        read_replay(handmade(tmp_path / "a.nfr", major=major), recover=True)


# --- playing back ------------------------------------------------------------------------------------------------


def replay_of(ticks: Sequence[RecordedTick]) -> Replay:
    return Replay(HEAD, tuple(ticks), True)


def test_the_world_it_was_recorded_with_fits() -> None:
    check_fits(replay_of([]), INFO)


@pytest.mark.parametrize(
    ("change", "recorded", "here"),
    [
        ({"weights_sha256": "b" * 64}, "a" * 64, "b" * 64),
        ({"config_sha256": "d" * 64}, "c" * 64, "d" * 64),
        ({"name": "lake"}, "pond", "lake"),
        ({"tick_hz": Fraction(20)}, "4", "20"),
        ({"ladder": (1, 2)}, r"\(1, 2, 4\)", r"\(1, 2\)"),
        ({"actions": ActionSpace(("fire",), ACTIONS.axes)}, "handbrake", "'fire',"),
    ],
)
def test_another_world_is_refused_with_both_values(change: dict[str, Any], recorded: str, here: str) -> None:
    with pytest.raises(ReplayError, match=f"recorded .*{recorded}.*, here .*{here}"):
        check_fits(replay_of([]), replace(INFO, **change))


def played(verifier: ReplayVerifier, ticks: Sequence[RecordedTick]) -> ReplayVerifier:
    for n, tick in enumerate(ticks):
        verifier.record_tick(n, tick.action, tick.steps_applied, tick.checksum, tick.event)
    verifier.close()
    return verifier


def test_an_equal_playback_is_verified() -> None:
    ticks = some_ticks(12)
    verifier = played(ReplayVerifier(replay_of(ticks)), ticks)
    assert verifier.verified
    assert verifier.first_difference is None
    assert verifier.checksums_compared == 3


def test_the_first_tick_that_differs_is_named() -> None:
    ticks = some_ticks(12)
    wrong = [
        replace(tick, checksum=tick.checksum + 1) if n >= 4 and tick.checksum else tick for n, tick in enumerate(ticks)
    ]
    verifier = played(ReplayVerifier(replay_of(ticks)), wrong)
    assert not verifier.verified
    assert str(verifier.first_difference) == "tick 4: checksum: recorded 0x00000fa0, played 0x00000fa1"


def test_other_steps_and_other_actions_are_differences_too() -> None:
    ticks = some_ticks(12)
    other_steps = played(ReplayVerifier(replay_of(ticks)), [*ticks[:3], replace(ticks[3], steps_applied=9), *ticks[4:]])
    assert other_steps.first_steps_difference is not None
    assert other_steps.first_steps_difference.tick == 3
    other_action = played(
        ReplayVerifier(replay_of(ticks)), [*ticks[:2], replace(ticks[2], action=Action()), *ticks[3:]]
    )
    assert other_action.first_difference is not None
    assert (other_action.first_difference.tick, other_action.first_difference.what) == (2, "action")
    assert not other_steps.verified
    assert not other_action.verified


def test_a_playback_that_compared_nothing_or_stopped_early_is_not_verified() -> None:
    ticks = some_ticks(12)
    assert not played(ReplayVerifier(replay_of(ticks)), [replace(tick, checksum=None) for tick in ticks]).verified
    assert not played(ReplayVerifier(replay_of(ticks)), ticks[:-1]).verified
    without = [replace(tick, checksum=None) for tick in ticks]
    assert not played(ReplayVerifier(replay_of(without)), without).verified


# --- with a world and a loop ---------------------------------------------------------------------------------------


class NullDisplay:
    def __init__(self, clock: FixedClock) -> None:
        self._clock = clock

    def present(self, frame: Frame) -> int:
        return self._clock.now_ns()

    def close(self) -> None:
        pass


def play(world: ToyWorld, controller: Controller, governor: Governor, recorder: Recorder, **options: Any) -> None:
    world.reset(7)
    clock = FixedClock()
    period_ns = 50_000_000
    loop = Loop(
        world, controller, NullDisplay(clock), governor, clock, tick_period_ns=period_ns, deadline_ns=period_ns,
        recorder=recorder, seed=7, checksum_every=5, **options,
    )  # fmt: skip
    loop.run(60)
    recorder.close()


def record_a_session(path: Path) -> Replay:
    world = ToyWorld()
    header = header_for(world.info, seed=7, environment={})
    script = Script("zigzag", (Entry(0, 9, axes={"steer": 0.7, "throttle": 1.0}), Entry(13, 4, hold=("brake",)),
                    Entry(20, prompt="night"), Entry(30, reset=True)), 35, repeat=True)  # fmt: skip
    controller = ScriptedController(script, world.info.actions)
    play(world, controller, TraceGovernor([4, 1, 2] * 20), ReplayWriter(path, header))
    return read_replay(path)


def play_back(replay: Replay, **changes: Any) -> ReplayVerifier:
    controller = ReplayController(replay)
    verifier = ReplayVerifier(replay)
    steps = changes.get("steps", controller.steps)
    play(ToyWorld(), controller, TraceGovernor(steps), verifier, reset_seeds=replay.reset_seeds)
    return verifier


def test_a_recorded_session_plays_back_bit_for_bit(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    check_fits(replay, ToyWorld().info)
    assert len(replay.ticks) == 60
    verifier = play_back(replay)
    assert verifier.first_difference is None
    assert (verifier.verified, verifier.checksums_compared) == (True, 12)


def test_a_changed_input_or_quality_is_caught_by_the_checksums(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    ticks = list(replay.ticks)
    ticks[3] = replace(ticks[3], action=Action(axes={"steer": -20}))
    controller_sees = replace(replay, ticks=tuple(ticks))
    verifier = ReplayVerifier(replay)
    trace = TraceGovernor(ReplayController(replay).steps)
    play(ToyWorld(), ReplayController(controller_sees), trace, verifier, reset_seeds=replay.reset_seeds)
    assert verifier.first_checksum_difference is not None
    assert verifier.first_checksum_difference.tick == 5
    other_quality = play_back(replay, steps=[4, 1, 2, 1] + [4] * 56)
    assert other_quality.first_steps_difference is not None
    assert other_quality.first_steps_difference.tick == 3
    assert not other_quality.verified
