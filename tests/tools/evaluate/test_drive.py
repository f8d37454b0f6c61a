"""The road course as a pair: cars side by side, racers who look, who is lost, and places a lap later."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from nextframe.runtime.core import AXIS_LEVELS, Action
from nextframe.runtime.session.registry import find_world
from nextframe.tools.evaluate.command import pair_of
from nextframe.tools.evaluate.measures.memory_return import found
from nextframe.worlds.drive.evaluation import pair as drive
from nextframe.worlds.drive.evaluation.pair import DriveDream, DriveTeacher, Racers, controls_of, elsewhere, second_lap
from nextframe.worlds.drive.teacher.track import WALL_M
from nextframe.worlds.evaluation.measures import psnr_db, squared_error
from nextframe.worlds.evaluation.players import Tape
from nextframe.worlds.evaluation.subjects import Pair, play

SEEDS = (1, 2)
LEFT = Action(axes={"steer": -AXIS_LEVELS, "throttle": AXIS_LEVELS})


@pytest.fixture(scope="module")
def pair() -> Pair:
    return pair_of(find_world("drive"))


@pytest.fixture
def world(pair: Pair) -> DriveDream:
    assert isinstance(pair.world, DriveDream)
    return pair.world


@pytest.fixture
def teacher(pair: Pair) -> DriveTeacher:
    assert isinstance(pair.teacher, DriveTeacher)
    return pair.teacher


def test_equal_seeds_and_actions_generate_the_same_again_and_begin_where_the_teacher_does(
    world: DriveDream, teacher: DriveTeacher
) -> None:
    tape = Tape([[LEFT, LEFT]])
    play(world, SEEDS, tape, 3)
    first = world.frames()
    play(world, SEEDS, tape, 3)
    assert np.array_equal(world.frames(), first)
    assert np.array_equal(world.frame(1), first[1])
    play(teacher, SEEDS, tape, 3)
    assert all(psnr_db(squared_error(a, b)) > 25 for a, b in zip(first, teacher.frames(), strict=True))
    play(teacher, SEEDS, Tape([[Action(), Action()]]), 12)
    play(world, SEEDS, tape, 12)
    assert any(psnr_db(squared_error(a, b)) < 25 for a, b in zip(world.frames(), teacher.frames(), strict=True))


def test_the_teacher_joins_the_world_where_it_is(pair: Pair, world: DriveDream, teacher: DriveTeacher) -> None:
    assert pair.teacher_joins is not None
    play(teacher, SEEDS, Tape([[Action(), Action()]]), 60)
    play(world, SEEDS, Tape([[LEFT, LEFT]]), 60)
    apart = [psnr_db(squared_error(a, b)) for a, b in zip(world.frames(), teacher.frames(), strict=True)]
    pair.teacher_joins()
    joined = [psnr_db(squared_error(a, b)) for a, b in zip(world.frames(), teacher.frames(), strict=True)]
    assert min(joined) > 25 > max(apart)
    begun_at = world.states.x.copy()
    teacher.step([LEFT, LEFT])
    assert np.array_equal(world.states.x, begun_at), "the teacher goes on alone"


def test_the_palette_is_the_worlds_own_action_space() -> None:
    space = find_world("drive").spec.actions
    assert set(drive.palette().space.axes) == set(space.axes)
    assert drive.palette().space.prompts == {group: tuple(words) for group, words in space.prompts.items()}


def test_what_was_said_becomes_controls_and_a_pedal_is_never_negative() -> None:
    controls = controls_of([replace(LEFT, prompt="snow"), Action(axes={"throttle": -AXIS_LEVELS})])
    assert controls.steer.tolist() == [-1.0, 0.0]
    assert controls.throttle.tolist() == [1.0, 0.0]
    assert controls.weather.tolist() == [2, -1]
    assert controls.time.tolist() == [-1, -1]


def test_racers_keep_the_cars_going_and_on_the_road(teacher: DriveTeacher) -> None:
    play(teacher, SEEDS, Racers(teacher, SEEDS), 200)
    _, _, side = teacher.bench.simulator.track.locate(teacher.states.x, teacher.states.y)
    assert (teacher.states.speed > 0.8).all()
    assert (np.abs(side) < 6).all()


def test_who_is_beyond_the_fence_is_lost_and_whose_picture_is_of_another_place(world: DriveDream) -> None:
    world.start(SEEDS)
    assert not world.lost().any()
    track, states = world.bench.simulator.track, world.states
    index, _, _ = track.locate(states.x, states.y)
    normal = np.stack([-np.sin(track.tangent[index]), np.cos(track.tangent[index])], 1)
    out = track.line[index] + (WALL_M + 2 * drive.LOST_M) * normal
    world.states = replace(states, x=np.where([True, False], out[:, 0], states.x),
                           y=np.where([True, False], out[:, 1], states.y))  # fmt: skip
    assert world.lost().tolist() == [True, False]
    world.states = replace(states, heading=states.heading + np.array([0.0, 1.0]))
    assert world.lost().tolist() == [False, True], "what is shown is not what is there"


def test_a_lap_later_the_right_place_is_among_others(world: DriveDream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lap of a few metres, so that it is soon over."""
    monkeypatch.setattr(drive, "LOOK_EVERY_TICKS", 4)
    cases = list(islice(second_lap(world, SEEDS, lap_m=20.0), 3))
    assert all(30 <= len(case.others) <= drive.PLACES for case in cases)
    assert all(5 < case.away_ticks < 60 and case.window_ticks == 16 for case in cases)
    assert [found(case).rank for case in cases] == [0, 0, 0]


def test_elsewhere_is_nowhere_near(world: DriveDream) -> None:
    world.start([5])
    true, others = world.bench.renderer.draw(world.states), elsewhere(world.bench, world.states)
    assert min(np.abs(other.astype(int) - true).max() for other in others) > 40
