"""Claims about `--ahead`: the same session, said in the report; and on the shipped circuit, tick for tick."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nextframe.runtime.ahead.counts import in_words
from nextframe.runtime.ahead.world import AheadWorld
from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import ManualClock, World
from nextframe.runtime.governor.adaptive import TraceGovernor
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.session.registry import find_world, load_world
from tests.support.worlds.ahead import AheadSession, held_inputs

COUNTED = {
    "hit": 3, "miss": 1, "none": 1, "hit_rate": 0.75, "used_ms": 1500.0, "wasted_ms": 250.0, "extra_steps": 7,
    "ticks_with_extra_steps": 4,
}  # fmt: skip


def run(*arguments: str) -> int:
    return run_command(["run", *arguments])


def test_the_report_says_in_words_what_was_guessed() -> None:
    assert in_words(COUNTED) == (
        "ahead: 75.0 % of guesses right, 1.50 s of work used, 0.25 s thrown away, 7 denoise steps gained"
    )
    assert "nothing guessed" in in_words({**COUNTED, "hit_rate": None})


def test_a_world_that_cannot_tick_in_pieces_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ticks", "5", "--idle", "--clock", "fixed", "--no-video", "--out", str(tmp_path), "--ahead"]
    assert run("toy", *options) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "leave out --ahead" in complaint


@pytest.mark.slow
def test_a_recording_made_ahead_is_the_recording_of_one_that_waits(tmp_path: Path) -> None:
    found = []
    for name in ("waits", "ahead"):
        record = tmp_path / f"{name}.nfr"
        options = ["--ahead"] if name == "ahead" else []
        code = run(
            "circuit", "--ticks", "60", "--script", "tour", "--clock", "fixed", "--no-video", "--out", str(tmp_path),
            "--report", str(tmp_path / f"{name}.json"), "--record", str(record), *options,
        )  # fmt: skip
        assert code == 0
        found.append(read_replay(record).ticks)
    assert found[0] == found[1]
    reports = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("waits", "ahead")]
    assert "ahead" not in reports[0]
    assert reports[1]["ahead"]["hit"] > 30
    assert run_command(["replay", str(tmp_path / "ahead.nfr"), "--verify"]) == 0


@pytest.mark.slow
def test_three_hundred_ticks_of_the_circuit_are_those_of_a_loop_that_waits() -> None:
    actions = [replace(one, prompt="rain" if one.prompt else None) for one in held_inputs(300, seed=9)]
    levels = [(1, 2, 4)[tick // 10 % 3] for tick in range(len(actions))]
    found = []
    for guessing in (False, True):
        clock = ManualClock()
        inner: World = load_world(find_world("circuit"), clock)
        world = AheadWorld(inner, clock) if guessing else None
        session = AheadSession(
            world or inner, clock, actions, ahead=world, governor=TraceGovernor(levels), checksum_every=1
        ).run(len(actions))
        found.append((session.display.crcs, session.recorder.checksums, session.recorder.steps))
        if guessing:
            assert session.outcomes().count("hit") > 150
            assert session.outcomes().count("miss") > 20
    assert found[0] == found[1]
