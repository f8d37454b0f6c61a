"""Claims about `nextframe replay`: from any tick, under other conditions, and bit for bit across processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import Action, FixedClock, ReplayError, TickPlan, TickResult
from nextframe.runtime.recording.format import Replay
from nextframe.runtime.recording.playback import restore, span_of
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.recording.writer import ReplayWriter
from nextframe.runtime.session import whatif
from nextframe.runtime.session.playback import PlaybackOptions, open_recorded, play_back
from nextframe.runtime.session.whatif import TwoSides, WhatIf, psnr_db
from nextframe.worlds.toy.world import ToyWorld
from tests.support.paths import ROOT
from tests.support.replays import a_state, record_a_session


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frames_of(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


# --- some ticks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "last"), [(0, 60), (17, 25), (25, 31), (59, 60), (None, 12), (40, None)])
def test_any_stretch_plays_back_and_its_video_shows_only_that(folder: Path, first: Any, last: Any) -> None:
    path = folder / "a.nfr"
    record_a_session(path, snapshot_every_ticks=8)
    options = PlaybackOptions(path, from_tick=first, to_tick=last, video=folder / "a.mp4")
    assert play_back(options) == 0
    assert frames_of(folder / "a.mp4") == (60 if last is None else last) - (first or 0)


def test_a_stretch_with_a_wrong_checksum_in_it_is_named_and_one_before_it_is_not(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.nfr"
    replay = record_a_session(path, snapshot_every_ticks=8)
    ticks = list(replay.ticks)
    ticks[45] = replace(ticks[45], checksum=5)
    monkeypatch.setattr(
        "nextframe.runtime.session.playback.read_replay", lambda *_, **__: replace(replay, ticks=tuple(ticks))
    )
    assert play_back(PlaybackOptions(path, verify=True, from_tick=20, to_tick=45)) == 0
    assert play_back(PlaybackOptions(path, verify=True, from_tick=20, to_tick=46)) == 1
    assert "differs at tick 45: checksum" in capsys.readouterr().out


@pytest.mark.parametrize(("first", "last"), [(60, None), (-1, None), (30, 30), (30, 20), (0, 61)])
def test_ticks_that_it_does_not_hold_are_refused(folder: Path, first: Any, last: Any) -> None:
    replay = record_a_session(folder / "a.nfr")
    with pytest.raises(ReplayError, match="the recording holds ticks 0 to 59"):
        span_of(replay, folder / "a.nfr", first, last)


def test_a_recording_that_began_in_the_middle_plays_back_from_its_own_beginning(folder: Path) -> None:
    assert play_back(PlaybackOptions(ROOT / "tests/golden/toy-1.1-middle.nfr", verify=True)) == 0
    assert play_back(PlaybackOptions(ROOT / "tests/golden/toy-1.0.nfr", verify=True)) == 0


def test_a_state_that_does_not_fit_the_world_is_one_clear_line(folder: Path) -> None:
    with pytest.raises(ReplayError, match=r"a\.nfr: expected a state that fits toy, got one that does not \(KeyError"):
        restore(ToyWorld(), a_state(0), "a.nfr")


def test_a_damaged_recording_says_what_is_played_and_what_is_lost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "a.nfr"
    record_a_session(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 200] + b"?" + data[len(data) - 199 :])
    with pytest.raises(ReplayError, match="--recover"):
        play_back(PlaybackOptions(path, verify=True))
    assert play_back(PlaybackOptions(path, verify=True, recover=True)) == 3
    lost = read_replay(path, recover=True).lost_ticks
    assert f"{lost} ticks" in capsys.readouterr().err


def test_on_another_machine_a_difference_comes_with_what_it_means(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.nfr"
    replay = record_a_session(path)
    elsewhere = replace(replay.header, environment={"torch": "2.0", "cpu": "another", "python": "3.0"})
    ticks = [replace(tick, checksum=1 if tick.checksum else None) for tick in replay.ticks]
    monkeypatch.setattr(
        "nextframe.runtime.session.playback.read_replay", lambda *_, **__: Replay(elsewhere, tuple(ticks), True)
    )
    assert play_back(PlaybackOptions(path, verify=True)) == 1
    said = capsys.readouterr().out
    assert "recorded with cpu another" in said
    assert "a difference is not a fault" in said


# --- what if -----------------------------------------------------------------------------------------------------


def test_another_quality_is_compared_tick_by_tick_and_never_called_identical(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "a.nfr"
    record_a_session(path, steps=[4] * 20 + [2] * 40)
    assert play_back(PlaybackOptions(path, quality=4)) == 0
    said = capsys.readouterr().out
    assert "what if, not a playback: differs from tick 20 on" in said
    assert "identical:" not in said
    assert "verified" not in said
    report = json.loads((folder / "out/what_if.json").read_text())
    assert (report["schema"], report["first_differing_tick"], report["ticks"]) == ("nextframe.whatif/1", 20, 60)
    assert report["psnr_db"][:20] == [None] * 20
    assert report["what_if"]["steps"] == 4
    assert report["as_recorded"] == {"checksums_compared": 12, "first_difference": None}
    apart = [value for value in report["psnr_db"] if value is not None]
    assert report["psnr_mean_db"] == pytest.approx(sum(apart) / len(apart))
    assert "verified" not in json.dumps(report)
    assert frames_of(folder / "out/what_if.mp4") == 60


def test_the_quality_that_was_recorded_differs_in_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_a_session(folder / "a.nfr", steps=[2] * 60)
    assert play_back(PlaybackOptions(folder / "a.nfr", quality=2)) == 0
    assert "no pixel differs in 60 ticks" in capsys.readouterr().out


def test_from_a_tick_on_the_past_is_the_recorded_one(folder: Path) -> None:
    path = folder / "a.nfr"
    record_a_session(path, steps=[2] * 60, snapshot_every_ticks=8)
    options = PlaybackOptions(path, quality=1, from_tick=21, to_tick=29, report=folder / "r.json")
    assert play_back(options) == 0
    report = json.loads((folder / "r.json").read_text())
    assert (report["first_tick"], report["ticks"], report["first_differing_tick"]) == (21, 8, 21)


class OtherWeights(ToyWorld):
    """Steers a little to the left of what it is told, from its third tick on."""

    def __init__(self) -> None:
        super().__init__(FixedClock())
        self._told = 0

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        self._told += 1
        steer = action.axes.get("steer", 0) - (20 if self._told > 2 else 0)
        return super().advance(replace(action, axes={**action.axes, "steer": steer}), plan)


def two_sides(path: Path, replay: Replay, right: ToyWorld, **ticks: int) -> TwoSides:
    left = ToyWorld(FixedClock())
    for world in (left, right):
        world.reset(7)
    asked = WhatIf(path, None, Path("unused.mp4"), Path("unused.json"))
    return TwoSides(asked, replay, span_of(replay, path, **ticks), left, right)


def test_other_weights_are_compared_from_the_same_actions(folder: Path) -> None:
    replay = record_a_session(folder / "a.nfr")
    both = two_sides(folder / "a.nfr", replay, OtherWeights())
    pairs = [both.advance() for _ in range(30)]
    assert both.differences.report()["first_differing_tick"] == 2
    assert pairs[0][0].shape == (48, 128, 3)
    assert np.array_equal(pairs[0][0][:, :64], pairs[0][0][:, 64:])
    assert not np.array_equal(pairs[9][0][:, :64], pairs[9][0][:, 64:])
    assert both.verifier.first_difference is None  # the left side is as recorded all the while


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tick_hz": Fraction(30)}, "tick_hz: recorded 20, here 30"),
        ({"width_px": 32}, "width_px: recorded 64, here 32"),
        ({"ladder": (2, 4)}, "expected denoise steps of 2, 4, .* got 1"),
    ],
)
def test_a_world_that_cannot_play_the_session_is_refused(folder: Path, change: dict[str, Any], says: str) -> None:
    replay, info = record_a_session(folder / "a.nfr"), ToyWorld().info
    whatif.check_can_play(replay, info, info, None)
    with pytest.raises(ReplayError, match=says):
        whatif.check_can_play(replay, info, replace(info, **change), None)


def test_a_rung_that_the_world_was_not_trained_for_is_refused(folder: Path) -> None:
    record_a_session(folder / "a.nfr")
    with pytest.raises(ReplayError, match=r"expected denoise steps of 1, 2, 4, .* got 3"):
        play_back(PlaybackOptions(folder / "a.nfr", quality=3))
    assert not (folder / "out").exists()


def test_psnr_is_what_the_textbook_says() -> None:
    black, grey = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 51, np.uint8)
    assert psnr_db(black, black) is None
    assert psnr_db(black, grey) == pytest.approx(20 * np.log10(5))


# --- two processes -----------------------------------------------------------------------------------------------


def nextframe(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "nextframe.runtime.cli.app", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def across_two_processes(folder: Path, world: str, ticks: int) -> None:
    nextframe(
        folder, "run", world, "--ticks", str(ticks), "--bot", "wander", "--seed", "5", "--clock", "fixed",
        "--no-video", "--record", "a.nfr",
    )  # fmt: skip
    replay = read_replay(folder / "a.nfr")
    assert (replay.complete, len(replay.ticks)) == (True, ticks)
    nextframe(folder, "replay", "a.nfr", "--verify")


def test_ten_thousand_ticks_are_bit_for_bit_the_same_in_another_process(folder: Path) -> None:
    across_two_processes(folder, "toy", 10_000)


def test_a_network_is_bit_for_bit_the_same_in_another_process(folder: Path) -> None:
    across_two_processes(folder, "circuit", 41)


@pytest.mark.slow
def test_ten_thousand_ticks_of_a_network_are_bit_for_bit_the_same_in_another_process(folder: Path) -> None:
    across_two_processes(folder, "circuit", 10_000)


def test_a_network_seeks_to_a_snapshot_bit_for_bit(folder: Path) -> None:
    """21 ticks recorded with snapshots; each is a place to begin, and the checksums after it agree."""
    path = folder / "a.nfr"
    across_two_processes(folder, "circuit", 21)
    replay = read_replay(path)
    opened = open_recorded(replay.header, None)
    writer = ReplayWriter(
        path, replay.header, overwrite=True, live=False, take_snapshot=opened.world.snapshot, snapshot_every_ticks=8
    )
    for n, tick in enumerate(replay.ticks):
        opened.world.advance(tick.action, TickPlan(tick.steps_applied, 2**62)).commit()
        writer.record_tick(n, replace(tick, checksum=opened.world.checksum()))
    writer.close()
    assert [stored.tick for stored in read_replay(path).snapshots] == [8, 16]
    for first in (8, 19):
        assert play_back(PlaybackOptions(path, verify=True, from_tick=first)) == 0
