"""The circuit at rest: the teacher's cars stop and stand, some drivers wait, and idling is measured from there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import pytest

from nextframe.worlds.circuit.evaluation.rest import standing
from nextframe.worlds.circuit.evaluation.rig import Bench
from nextframe.worlds.circuit.recipe.data import RESTS_EVERY, Driver, coming_to_rest, rests
from nextframe.worlds.circuit.recipe.on_policy import Careless
from nextframe.worlds.circuit.teacher.render import Renderer
from nextframe.worlds.circuit.teacher.simulator import REST_SPEED, Controls, Simulator, State


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator()


def away_px(a: State, b: State) -> float:
    return math.hypot(a.player.x - b.player.x, a.player.y - b.player.y)


def test_a_car_that_brakes_and_lets_go_stands(simulator: Simulator) -> None:
    state = simulator.reset(1_000_502)
    for _ in range(120):
        state = simulator.step(state, coming_to_rest(state))
    later = state
    for _ in range(60):
        later = simulator.step(later, Controls())
    assert away_px(state, later) < 0.01
    assert later.player.speed < REST_SPEED / 100


def test_the_same_car_with_its_throttle_pressed_leaves(simulator: Simulator) -> None:
    """The control of the test above."""
    state = simulator.reset(1_000_502)
    for _ in range(120):
        state = simulator.step(state, coming_to_rest(state))
    started = simulator.step(state, Controls(throttle=1.0))
    assert 0 < away_px(state, started) < REST_SPEED
    for _ in range(20):
        started = simulator.step(started, Controls(throttle=1.0))
    assert away_px(state, started) > 5


@pytest.mark.parametrize("kind", [Driver, Careless])
def test_one_driver_in_eight_stops_and_waits(simulator: Simulator, kind: type[Driver] | type[Careless]) -> None:
    def share_of_rest(seed: int) -> float:
        state, driver, resting = simulator.reset(seed), kind(simulator, seed), 0
        for _ in range(300):
            state = simulator.step(state, driver.controls(state))
            resting += state.player.speed < 0.01
        return resting / 300

    waiting = [seed for seed in range(2 * RESTS_EVERY) if rests(seed)]
    assert len(waiting) == 2
    assert all(share_of_rest(seed) > 0.2 for seed in waiting)
    assert all(share_of_rest(seed) < 0.2 for seed in (0, 1, 2))


def test_what_idle_is_measured_from_stands_in_the_teacher(simulator: Simulator) -> None:
    past = standing(Bench(simulator, cast(Renderer, None), Path()), 1_000_502)  # nothing is drawn
    assert away_px(past[0][0], past[-1][0]) < 0.1
    assert past[-1][1] == Controls()
