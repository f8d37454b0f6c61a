"""Claims about recording while a session runs: no tick waits for the disk, and a loss is said, small and readable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import Action, PlayedTick, ReplayError
from nextframe.runtime.recording import disk as replay_disk
from nextframe.runtime.recording.compare import differences
from nextframe.runtime.recording.reader import load_snapshot, read_replay
from nextframe.runtime.recording.records import PREAMBLE, STOPPED, records
from nextframe.runtime.recording.snapshots import snapshot_to_bytes
from nextframe.runtime.recording.writer import ReplayWriter
from nextframe.worlds.toy.world import ToyWorld
from tests.support.paths import ROOT
from tests.support.replays import HEAD, a_state, record, record_a_session, some_ticks


class StalledDisk:
    """Every write after the file's beginning waits until `go` is set, or fails as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: OSError | None = None) -> None:
        self.go, self.tried = threading.Event(), threading.Event()
        self._error, self._write = error, replay_disk.write_all
        monkeypatch.setattr(replay_disk, "write_all", self._stalled)

    def _stalled(self, file: Any, data: bytes) -> None:
        if threading.current_thread() is threading.main_thread():
            return self._write(file, data)
        self.tried.set()
        self.go.wait()
        if self._error is not None:
            raise self._error
        return self._write(file, data)


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[StalledDisk]:
    disk = StalledDisk(monkeypatch)
    yield disk
    disk.go.set()


# --- snapshots ---------------------------------------------------------------------------------------------------


def test_snapshots_are_taken_at_their_interval_and_read_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.nfr"
    writer = ReplayWriter(path, HEAD, live=False, take_snapshot=lambda: a_state(writer.ticks), snapshot_every_ticks=5)
    record(writer, some_ticks(17))
    writer.close()
    replay = read_replay(path)
    assert [stored.tick for stored in replay.snapshots] == [5, 10, 15]
    for stored in replay.snapshots:
        assert not differences(load_snapshot(path, stored), a_state(stored.tick))
    assert len(replay.ticks) == 17


def test_every_kind_of_plain_data_survives(tmp_path: Path) -> None:
    dtypes = [np.bool_, np.uint8, np.int16, np.uint32, np.int64, np.float16, np.float32, np.float64]
    state = {
        "arrays": [np.arange(6).astype(dtype).reshape(3, 1, 2) for dtype in dtypes],
        "strided": np.arange(20, dtype=np.float32).reshape(4, 5)[::2, ::-1],
        "big_endian": np.arange(4, dtype=">f8"),
        "scalar": np.array(5.5),
        "not_a_number": np.array([np.nan, -0.0, np.inf], np.float32),
        "plain": {
            "none": None,
            "yes": True,
            "one": 1,
            "large": 2**64 - 1,
            "half": 0.1,
            "word": "Wörter",
            "list": [[], {}],
        },
    }
    with ReplayWriter(tmp_path / "a.nfr", HEAD, initial_snapshot=state):
        pass
    replay = read_replay(tmp_path / "a.nfr")
    assert replay.header.starts_from_snapshot
    found = load_snapshot(tmp_path / "a.nfr", replay.snapshots[0])
    expected = {**state, "big_endian": np.arange(4, dtype="<f8")}
    assert not differences(expected, found)
    assert isinstance(found["strided"], np.ndarray)
    assert found["strided"].flags.writeable


def test_a_snapshot_larger_than_a_part_is_cut_and_put_together(tmp_path: Path) -> None:
    noise = np.random.Philox(key=1).random_raw(400_000).view(np.uint8)
    with ReplayWriter(tmp_path / "a.nfr", HEAD, initial_snapshot={"noise": noise}):
        pass
    replay = read_replay(tmp_path / "a.nfr")
    assert len(replay.snapshots[0].parts) == 4  # 3.2 MB that do not compress, in parts of 1 MiB
    assert np.array_equal(load_snapshot(tmp_path / "a.nfr", replay.snapshots[0])["noise"], noise)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"a": {"b": [1, object()]}}, r"snapshot/a/b/1: expected plain data, got object"),
        ({"a": np.array([None])}, r"snapshot/a: expected an array of numbers"),
        ({"a": np.float32(1)}, "expected plain data, got float32"),
        ({"a": (1, 2)}, "expected plain data, got tuple"),
        ({5: 1}, "expected string keys, got 5"),
        ({"a": 2**70}, "cannot be stored"),
        ({"a": list(range(200_000))}, "put numbers into arrays"),
    ],
)
def test_a_state_that_is_no_plain_data_is_refused_with_the_name_of_the_part(state: Any, says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        snapshot_to_bytes(state)


def test_a_world_whose_state_cannot_be_stored_is_still_recorded_without_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "a.nfr"
    writer = ReplayWriter(path, HEAD, live=False, take_snapshot=lambda: {"a": object()}, snapshot_every_ticks=4)
    record(writer, some_ticks(12))
    writer.close()
    assert "no more snapshots from tick 4 on" in writer.problem
    assert "expected plain data, got object" in writer.problem
    replay = read_replay(path)
    assert (len(replay.ticks), replay.complete, replay.snapshots) == (12, True, ())


def test_a_recording_may_begin_in_the_middle_of_a_session(tmp_path: Path) -> None:
    world = ToyWorld()
    world.reset(3)
    writer = ReplayWriter(
        tmp_path / "a.nfr", replace(HEAD, actions=world.info.actions), initial_snapshot=world.snapshot()
    )
    writer.record_tick(500, PlayedTick(Action(axes={"steer": 5}), 2))
    writer.close()
    replay = read_replay(tmp_path / "a.nfr")
    assert replay.start_before(0) == (0, replay.snapshots[0])
    other = ToyWorld()
    other.restore(load_snapshot(tmp_path / "a.nfr", replay.snapshots[0]))
    assert other.checksum() == world.checksum()


def test_taking_snapshots_changes_no_tick(tmp_path: Path) -> None:
    without = record_a_session(tmp_path / "a.nfr")
    assert record_a_session(tmp_path / "b.nfr", snapshot_every_ticks=1).ticks == without.ticks


# --- the disk ----------------------------------------------------------------------------------------------------


def test_no_tick_waits_for_a_stalled_disk(tmp_path: Path, stalled: StalledDisk) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    record(writer, some_ticks(2_000))  # would never return if a tick waited
    assert stalled.tried.wait(10)
    assert writer.problem == ""
    assert read_replay(tmp_path / "a.nfr").ticks == ()
    stalled.go.set()
    writer.close()
    assert read_replay(tmp_path / "a.nfr").ticks == tuple(some_ticks(2_000))


def test_behind_a_stalled_disk_snapshots_are_skipped_first(tmp_path: Path, stalled: StalledDisk) -> None:
    taken: list[int] = []

    def take() -> dict[str, Any]:
        taken.append(writer.ticks)
        return a_state(writer.ticks)

    writer = ReplayWriter(tmp_path / "a.nfr", HEAD, take_snapshot=take, snapshot_every_ticks=10)
    record(writer, some_ticks(100))
    assert taken == [10, 20]  # as many as may wait: a state that is not kept is not even copied
    stalled.go.set()
    writer.close()
    replay = read_replay(tmp_path / "a.nfr")
    assert (replay.complete, len(replay.ticks), writer.snapshots_skipped) == (True, 100, 8)
    assert [stored.tick for stored in replay.snapshots] == [10, 20]


def test_a_disk_too_far_behind_ends_the_recording_and_not_the_session(
    tmp_path: Path, stalled: StalledDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_disk, "MAX_WAITING_BYTES", 500)
    path = tmp_path / "a.nfr"
    writer = ReplayWriter(path, HEAD)
    record(writer, some_ticks(2_000))
    assert "the disk is too slow" in writer.problem
    stalled.go.set()
    with pytest.raises(ReplayError, match="the disk is too slow"):
        writer.close()
    writer.close()
    replay = read_replay(path)
    assert not replay.complete
    assert 0 < len(replay.ticks) < 200
    assert replay.ticks == tuple(some_ticks(len(replay.ticks)))
    assert f"recording stopped after tick {len(replay.ticks)}: the disk is too slow" in replay.message
    with open(path, "rb") as file:
        file.seek(PREAMBLE.size)
        assert [r.kind for r in records(file, path.stat().st_size)][-1] == STOPPED


def test_where_ticks_have_no_deadline_they_wait_for_the_disk(
    tmp_path: Path, stalled: StalledDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_disk, "MAX_WAITING_BYTES", 500)
    writer = ReplayWriter(
        tmp_path / "a.nfr", HEAD, live=False, take_snapshot=lambda: a_state(0), snapshot_every_ticks=5
    )
    feeding = threading.Thread(target=record, args=(writer, some_ticks(2_000)))
    feeding.start()
    assert stalled.tried.wait(10)
    stalled.go.set()
    feeding.join(60)
    writer.close()
    replay = read_replay(tmp_path / "a.nfr")
    assert (replay.complete, len(replay.ticks), len(replay.snapshots)) == (True, 2_000, 400)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "Input/output error")])
def test_a_disk_that_fails_later_ends_the_recording_and_not_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    StalledDisk(monkeypatch, error).go.set()
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD, live=False)
    record(writer, some_ticks(500))
    with pytest.raises(ReplayError, match=f"could not go on recording after tick 0: {error.strerror}"):
        writer.close()
    assert read_replay(tmp_path / "a.nfr").ticks == ()


def test_whatever_ends_the_thread_is_said_and_leaves_no_tick_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(tick: int, state: Any) -> list[bytes]:
        raise MemoryError

    monkeypatch.setattr(replay_disk, "snapshot_payloads", out_of_memory)
    monkeypatch.setattr(replay_disk, "MAX_WAITING_BYTES", 100)
    path = tmp_path / "a.nfr"
    writer = ReplayWriter(path, HEAD, live=False, take_snapshot=lambda: a_state(0), snapshot_every_ticks=10)
    record(writer, some_ticks(200))
    with pytest.raises(ReplayError, match="could not go on recording after tick 10: MemoryError"):
        writer.close()
    assert len(read_replay(path).ticks) == 10


def test_a_disk_that_never_answers_is_not_waited_for_for_ever(
    tmp_path: Path, stalled: StalledDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_disk, "CLOSE_WAIT_S", 0.05)
    writer = ReplayWriter(tmp_path / "a.nfr", HEAD)
    record(writer, some_ticks(10))
    with pytest.raises(ReplayError, match="did not take the end"):
        writer.close()


def test_what_is_written_is_handed_to_the_disk_about_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(threading.current_thread().name))
    monkeypatch.setattr(replay_disk, "SYNC_NS", 0)
    with ReplayWriter(tmp_path / "often.nfr", HEAD, live=False, now_ns=lambda: 0) as writer:
        record(writer, some_ticks(20))
    assert synced.count("recording often.nfr") == 11  # ten batches, and the end
    monkeypatch.setattr(replay_disk, "SYNC_NS", 2**62)
    with ReplayWriter(tmp_path / "once.nfr", HEAD) as writer:
        record(writer, some_ticks(20))
    assert synced.count("recording once.nfr") == 1


def test_snapshots_need_someone_who_takes_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together with take_snapshot"):
        ReplayWriter(tmp_path / "a.nfr", HEAD, snapshot_every_ticks=5)


# --- a kill ------------------------------------------------------------------------------------------------------

RATE_HZ = 200
RECORD_UNTIL_KILLED = f"""
import sys
import time
from dataclasses import replace
from fractions import Fraction
from nextframe.runtime.core import Action, PlayedTick
from nextframe.runtime.recording.writer import ReplayWriter
from tests.support.replays import HEAD, a_state
writer = ReplayWriter(sys.argv[1], replace(HEAD, tick_hz=Fraction({RATE_HZ})), take_snapshot=lambda: a_state(tick + 1),
                      snapshot_every_ticks=50)
start = time.monotonic()
for tick in range(100_000_000):
    time.sleep(max(0, start + tick / {RATE_HZ} - time.monotonic()))
    writer.record_tick(tick, PlayedTick(Action(axes={{"steer": tick % 127 + 1}}), 1))
    print(tick, flush=True)
"""


def test_a_killed_recording_loses_at_most_a_second(tmp_path: Path) -> None:
    path = tmp_path / "killed.nfr"
    with subprocess.Popen(
        [sys.executable, "-c", RECORD_UNTIL_KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        last = 0
        while last < 1.8 * RATE_HZ:
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    replay = read_replay(path)
    assert len(replay.ticks) > last - RATE_HZ
    assert len(replay.ticks) <= last + 2
    assert all(tick.action == Action(axes={"steer": n % 127 + 1}) for n, tick in enumerate(replay.ticks))
    assert not replay.complete
    assert "never closed" in replay.message
    for stored in replay.snapshots:
        assert not differences(load_snapshot(path, stored), a_state(stored.tick))
    assert len(replay.snapshots) >= 1


def test_the_header_is_there_before_the_first_tick(tmp_path: Path) -> None:
    writer = ReplayWriter(tmp_path / "a.nfr", replace(HEAD, tick_hz=Fraction(20)))
    assert read_replay(tmp_path / "a.nfr").header.tick_hz == 20
    writer.close()
