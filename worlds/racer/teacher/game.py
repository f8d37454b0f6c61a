"""CarRacing-v3 as the teacher of `racer`: 64x64 pictures, three of the game's steps a tick, starts anywhere.

The game draws 96x96; a picture here is its area average, computed in integers, so it is the same on every machine.
Needs the extra `train` (gymnasium and box2d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_dynamics import Car
from gymnasium.envs.box2d.car_racing import CarRacing
from numpy.typing import NDArray

SIDE_PX = 64
STEPS_PER_TICK = 3
GAME_HZ = 50
TICK_HZ = GAME_HZ / STEPS_PER_TICK
ACTION_NAMES = ("steer", "gas", "brake")
IN_VIEW_M = 100.0
"""The camera sees 48 metres around the car at most; generous, since distances are added per axis."""
SETTLE_STEPS = 6
"""The car drops onto its wheels' springs when it is placed."""

Frame = NDArray[np.uint8]
"""`(64, 64, 3)` uint8, RGB."""
Controls = NDArray[np.float32]
"""`(3,)`: steer -1..1 (left to right), gas 0..1, brake 0..1."""


@dataclass(frozen=True)
class Place:
    """Where an episode begins, relative to the track: a share of the lap 0..1, metres beside its middle, and a turn."""

    lap_share: float = 0.0
    aside_m: float = 0.0
    turn_rad: float = 0.0


@dataclass(frozen=True)
class Pose:
    """What no picture shows exactly; used for measuring, never for training."""

    x_m: float
    y_m: float
    heading_rad: float
    speed_m_s: float
    wheels_on_road: int


class _Game(CarRacing):
    """CarRacing that draws only when asked, and then only the road near the car: the same pictures, four times as fast.

    Two thirds of the pictures are never looked at, and most of the road is out of the camera's view.
    """

    drawing = True

    @property
    def the_car(self) -> Car:
        assert self.car is not None, "a game that was never reset"
        return self.car

    def _render(self, mode: str) -> Any:
        if not self.drawing:
            return None
        whole = self.road_poly
        x, y = self.the_car.hull.position
        self.road_poly = [tile for tile in whole if abs(tile[0][0][0] - x) + abs(tile[0][0][1] - y) < IN_VIEW_M]
        try:
            return super()._render(mode)
        finally:
            self.road_poly = whole


class Game:
    """One game, one track at a time. The same seed, place and controls give the same pictures, bit for bit."""

    def __init__(self) -> None:
        self._game = _Game(continuous=True)

    def reset(self, seed: int, place: Place | None = None) -> Frame:
        """A new track; the car at its start line, or at `place`. The camera's opening zoom is left out."""
        game = self._game
        game.drawing = False
        game.reset(seed=seed)
        if place is not None:
            track = game.track
            _, beta, middle_x, middle_y = track[int(place.lap_share * len(track)) % len(track)]
            x, y = middle_x + place.aside_m * math.cos(beta), middle_y + place.aside_m * math.sin(beta)
            game.the_car.destroy()
            game.car = Car(game.world, beta + place.turn_rad, x, y)
        for _ in range(SETTLE_STEPS):
            game.step(np.zeros(3, np.float32))
        game.t = 1.0
        return self._draw()

    def tick(self, controls: Controls) -> tuple[Frame, bool]:
        """The picture after a tick of `controls`, and whether the game goes on (not after a lap or off its field)."""
        game = self._game
        game.drawing = False
        over = False
        for _ in range(STEPS_PER_TICK):
            _, _, ended, _, _ = game.step(controls)
            over = over or ended
        return self._draw(), not over

    @property
    def pose(self) -> Pose:
        car = self._game.the_car
        hull = car.hull
        speed = math.hypot(hull.linearVelocity[0], hull.linearVelocity[1])
        on_road = sum(len(wheel.tiles) > 0 for wheel in car.wheels)
        return Pose(hull.position[0], hull.position[1], hull.angle, speed, on_road)

    def curvature_ahead(self) -> float:
        """Radians a metre, by which the track turns over the next 15 metres; left is positive."""
        track = self._game.track
        pose = self.pose
        at = int(np.argmin([(x - pose.x_m) ** 2 + (y - pose.y_m) ** 2 for _, _, x, y in track]))
        beta0, beta1 = track[at][1], track[(at + 4) % len(track)][1]
        return float(math.remainder(beta1 - beta0, 2 * math.pi) / 15.0)

    def _draw(self) -> Frame:
        self._game.drawing = True
        return shrink(self._game._render("state_pixels"))


def shrink(picture: NDArray[np.uint8]) -> Frame:
    """96x96 to 64x64 by area: of three pixels in a row, two are made, each of one and a half."""
    wide = picture.astype(np.uint16)
    for axis in (0, 1):
        first, middle, last = (np.take(wide, range(at, 96, 3), axis) for at in range(3))
        pairs = np.stack([2 * first + middle, middle + 2 * last], axis + 1)
        shape = list(wide.shape)
        shape[axis] = SIDE_PX
        wide = pairs.reshape(shape)
    return ((wide + 4) // 9).astype(np.uint8)
