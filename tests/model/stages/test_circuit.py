"""Claims about the shipped circuit over stage processes: recordings verify, frames agree, the CLI refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextframe.model.stages.process.processes import StageLimits
from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import Action, ConfigError, FixedClock, TickPlan
from nextframe.runtime.session.parts.stages import StageChoice, load_staged, stage_choice
from nextframe.runtime.session.registry import find_world, load_world

UNEVEN = "denoise:0-1@cpu:0, denoise:1-6@cpu:1, decode@cpu:1"


def record(path: Path, *more: str) -> int:
    arguments = ["run", "circuit", "--ticks", "45", "--bot", "wander", "--clock", "fixed", "--no-video"]
    return run_command([*arguments, "--out", str(path.parent), "--record", str(path), *more])


def test_a_one_process_recording_verifies_over_two_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path / "one.nfr") == 0
    assert run_command(["replay", str(tmp_path / "one.nfr"), "--verify", "--stages", "auto", "--processes", "2"]) == 0
    assert "identical: 45 ticks" in capsys.readouterr().out


@pytest.mark.slow
def test_the_circuits_frames_over_three_processes_are_those_of_one() -> None:
    found = find_world("circuit")
    one = load_world(found, FixedClock())
    choice, patient = StageChoice("auto", 3), StageLimits(hang_s=60.0)
    three = load_staged(found, choice, FixedClock(), limits=patient)
    try:
        for world in (one, three):
            world.reset(11)
        for tick in range(40):
            action = Action(axes={"steer": (tick % 7 - 3) / 3, "throttle": 1.0}, prompt="rain" if tick == 9 else None)
            results = [world.advance(action, TickPlan((1, 2, 4)[tick % 3], deadline_ns=0)) for world in (one, three)]
            assert results[0].frames[0].tobytes() == results[1].frames[0].tobytes(), tick
            for result in results:
                result.commit()
            assert one.checksum() == three.checksum(), tick
    finally:
        one.close()
        three.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--stages", "denoise:0-3@cpu:0, denoise:4-6@cpu:1"), "the end is not included"),
        (("--stages", "auto", "--processes", "9"), "expected 1 to 6 processes"),
        (("--processes", "2"), "expected --stages auto beside it"),
        (("--stages", "denoise:0-6@cpu:0", "--processes", "2"), "a layout names its devices itself"),
        (("--stages", UNEVEN, "--side-by-side"), "leave one of them out"),
    ],
)
def test_a_placement_that_cannot_be_is_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path / "never.nfr", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_world_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="toy has none"):
        stage_choice("auto", 2, find_world("toy"))
