"""Claims about the drive world over stage processes, on the processor and watched. Its weights here are random."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from nextframe.model.drift.bank import save_bank
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.stages.generator import StagedGenerator
from nextframe.model.stages.kinds import dynamics_config as config_of
from nextframe.model.stages.kinds import kind_of, new_tokenizer
from nextframe.model.stages.layout import parse_layout
from nextframe.model.stages.ring import StageWeights
from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import FixedClock
from nextframe.runtime.session.parts.drift import BANK, REMEDIES
from nextframe.runtime.session.parts.place import PlaceOptions, placement
from nextframe.runtime.session.parts.stages import StageChoice, load_staged
from nextframe.runtime.session.registry import WorldFolder, load_world
from nextframe.runtime.session.supervisor import SupervisorLimits
from nextframe.worlds.drive.recipe.drift_bank import make_bank, real_sessions
from nextframe.worlds.drive.teacher.simulator import Simulator
from nextframe.worlds.drive.world import dynamics_config, new_generator
from nextframe.worlds.recipe.drift_bank import scores_of
from tests.support.networks import finished, random_dynamics
from tests.support.worlds.drive import SHORT, drive_folder, random_chase, real_past, store_short
from tests.support.worlds.staged import PATIENT, strike, tick_of

APART = "denoise:0-1@cpu:0, denoise:1-2@cpu:1, decode@cpu:2"
TWO = "denoise:0-3@cpu:0, denoise:3-6@cpu:1, decode@cpu:1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> StageWeights:
    return store_short(tmp_path_factory.mktemp("short"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> WorldFolder:
    return drive_folder(tmp_path_factory.mktemp("worlds") / "course")


@pytest.fixture(scope="module")
def apart(weights: StageWeights) -> Iterator[StagedGenerator]:
    """Two processes with a layer each, and one that only decodes."""
    layout = parse_layout(APART, SHORT.layers)
    generator = StagedGenerator(random_chase(), SHORT, weights, layout, limits=PATIENT)
    yield generator
    generator.close()


def play(generator: RollingGenerator, ticks: int) -> list[tuple[int, bytes]]:
    latents, conditions = real_past(1)
    generator.prefill(latents, conditions)
    made = []
    for tick in range(ticks):
        condition = conditions[:, tick % conditions.shape[1]]
        latent = finished(generator.start(condition, 5, (1, 2, 4)[tick % 3]))
        frame = generator.decode(latent)
        generator.commit(latent, condition)
        made.append((generator.checksum(), frame.numpy().tobytes()))
    return made


def test_three_processes_make_the_frames_and_checksums_of_one(apart: StagedGenerator) -> None:
    one = new_generator(random_chase(), random_dynamics(SHORT))
    made = play(apart, 5)
    assert made == play(one, 5)
    assert len({frame for _, frame in made}) == 5, "the pictures say nothing if they are all the same"
    assert repr(apart.snapshot()) == repr(one.snapshot())


def test_each_process_reads_only_its_own(apart: StagedGenerator) -> None:
    layer, decoder = ({key.partition("/")[0] for key in part["keys"]} for part in apart.processes.opened)
    assert all(key.startswith("blocks.1.") for key in layer)
    assert decoder == {"tokenizer"}
    assert any(key.startswith("planes.") for key in apart.opened.keys), "what lies where is the front's"


def test_sizes_come_back_from_the_line_that_a_process_is_told() -> None:
    config = replace(dynamics_config(), rests=None)  # the rule is the front's: it makes the latents
    fields = json.loads(json.dumps(config.__dict__))
    assert repr(config_of(fields)) == repr(config), "the parts by their names, too"
    chase = random_chase()
    sent = json.loads(json.dumps(chase.config.__dict__))
    assert kind_of(chase) == "chase"
    assert new_tokenizer("chase", sent).config == chase.config


@pytest.mark.slow
def test_a_killed_stage_of_the_drive_world_comes_back_without_a_bit_lost(folder: WorldFolder) -> None:
    supervision = SupervisorLimits(snapshot_every_ticks=3, deaths=9)
    twin: Any = load_world(folder, FixedClock())
    world = load_staged(folder, StageChoice(TWO), FixedClock(), supervision=supervision)
    inner: Any = world.inner
    try:
        world.reset(1), twin.reset(1)
        for tick in range(9):
            if tick in {4, 5}:
                strike(inner.stages, signal.SIGKILL)
            assert tick_of(world, tick) == tick_of(twin, tick), tick
        assert len(world.faults) == 2
    finally:
        world.close()
        twin.close()


@pytest.mark.slow
def test_a_recording_over_two_processes_verifies_in_one(
    folder: WorldFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = str(tmp_path / "two.nfr")
    run = ["run", str(folder.path), "--ticks", "12", "--bot", "wander", "--clock", "fixed", "--no-video"]
    assert run_command([*run, "--stages", TWO, "--record", recording, "--out", str(tmp_path)]) == 0
    assert run_command(["replay", recording, "--verify", "--world", str(folder.path), "--device", "cpu"]) == 0
    assert "identical: 12 ticks" in capsys.readouterr().out


@pytest.mark.slow
def test_the_drive_world_is_watched_where_it_has_a_bank_and_is_not_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights drift at once, which is the control: the simulator's own sessions stay inside."""
    found = drive_folder(tmp_path / "course")
    bank = make_bank(sessions=3, ticks=220, held_out=4)
    save_file(save_bank(bank), found.path / BANK)
    run = ["run", str(found.path), "--ticks", "120", "--bot", "wander", "--clock", "fixed", "--no-video", "--json"]
    assert run_command([*run, "--drift", "log", "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["drift"]["action"] == "log"
    assert report["drift"]["alarm_count"] >= 1
    assert max(scores_of(bank, *next(real_sessions(Simulator(), 1, 120, 0.0)))) < report["drift"]["alarms"][0]["score"]
    for remedy in REMEDIES:
        assert run_command([*run, "--drift", remedy, "--out", str(tmp_path)]) == 2
        assert f"--drift {remedy}: expected a world whose drift can be mended" in capsys.readouterr().err


def test_the_drive_world_is_placed_like_the_circuit(folder: WorldFolder) -> None:
    assert placement(PlaceOptions(device="cpu"), folder).device == "cpu"
    staged = placement(PlaceOptions(stages="auto", processes=2), folder).stages
    assert staged == StageChoice("auto", 2)
