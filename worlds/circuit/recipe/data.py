"""Training and evaluation data of the circuit world: random still scenes, and driven episodes.

Owns how the teacher's states become arrays and what the drivers do. Everything follows from a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ....model.tokenizers.scenes.still import POSITION_SCALE_PX, SLOT_DIM
from ..teacher.render import Renderer
from ..teacher.simulator import REST_SPEED, TIMES, WEATHERS, Car, Controls, Simulator, State
from ..teacher.track import HEIGHT_PX, WIDTH_PX

LABELS = ("x", "y", "cos", "sin", "visible", "lamp")
CONDITION_DIM = 4 + len(WEATHERS) + len(TIMES)
HELD_OUT_SEED = 1_000_000
"""Episodes with seeds from here on are never trained on."""
VISIBLE_SHARE = 0.10
RESTS_EVERY = 5
MOUTH_POINTS = 36
"""Points of the course's line, half a pixel apart, around the edge of a roof in which a car is partly hidden."""


def label(renderer: Renderer, car: Car) -> tuple[float, ...]:
    """What the teacher knows of one car: pixels, heading, whether a tenth of it shows, brake lamps."""
    seen = float(renderer.visible(car) > VISIBLE_SHARE)
    return (car.x, car.y, math.cos(car.heading), math.sin(car.heading), seen, car.braking)


def condition(controls: Controls, state: State) -> NDArray[np.float32]:
    """What the network is told on the way into a frame, `(CONDITION_DIM,)`: the controls, then the prompt."""
    weather = [float(state.weather_target == w) for w in WEATHERS]
    time = [float(state.time_target == t) for t in TIMES]
    row = [controls.steer, controls.throttle, controls.brake, float(controls.handbrake), *weather, *time]
    return np.array(row, np.float32)


def car_of(last: Tensor, before: Tensor, slot: int) -> Car | None:
    """The car a latent shows, with its speed from the latent before; None while hidden."""
    a, b = (z[-2 * SLOT_DIM :].view(2, SLOT_DIM)[slot].tolist() for z in (last, before))
    if a[4] < 0:
        return None
    x, y = a[0] * POSITION_SCALE_PX + WIDTH_PX / 2, a[1] * POSITION_SCALE_PX + HEIGHT_PX / 2
    heading = math.atan2(a[3], a[2])
    if b[4] < 0:
        return Car(x, y, heading, 3 * math.cos(heading), 3 * math.sin(heading), float(a[5] > 0))
    return Car(x, y, heading, (a[0] - b[0]) * POSITION_SCALE_PX, (a[1] - b[1]) * POSITION_SCALE_PX, float(a[5] > 0))


# --- still scenes, for the tokenizer ------------------------------------------------------------------------------


def random_state(simulator: Simulator, rng: np.random.Generator) -> State:
    """Cars anywhere in their corridors at any plausible angle, any weather and hour, a third of them mid-blend."""
    state = simulator.reset(int(rng.integers(1 << 31)))
    track = simulator.track
    index = int(rng.integers(len(track.line)))
    angle = float(track.tangent[index])
    limit = 8.0 if track.cover_at(index) else 15.0
    side = float(rng.uniform(-limit, limit))
    spread = 0.15 if track.cover_at(index) else (0.35 if rng.random() < 0.6 else 3.2)
    x = float(track.line[index, 0] - math.sin(angle) * side)
    y = float(track.line[index, 1] + math.cos(angle) * side)
    player = Car(x, y, angle + float(rng.normal(0, 1)) * spread, braking=float(rng.random() < 0.4))
    rival = replace(state.rival, braking=float(rng.random() < 0.4))
    if rng.random() < 0.33:
        part = float(rng.random())
        other = simulator.reset(int(rng.integers(1 << 31)))
        mix = tuple((1 - part) * a + part * b for a, b in zip(state.weather, other.weather, strict=True))
        hours = tuple((1 - part) * a + part * b for a, b in zip(state.time, other.time, strict=True))
        state = replace(state, weather=mix, time=hours)
    return replace(state, player=player, rival=rival)


def at_a_mouth(simulator: Simulator, rng: np.random.Generator, state: State) -> State:
    """The same with one of the cars, or both, half under the edge of a roof, as they drive in and out."""
    track = simulator.track
    under = np.array([track.cover_at(index) is not None for index in range(len(track.line))])
    edges = (under != np.roll(under, 1)).nonzero()[0]
    which = int(rng.integers(1, 4))
    cars = {}
    for bit, name in ((1, "player"), (2, "rival")):
        if not which & bit:
            continue
        index = int(rng.choice(edges) + rng.integers(-MOUTH_POINTS, MOUTH_POINTS + 1)) % len(track.line)
        angle, side = float(track.tangent[index]), float(rng.uniform(-9.0, 9.0))
        car = getattr(state, name)
        cars[name] = replace(
            car, x=float(track.line[index, 0] - math.sin(angle) * side),
            y=float(track.line[index, 1] + math.cos(angle) * side), heading=angle + float(rng.normal(0, 0.12)),
        )  # fmt: skip
    return replace(state, **cars)


def still_scenes(count: int, seed: int, mouths: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Frames `(count, height, width, 3)` and labels `(count, 2, 6)` of random states; in a share of `mouths` a car
    is half under a roof."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    simulator, renderer = Simulator(), Renderer()
    frames = np.empty((count, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    labels = np.empty((count, 2, len(LABELS)), np.float32)
    for i in range(count):
        state = random_state(simulator, rng)
        if i < mouths * count:
            state = at_a_mouth(simulator, rng, state)
        frames[i] = renderer.draw(state)
        labels[i] = label(renderer, state.player), label(renderer, state.rival)
    return frames, labels


# --- driven episodes, for the dynamics ----------------------------------------------------------------------------


def rests(seed: int) -> bool:
    """Whether the driver of this seed is one who stops and waits."""
    return seed % RESTS_EVERY == RESTS_EVERY - 1


def coming_to_rest(state: State) -> Controls:
    """Brakes while the car rolls forwards, then lets go."""
    car = state.player
    forward = car.vx * math.cos(car.heading) + car.vy * math.sin(car.heading)
    return Controls(brake=1.0 if forward > REST_SPEED else 0.0)


class Driver:
    """A seeded human-like driver: mostly races the line, sometimes wanders, mashes keys, idles or reverses.

    Keyboard drivers steer with -1, 0, 1; pad drivers with anything between. Prompts change now and then. One in
    `RESTS_EVERY` often brakes to a stop and takes the hands off for seconds.
    """

    def __init__(self, simulator: Simulator, seed: int, *, prompt_rate: float = 0.012) -> None:
        self._rng = np.random.Generator(np.random.Philox(key=seed + 17))
        self._track = simulator.track
        self._prompt_rate = prompt_rate
        self._keyboard = bool(self._rng.random() < 0.7)
        self._mode, self._left = "race", 0
        self._rests = rests(seed)
        self._held = Controls()
        self._offset = 0.0

    def controls(self, state: State) -> Controls:
        if self._left <= 0:
            self._choose()
        self._left -= 1
        controls = self._race(state) if self._mode == "race" else self._held
        if self._mode == "rest":
            controls = coming_to_rest(state)
        if self._mode == "mash" and self._left % 3 == 0:
            self._held = self._random()
        weather = time = None
        if self._rng.random() < self._prompt_rate:
            weather = WEATHERS[self._rng.integers(len(WEATHERS))]
        if self._rng.random() < self._prompt_rate:
            time = TIMES[self._rng.integers(len(TIMES))]
        return replace(controls, weather=weather, time=time)

    def _choose(self) -> None:
        rng = self._rng
        self._mode = str(
            rng.choice(
                ["race", "race", "race", "hold", "mash", "idle", "back"], p=[0.3, 0.2, 0.12, 0.16, 0.12, 0.06, 0.04]
            )
        )
        if self._rests and rng.random() < 0.5:
            self._mode = "rest"
        self._left = int(rng.integers(40, 200) if self._mode in {"race", "rest"} else rng.integers(4, 40))
        self._offset = float(rng.uniform(-9, 9))
        self._held = self._random() if self._mode in ("hold", "mash") else Controls()
        if self._mode == "back":
            self._held = Controls(float(rng.integers(-1, 2)), 0.0, 1.0)

    def _random(self) -> Controls:
        rng = self._rng
        steer = float(rng.integers(-1, 2)) if self._keyboard else float(np.clip(rng.normal(0, 0.6), -1, 1))
        throttle = float(rng.random() < 0.75) if self._keyboard else float(rng.random())
        return Controls(steer, throttle, float(rng.random() < 0.15), bool(rng.random() < 0.06))

    def _race(self, state: State) -> Controls:
        car, track = state.player, self._track
        index, _ = track.locate(car.x, car.y)
        n = len(track.line)
        ahead = (index + int(16 + 9 * car.speed)) % n
        angle = float(track.tangent[ahead])
        aim_x = track.line[ahead, 0] - math.sin(angle) * self._offset
        aim_y = track.line[ahead, 1] + math.cos(angle) * self._offset
        error = math.atan2(aim_y - car.y, aim_x - car.x) - car.heading
        error = math.atan2(math.sin(error), math.cos(error))
        steer = max(-1.0, min(1.0, 3.0 * error + float(self._rng.normal(0, 0.12))))
        if self._keyboard:
            steer = float(round(steer)) if abs(steer) > 0.35 else 0.0
        bend = float(np.abs(track.curvature[(index + np.arange(10, 90, 10)) % n]).max())
        wanted = min(4.3, math.sqrt(0.28 / max(bend, 1e-3)))
        throttle = 1.0 if car.speed < wanted else 0.0
        brake = 1.0 if car.speed > wanted * 1.22 else 0.0
        return Controls(steer, throttle, brake)


@dataclass(frozen=True)
class Episode:
    """`states`: ticks + 1 of them.

    `conditions`: `(ticks + 1, CONDITION_DIM)`, row t leads into state t (row 0: none)."""

    states: list[State]
    conditions: NDArray[np.float32]


def drive(simulator: Simulator, seed: int, ticks: int, **options: float) -> Episode:
    state = simulator.reset(seed)
    driver = Driver(simulator, seed, **options)
    states, conditions = [state], [condition(Controls(), state)]
    for _ in range(ticks):
        controls = driver.controls(state)
        state = simulator.step(state, controls)
        states.append(state)
        conditions.append(condition(controls, state))
    return Episode(states, np.stack(conditions))
