"""The keep as a pair: the game's pictures wherever the twin walks, under any lamps, and who visits it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("vizdoom", reason="needs ViZDoom: pip install 'nextframe[freedoom]'")

from nextframe.runtime.core import IDLE, Action
from nextframe.runtime.session.registry import find_world
from nextframe.tools.evaluate.command import pair_of
from nextframe.worlds.evaluation.measures import psnr_db, squared_error
from nextframe.worlds.evaluation.players import Recorder, Tape
from nextframe.worlds.evaluation.subjects import Pair, play
from nextframe.worlds.freedoom import world as keep
from nextframe.worlds.freedoom.evaluation.pair import KeepDream, KeepTeacher, Visitors, steps_of
from nextframe.worlds.freedoom.teacher.keep_game import KeepGame
from nextframe.worlds.freedoom.teacher.plan import LAMPS
from tests.worlds.freedoom.test_keep import one

SEEDS = range(3)
RED, WOOD = LAMPS.index("r"), LAMPS.index("w")
RED_ROOM = (3 * 32.0, 20 * 32.0, 0.4)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = pair_of(find_world("freedoom"))
    yield made
    made.close()


@pytest.fixture
def teacher(pair: Pair) -> KeepTeacher:
    assert isinstance(pair.teacher, KeepTeacher)
    return pair.teacher


@pytest.fixture
def world(pair: Pair) -> KeepDream:
    assert isinstance(pair.world, KeepDream)
    return pair.world


def test_the_pictures_with_lamps_out_are_those_of_a_game_with_them_out(teacher: KeepTeacher) -> None:
    w = one(*RED_ROOM)
    lit = np.ones((1, len(LAMPS)), bool)
    lit[0, [RED, WOOD]] = False
    teacher.walkers = replace(w, lit=lit)
    composed = teacher.frames()[0]
    dark = KeepGame([RED, WOOD])
    try:
        dark.put(*RED_ROOM)
        true = dark.frame()
    finally:
        dark.close()
    # The control: with the lamps lit it is another picture.
    teacher.walkers = w
    assert np.abs(teacher.frames()[0].astype(int) - true).mean() > 10
    assert np.abs(composed.astype(int) - true).mean() < 0.5


def test_world_and_teacher_begin_at_the_same_places_and_go_the_same_way(pair: Pair) -> None:
    recorder = Recorder(pair.player(pair.teacher, SEEDS))
    play(pair.teacher, SEEDS, recorder, 10)
    play(pair.world, SEEDS, recorder.tape, 10)
    shown = pair.world.frames()
    for row, true in enumerate(pair.teacher.frames()):
        right = psnr_db(squared_error(shown[row], true).mean())
        assert right > 22
        assert right > psnr_db(squared_error(shown[row - 1], true).mean()) + 5, "another row's is another place"


def test_equal_sessions_are_equal_pictures(teacher: KeepTeacher) -> None:
    tape = Tape([[Action(axes={"move_y": 127, "look_x": 40})] * len(SEEDS)] * 6)
    play(teacher, SEEDS, tape, 6)
    once = teacher.frames()
    play(teacher, SEEDS, tape, 6)
    assert np.array_equal(teacher.frames(), once)
    play(teacher, SEEDS, Tape([[IDLE] * len(SEEDS)] * 6), 6)
    assert not np.array_equal(teacher.frames(), once)


def test_visitors_go_far_in_the_world_and_are_never_lost(world: KeepDream) -> None:
    world.start(SEEDS)
    visitors, start, lost = Visitors(world, SEEDS), world.walkers, 0
    farthest = np.zeros(len(SEEDS))
    for tick in range(80):
        world.step(visitors.actions(tick))
        now = world.walkers
        farthest = np.maximum(farthest, np.hypot(now.x - start.x, now.y - start.y))
        lost += int(world.lost().sum())
    assert (farthest > 100).all()
    assert lost == 0


def test_who_is_inside_a_wall_is_lost(world: KeepDream) -> None:
    world.start(SEEDS)
    inside = keep.latents_of(one(32.0, 20 * 32.0))
    world.generator.last = torch.from_numpy(np.concatenate([inside, world.generator.last.numpy()[1:]]))
    assert world.lost().tolist() == [True, False, False]


def test_whose_picture_is_of_another_place_is_lost(world: KeepDream, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start(SEEDS)
    decode = world.generator.decode
    monkeypatch.setattr(world.generator, "decode", lambda latent: decode(latent.roll(1, 0)))
    assert world.lost().all()
    world.start(SEEDS)
    assert not world.lost().any()


def test_actions_are_steps_of_the_game() -> None:
    steps = steps_of([Action(frozenset({"dark"}), {"look_x": 127, "move_y": -127}), Action(axes={"move_x": 127})])
    assert [part.tolist() for part in (steps.look, steps.aside, steps.ahead)] == [[1, 0], [0, 1], [-1, 0]]
    assert steps.light is not None
    assert steps.dark is not None
    assert (steps.light.tolist(), steps.dark.tolist()) == ([False, False], [True, False])


def test_an_evaluation_that_is_ended_leaves_no_game_behind(tmp_path: Path) -> None:
    """By SIGTERM, while the game runs; the control is that it did run."""
    command = [
        sys.executable,
        "-m",
        "nextframe.runtime.cli.app",
        "eval",
        "freedoom",
        "--quick",
        "--out",
        str(tmp_path / "eval.json"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        until_s = time.monotonic() + 60
        while not (games := games_of(running.pid)) and time.monotonic() < until_s:
            time.sleep(0.1)
        assert games
        running.terminate()
        assert running.wait(60) == 130
    until_s = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in games) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in games)


def games_of(pid: int) -> list[int]:
    """The engines that a process has started."""
    told = subprocess.run(["pgrep", "-P", str(pid), "-f", "vizdoom"], capture_output=True, text=True, check=False)
    return [int(line) for line in told.stdout.split()]
