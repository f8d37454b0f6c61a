"""The teacher: deterministic, drivable, and never a place where a car can get lost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from nextframe.worlds.circuit.recipe.data import Driver, drive
from nextframe.worlds.circuit.teacher.simulator import (
    BLEND_TICKS,
    TIMES,
    TOP_SPEED,
    WEATHERS,
    Car,
    Controls,
    State,
    controls_of,
)
from nextframe.worlds.circuit.teacher.track import HEIGHT_PX, WALL_PX, WIDTH_PX, Cover
from nextframe.worlds.evaluation.measures import visible_change
from tests.support.networks import renderer, simulator

VISIBLE_SHARE = 0.10


def play(state: State, controls: Iterable[Controls]) -> list[State]:
    states = []
    for given in controls:
        state = simulator().step(state, given)
        states.append(state)
    return states


def on_the_line(lap: float, speed: float, *, weather: str = "clear") -> State:
    """The player on the centre line, pointing along it; the rival out of the way, half a lap on."""
    track = simulator().track
    index = int(lap * len(track.line)) % len(track.line)
    angle = float(track.tangent[index])
    x, y = (float(part) for part in track.line[index])
    state = simulator().reset(0, weather=weather, time="day")
    away = (index + len(track.line) / 2) % len(track.line)
    player = Car(x, y, angle, speed * math.cos(angle), speed * math.sin(angle))
    return replace(state, player=player, rival_index=away)


def turned(state: State, steer: float, ticks: int = 5) -> float:
    """How far the heading turns, radians; positive is clockwise on the screen, to the driver's right."""
    after = play(state, [Controls(steer, 0.5)] * ticks)[-1]
    return math.remainder(after.player.heading - state.player.heading, 2 * math.pi)


# --- determinism --------------------------------------------------------------------------------------------------


def test_equal_seeds_and_actions_give_equal_states_bit_for_bit() -> None:
    first, again, other = (drive(simulator(), seed, 300) for seed in (5, 5, 6))
    assert repr(first.states) == repr(again.states)
    assert first.conditions.tobytes() == again.conditions.tobytes()
    assert repr(first.states) != repr(other.states)


def test_a_step_leaves_the_state_before_as_it_was() -> None:
    state = simulator().reset(3)
    before = repr(state)
    simulator().step(state, Controls(1.0, 1.0, weather="snow"))
    assert repr(state) == before


# --- driving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lap", [0.02, 0.3, 0.5])
def test_steering_left_turns_left_and_right_right(lap: float) -> None:
    state = on_the_line(lap, 2.5)
    assert turned(state, -1.0) < -0.2
    assert turned(state, 1.0) > 0.2
    assert abs(turned(state, 0.0)) < 0.05


def test_a_car_that_stands_does_not_turn() -> None:
    state = on_the_line(0.02, 0.0)
    after = play(state, [Controls(1.0)] * 5)[-1]
    assert after.player.heading == pytest.approx(state.player.heading)


def test_throttle_speeds_up_to_no_more_than_top_speed() -> None:
    speeds = [s.player.speed for s in play(on_the_line(0.02, 0.0), [Controls(0.0, 1.0)] * 40)]
    assert speeds[0] > 0
    assert 2.0 < max(speeds) <= TOP_SPEED


def test_braking_stops_the_car_and_then_backs_up() -> None:
    state = on_the_line(0.02, 2.0)
    along = (math.cos(state.player.heading), math.sin(state.player.heading))
    forward = [s.player.vx * along[0] + s.player.vy * along[1] for s in play(state, [Controls(brake=1.0)] * 30)]
    stopped = next(k for k, speed in enumerate(forward) if speed <= 0)
    assert 3 < stopped < 15
    assert all(b < a for a, b in pairwise(forward[:stopped]))
    assert forward[-1] < -0.5


@lru_cache(maxsize=8)
def slide_px(weather: str, handbrake: bool = False) -> float:
    """How far a car moves across its own nose in a hard turn."""
    states = play(on_the_line(0.02, 3.5, weather=weather), [Controls(1.0, 0.5, handbrake=handbrake)] * 8)
    return sum(
        abs(-s.player.vx * math.sin(s.player.heading) + s.player.vy * math.cos(s.player.heading)) for s in states
    )


def test_snow_slides_more_than_rain_and_rain_more_than_a_dry_road() -> None:
    assert slide_px("snow") > 1.2 * slide_px("rain") > 1.2 * slide_px("clear")
    assert slide_px("fog") == pytest.approx(slide_px("clear")), "fog hides the road, it does not wet it"


def test_the_handbrake_lets_the_tail_slide() -> None:
    assert slide_px("clear", handbrake=True) > 1.5 * slide_px("clear")


# --- no car gets lost ---------------------------------------------------------------------------------------------


def random_controls(rng: np.random.Generator) -> Controls:
    numbers = rng.random(4)
    return Controls(
        float(rng.integers(-1, 2)), float(numbers[0] < 0.7), float(numbers[1] < 0.2), bool(numbers[2] < 0.1)
    )


@lru_cache(maxsize=1)
def random_session() -> tuple[State, ...]:
    """5,000 ticks: drivers of every temper in turn, and random keys, each held for a while."""
    rng = np.random.default_rng(11)
    state, states = simulator().reset(11), []
    for spell in range(100):
        driver, held = Driver(simulator(), spell), random_controls(rng)
        for _ in range(50):
            state = simulator().step(state, driver.controls(state) if spell % 2 else held)
            states.append(state)
    return tuple(states)


def test_no_car_leaves_the_course_in_five_thousand_random_ticks() -> None:
    track = simulator().track
    for state in random_session():
        for car in (state.player, state.rival):
            assert 0 < car.x < WIDTH_PX
            assert 0 < car.y < HEIGHT_PX
            assert abs(track.locate(car.x, car.y)[1]) < WALL_PX + 1.5
            assert car.speed < 2 * TOP_SPEED


def test_the_random_session_hits_walls_and_stops_so_that_it_means_something() -> None:
    states = random_session()
    assert sum(s.hit for s in states) > 100
    assert sum(s.player.speed < 0.05 for s in states) > 20
    assert sum(simulator().covered(s.player) is not None for s in states) > 100


def longest_run(flags: Iterable[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def hidden(car: Car) -> bool:
    return renderer().visible(car) <= VISIBLE_SHARE


def test_no_car_is_out_of_sight_for_longer_than_thirty_ticks_however_wildly_it_is_driven() -> None:
    for name in ("player", "rival"):
        assert 5 <= longest_run(hidden(getattr(state, name)) for state in random_session()) <= 30


@pytest.mark.parametrize("brake", [0.0, 1.0])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_no_car_can_be_parked_under_a_roof(part: float, brake: float) -> None:
    """Started at a stand under the roof, coasting or braking. Backing all the way through is slow but ends."""
    for cover in simulator().track.covers:
        states = play(on_the_line(cover.start + part * (cover.stop - cover.start), 0.0), [Controls(brake=brake)] * 60)
        assert any(simulator().covered(s.player) is None for s in states[: 60 if brake else 30])


def hidden_ticks(cover: Cover) -> int:
    """How long the player is out of sight, passing under this roof flat out from 10 px before it."""
    before = 10 / simulator().track.length_px
    states = play(on_the_line(cover.start - before, TOP_SPEED), [Controls(throttle=1.0)] * 31)
    return longest_run(hidden(s.player) for s in states)


@pytest.mark.parametrize("name", ["bridge", "tunnel"])
def test_a_car_at_racing_speed_vanishes_for_five_to_twenty_ticks(name: str) -> None:
    (cover,) = (c for c in simulator().track.covers if c.name == name)
    assert 5 <= hidden_ticks(cover) <= 20


def test_a_car_in_the_open_never_vanishes() -> None:
    states = play(on_the_line(0.02, 2.0), [Controls(throttle=0.5)] * 20)
    assert all(renderer().visible(s.player) > 0.99 for s in states)


# --- prompts ------------------------------------------------------------------------------------------------------


def test_a_prompt_comes_true_over_exactly_ten_ticks() -> None:
    state = simulator().reset(0, weather="clear", time="day")
    states = play(state, [Controls(weather="snow", time="night"), *[Controls()] * BLEND_TICKS])
    snow = [s.weather[WEATHERS.index("snow")] for s in states]
    night = [s.time[TIMES.index("night")] for s in states]
    assert BLEND_TICKS == 10
    assert snow[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert night[:10] == pytest.approx(snow[:10])
    assert snow[8] < 0.95
    assert snow[10] == pytest.approx(1.0)
    assert all(sum(s.weather) == pytest.approx(1) and sum(s.time) == pytest.approx(1) for s in states)


@pytest.mark.parametrize("prompt", [{"weather": "snow"}, {"weather": "fog"}, {"time": "night"}])
def test_a_prompt_changes_the_very_next_frame(prompt: dict[str, str]) -> None:
    state = simulator().reset(0, weather="clear", time="day")
    plain, asked = (renderer().draw(simulator().step(state, Controls(**given))) for given in ({}, prompt))
    assert visible_change(plain, asked, levels=2) > 0.5 * WIDTH_PX * HEIGHT_PX
    same = renderer().draw(simulator().step(state, Controls(weather="clear", time="day")))
    assert np.array_equal(same, plain), "what is already so changes nothing"


def test_controls_are_clamped_to_what_a_driver_can_do() -> None:
    wild = controls_of({"steer": 3.0, "throttle": -1.0, "brake": -0.5}, handbrake=True, weather=None, time="dusk")
    assert (wild.steer, wild.throttle, wild.brake) == (1.0, 0.0, 0.0)
    assert (wild.handbrake, wild.weather, wild.time) == (True, None, "dusk")
    assert controls_of({}, handbrake=False, weather=None, time=None) == Controls()
