"""Claims about two recordings: the same session is called the same, another is named by its first tick and field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import Action, ClockGap, ReplayError
from nextframe.runtime.recording.compare import differences
from nextframe.runtime.recording.diff import diff_files, diff_recordings, print_diff
from nextframe.runtime.recording.format import Replay
from nextframe.runtime.recording.writer import ReplayWriter
from tests.support.replays import HEAD, a_state, record, record_a_session, some_ticks

TICKS = tuple(some_ticks(30))


def replay_with(tick: int | None = None, **change: Any) -> Replay:
    ticks = list(TICKS)
    if tick is not None:
        ticks[tick] = replace(ticks[tick], **change)
    return Replay(HEAD, tuple(ticks), True)


def test_a_recording_is_the_same_as_itself() -> None:
    found = diff_recordings(replay_with(), replay_with())
    assert (found.same, found.ticks_compared, found.checksums_compared) == (True, 30, 8)


@pytest.mark.parametrize(
    ("tick", "change", "field"),
    [
        (13, {"action": Action(frozenset({"handbrake"}), {"steer": 14})}, "action: buttons"),
        (13, {"action": Action(frozenset(), {"steer": 15})}, "action: axis steer"),
        (13, {"action": Action(frozenset(), {"steer": 14}, "rain")}, "action: prompt"),
        (13, {"action": Action(frozenset(), {"steer": 14}, reset=True)}, "action: reset"),
        (13, {"steps_applied": 1}, "denoise steps"),
        (13, {"events": (ClockGap(),)}, "event"),
        (16, {"checksum": 16_001}, "checksum"),
        (0, {"steps_applied": 4}, "denoise steps"),
        (29, {"steps_applied": 2}, "denoise steps"),
    ],
)
def test_one_changed_field_is_named_with_its_tick(tick: int, change: dict[str, Any], field: str) -> None:
    assert TICKS[tick].steps_applied != change.get("steps_applied")
    found = diff_recordings(replay_with(), replay_with(tick, **change))
    assert found.first is not None
    assert (found.first.tick, found.first.field, found.same) == (tick, field, False)


def test_of_one_tick_the_cause_is_named_before_the_effect() -> None:
    found = diff_recordings(replay_with(), replay_with(16, steps_applied=4, checksum=1))
    assert str(found.first) == "tick 16: denoise steps: first 2, second 4"


def test_a_checksum_that_only_one_of_them_took_is_no_difference() -> None:
    found = diff_recordings(replay_with(), replay_with(16, checksum=None))
    assert (found.same, found.checksums_compared) == (True, 7)


def test_an_axis_at_rest_is_the_same_as_one_left_out() -> None:
    axes = {**TICKS[13].action.axes, "throttle": 0}
    assert diff_recordings(replay_with(), replay_with(13, action=Action(TICKS[13].action.buttons, axes))).same


def test_the_shorter_of_two_recordings_differs_where_it_ends() -> None:
    found = diff_recordings(replay_with(), Replay(HEAD, TICKS[:20], True))
    assert str(found.first) == "tick 20: length: first goes on, second ends after 20 ticks"


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"weights_sha256": "f" * 64}, {"world": "lake"}, {"ladder": (1,)}, {"config_sha256": "e"}]
)
def test_every_header_field_that_decides_the_session_is_named(change: dict[str, Any]) -> None:
    found = diff_recordings(replay_with(), Replay(replace(HEAD, **change), TICKS, True))
    assert [difference.field for difference in found.header] == list(change)
    assert not found.same


def test_when_and_where_it_was_recorded_is_noted_and_does_not_count() -> None:
    elsewhere = replace(HEAD, created_utc="later", environment={**HEAD.environment, "threads": 9}, promise="R1")
    found = diff_recordings(replay_with(), Replay(elsewhere, TICKS, True))
    assert found.same
    notes = "\n".join(found.notes)
    assert "created_utc" in notes
    assert "environment: threads: first 2, second 9" in notes
    assert "promise: first R0, second R1" in notes


def test_two_files_of_one_session_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_a_session(tmp_path / "a.nfr", snapshot_every_ticks=10)
    record_a_session(tmp_path / "b.nfr", snapshot_every_ticks=15)
    assert print_diff(tmp_path / "a.nfr", tmp_path / "b.nfr") == 0
    assert "the same session: 60 ticks, 12 checksums agree" in capsys.readouterr().out


def test_two_files_of_other_sessions_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_a_session(tmp_path / "a.nfr")
    record_a_session(tmp_path / "b.nfr", steps=[4, 1, 2] * 7 + [1, 1, 1] * 13)
    assert print_diff(tmp_path / "a.nfr", tmp_path / "b.nfr") == 1
    assert "differs in tick 21: denoise steps: first 4, second 1" in capsys.readouterr().out


def test_a_part_of_the_state_that_differs_is_named(tmp_path: Path) -> None:
    for name, first in (("a.nfr", 0), ("b.nfr", 1)):
        state = {**a_state(0), "memory": {"keys": np.full(3, first, np.float32)}}
        with ReplayWriter(tmp_path / name, HEAD, initial_snapshot=state) as writer:
            record(writer, TICKS)
    found = diff_files(tmp_path / "a.nfr", tmp_path / "b.nfr")
    assert found.first is not None
    assert (found.first.tick, found.first.field) == (0, "state before it: memory/keys")
    assert diff_files(tmp_path / "a.nfr", tmp_path / "a.nfr").same


def test_states_are_compared_bit_by_bit() -> None:
    def paths(one: object, other: object) -> list[str]:
        return [difference.path for difference in differences(one, other)]

    one = {"a": np.array([np.nan, 0.0]), "b": [1, {"c": True}]}
    assert not differences(one, {"a": np.array([np.nan, 0.0]), "b": [1, {"c": True}]})
    assert paths(one, {"a": np.array([np.nan, -0.0]), "b": [1, {"c": 1}]}) == ["a", "b/1/c"]
    assert paths(one, {"b": [1], "d": 5}) == ["a", "b/0", "b/1/c", "b", "d"]
    assert paths({"a": np.zeros(2, np.float32)}, {"a": np.zeros(2, np.int32)}) == ["a"]


def test_a_damaged_file_is_compared_only_when_told(tmp_path: Path) -> None:
    record_a_session(tmp_path / "a.nfr")
    data = (tmp_path / "a.nfr").read_bytes()
    (tmp_path / "cut.nfr").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ReplayError, match="--recover"):
        diff_files(tmp_path / "a.nfr", tmp_path / "cut.nfr")
    found = diff_files(tmp_path / "a.nfr", tmp_path / "cut.nfr", recover=True)
    assert found.first is not None
    assert found.first.field == "length"
