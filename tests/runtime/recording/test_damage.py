"""Claims about damage: whatever happens to a file, what is read from it is what was written, in bounded memory."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.core import PlayedTick, ReplayError
from nextframe.runtime.recording.compare import differences
from nextframe.runtime.recording.reader import load_snapshot, read_replay
from nextframe.runtime.recording.records import (
    FOOTER,
    FRAME,
    HEADER,
    MAGIC,
    MAX_RECORD_BYTES,
    SNAPSHOT,
    START,
    STOPPED,
    TICKS,
)
from nextframe.runtime.recording.snapshots import MAX_SNAPSHOT_BYTES, TREE_LENGTH, snapshot_to_bytes
from tests.support.replays import a_state, framed, handmade, some_ticks, write


@pytest.fixture
def whole(tmp_path: Path) -> tuple[bytes, tuple[PlayedTick, ...]]:
    """A small file with every kind of record: a state to start from, batches, snapshots, a footer."""
    ticks = tuple(some_ticks(22))
    return write(tmp_path / "whole.nfr", ticks, snapshot_every_ticks=6, initial_snapshot=a_state(0)), ticks


def test_a_file_cut_at_any_byte_gives_back_a_prefix(
    tmp_path: Path, whole: tuple[bytes, tuple[PlayedTick, ...]]
) -> None:
    data, ticks = whole
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
        for stored in replay.snapshots:
            assert stored.tick <= most
            assert not differences(load_snapshot(path, stored), a_state(stored.tick))
        if replay.lost_bytes:
            with pytest.raises(ReplayError, match=rf"{most} ticks .* are readable.*--recover"):
                read_replay(path)
        else:
            assert read_replay(path).ticks == replay.ticks
    assert most == len(ticks)
    assert refused > 0


def test_a_flipped_byte_never_gives_a_wrong_tick_or_a_wrong_state(
    tmp_path: Path, whole: tuple[bytes, tuple[PlayedTick, ...]]
) -> None:
    data, ticks = whole
    header = read_replay(tmp_path / "whole.nfr").header
    path = tmp_path / "flipped.nfr"
    detected = 0
    for place in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
            with pytest.raises(ReplayError):
                read_replay(path)
            detected += 1
            try:
                replay = read_replay(path, recover=True)
            except ReplayError:
                continue
            assert replay.header == header
            assert replay.ticks == ticks[: len(replay.ticks)]
            assert (replay.lost_bytes > 0, replay.complete) == (True, False)
            for stored in replay.snapshots:
                assert not differences(load_snapshot(path, stored), a_state(stored.tick))
    assert detected == 3 * len(data)


def test_the_ticks_lost_to_damage_are_counted_when_the_footer_is_left(
    tmp_path: Path, whole: tuple[bytes, tuple[PlayedTick, ...]]
) -> None:
    data, ticks = whole
    path = tmp_path / "a.nfr"
    middle = len(data) * 2 // 3
    path.write_bytes(data[:middle] + b"?" + data[middle + 1 :])
    replay = read_replay(path, recover=True)
    assert 0 < len(replay.ticks) < len(ticks)
    assert replay.lost_ticks == len(ticks) - len(replay.ticks)
    assert f"{replay.lost_ticks} ticks" in replay.message
    path.write_bytes(data[: middle + 1])
    cut = read_replay(path, recover=True)
    assert cut.lost_ticks is None  # no footer: it is not known, and not guessed


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


@pytest.mark.parametrize("data", [b"GIF89a", b"\x89PNG\r\n\x1a\n", b"N", b"\0" * 12])
def test_another_kind_of_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.nfr").write_bytes(data)
    with pytest.raises(ReplayError, match="got another kind of file"):
        read_replay(tmp_path / "a.nfr", recover=True)


@pytest.mark.parametrize("data", [b"", MAGIC[:4], MAGIC, MAGIC + b"\x01\0\0\0"])
def test_a_recording_killed_as_it_began_says_so(tmp_path: Path, data: bytes) -> None:
    """Also an empty one: a kill, or a reader in a hurry, can come between the file and its first bytes."""
    (tmp_path / "a.nfr").write_bytes(data)
    with pytest.raises(ReplayError, match="nothing can be recovered"):
        read_replay(tmp_path / "a.nfr", recover=True)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="No such file"):
        read_replay(tmp_path / "none.nfr")


# --- hostile snapshots -------------------------------------------------------------------------------------------


def snapshot_record(raw: bytes, *, raw_bytes: int | None = None, compressed: int = 0, parts: int = 1) -> bytes:
    return framed(SNAPSHOT, [0, 0, parts, len(raw) if raw_bytes is None else raw_bytes, compressed, raw])


def raw_state(tree: bytes, arrays: bytes = b"") -> bytes:
    return TREE_LENGTH.pack(len(tree)) + tree + arrays


def an_array(dtype: Any, shape: Any) -> bytes:
    return msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([dtype, shape]))})


BOMB = zlib.compress(bytes(64 << 20), 9)
"""64 MiB of zeros in 64 kB."""


@pytest.mark.parametrize(
    "record",
    [
        snapshot_record(BOMB, raw_bytes=1 << 20, compressed=1),
        snapshot_record(BOMB[:900], raw_bytes=MAX_SNAPSHOT_BYTES, compressed=1),
        snapshot_record(zlib.compress(b"abc"), raw_bytes=2, compressed=1),
        snapshot_record(zlib.compress(b"abc")[:-1], raw_bytes=3, compressed=1),
        snapshot_record(b"not zlib", compressed=1),
        snapshot_record(b"abc", raw_bytes=4),
        snapshot_record(b""),
        snapshot_record(raw_state(b"\xc1")),
        snapshot_record(raw_state(b"\x91" * 100_000)),
        snapshot_record(raw_state(b"\x90")),  # a list, not a map
        snapshot_record(TREE_LENGTH.pack(0xFFFFFFFF)),
        snapshot_record(raw_state(b"\x80", b"bytes of no array")),
        snapshot_record(raw_state(an_array("<f4", [1 << 28, 1 << 28]))),
        snapshot_record(raw_state(an_array("<f4", [0, -1]))),
        snapshot_record(raw_state(an_array("<f4", [1.5]))),
        snapshot_record(raw_state(an_array("<f4", [1] * 40), bytes(4))),
        snapshot_record(raw_state(an_array("|O8", [1]), bytes(8))),
        snapshot_record(raw_state(an_array("<M8[s]", [1]), bytes(8))),
        snapshot_record(raw_state(an_array(5, [1]), bytes(8))),
        snapshot_record(raw_state(msgpack.packb({"a": msgpack.ExtType(9, b"")}))),
    ],
)
def test_a_hostile_snapshot_is_one_clear_line_and_takes_no_memory(tmp_path: Path, record: bytes) -> None:
    path = handmade(tmp_path / "a.nfr", record, framed(FOOTER, {"ticks": 0}), minor=1)
    replay = read_replay(path)  # its frames are whole: only who wants to start there is refused
    tracemalloc.start()
    try:
        with pytest.raises(ReplayError, match="snapshot before tick 0 cannot be used"):
            load_snapshot(path, replay.snapshots[0])
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize(
    "content",
    [[], [0], [0, 1, 1, 0, 0, b""], [0, 0, 10**6, 0, 0, b""], [0, 0, 1, MAX_SNAPSHOT_BYTES + 1, 0, b""],
     [0, 0, 1, 0, 2, b""], [0, 0, 1, 0, 0, "text"], [5, 0, 1, 0, 0, b""], [-1, 0, 1, 0, 0, b""]],
)  # fmt: skip
def test_a_snapshot_record_that_makes_no_sense_is_damage(tmp_path: Path, content: Any) -> None:
    path = handmade(tmp_path / "a.nfr", framed(SNAPSHOT, content), minor=1)
    with pytest.raises(ReplayError, match="damaged"):
        read_replay(path)
    assert read_replay(path, recover=True).snapshots == ()


def test_pieces_of_a_snapshot_must_follow_each_other(tmp_path: Path) -> None:
    raw = snapshot_to_bytes(a_state(0))
    halves = [framed(SNAPSHOT, [0, n, 2, len(raw), 0, raw[n * 50 : 50 if n == 0 else None]]) for n in (0, 1)]
    tick = framed(TICKS, [0, [[0, b"\0\0", 1]]])
    good = handmade(tmp_path / "a.nfr", *halves, tick, minor=1)
    assert not differences(load_snapshot(good, read_replay(good).snapshots[0]), a_state(0))
    for wrong in ([halves[0], tick], [halves[1], halves[0]], [halves[0], halves[0]], [halves[1]]):
        replay = read_replay(handmade(tmp_path / "b.nfr", *wrong, minor=1), recover=True)
        assert "parts of a snapshot" in replay.message
        assert replay.snapshots == ()


def test_a_state_to_start_from_must_be_there_when_the_header_says_so(tmp_path: Path) -> None:
    raw = snapshot_to_bytes(a_state(0))
    start, tick = framed(START, [0, 0, 1, len(raw), 0, raw]), framed(TICKS, [0, [[0, b"\0\0", 1]]])
    says_so = {"start": "snapshot"}
    assert len(read_replay(handmade(tmp_path / "a.nfr", start, tick, minor=1, header=says_so)).ticks) == 1
    missing = read_replay(handmade(tmp_path / "b.nfr", tick, minor=1, header=says_so), recover=True)
    assert (missing.ticks, "starts from is missing" in missing.message) == ((), True)
    for wrong, header in (([start], {}), ([start, start], says_so), ([start, tick, start], says_so)):
        replay = read_replay(handmade(tmp_path / "c.nfr", *wrong, minor=1, header=header), recover=True)
        assert "wrong place" in replay.message


@pytest.mark.parametrize("index", [5, [[0, 1]], [[0]], [["0", 5]], [[7, 5]]])
def test_an_index_that_leads_nowhere_is_damage(tmp_path: Path, index: Any) -> None:
    for name in ("ticks_at", "snapshots_at"):
        path = handmade(tmp_path / "a.nfr", framed(FOOTER, {"ticks": 0, name: index}), minor=1)
        with pytest.raises(ReplayError, match="index"):
            read_replay(path)


@given(data=st.binary(max_size=300), kind=st.sampled_from([SNAPSHOT, START, STOPPED, FOOTER]))
@settings(deadline=None)
def test_no_content_of_any_record_gets_past_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: int
) -> None:
    path = handmade(tmp_path_factory.mktemp("nfr") / "a.nfr", framed(kind, data), snapshot_record(data), minor=1)
    for stored in read_replay(path, recover=True).snapshots:
        with pytest.raises(ReplayError):
            load_snapshot(path, stored)


def test_a_file_that_changed_after_it_was_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.nfr"
    data = write(path, some_ticks(6), snapshot_every_ticks=3)
    stored = read_replay(path).snapshots[0]
    assert np.array_equal(load_snapshot(path, stored)["words"], a_state(3)["words"])  # type: ignore[arg-type]
    path.write_bytes(data[: stored.parts[0] + 20] + b"??" + data[stored.parts[0] + 22 :])
    with pytest.raises(ReplayError, match="wrong CRC"):
        load_snapshot(path, stored)
    path.write_bytes(data[: stored.parts[0]])
    with pytest.raises(ReplayError, match="no snapshot"):
        load_snapshot(path, stored)
