"""Drivers for CarRacing: one that follows the road by looking at the picture, and what learners need beside it.

`RoadDriver` sees only a 64x64 picture, so it drives the network's world as it drives the game. `Explorer` mixes it with
held random keys, excursions off the road and standing still, so that a network also learns what happens there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .game import Controls, Frame

LOOK_ROWS = ((0.5, 40), (0.3, 33), (0.2, 28))
"""Weight and row of the picture: near the nose, further, far."""
CAR_COLUMN = 31.5
STEER_PER_PX = 1 / 12
VIEW_ROWS = 56
"""Below are the gauges."""


def road_mask(frame: Frame) -> NDArray[np.bool_]:
    """`(rows, columns)`: the grey of the road, of any picture `(rows, columns, 3)`."""
    picture = frame.astype(np.int16)
    red = picture[..., 0]
    return (np.ptp(picture, axis=-1) < 30) & (red > 60) & (red < 150)


def road_aim(frame: Frame) -> float | None:
    """Pixels to the right of the nose where the road goes; None if the rows ahead show none."""
    road = road_mask(frame)
    seen = [(share, np.flatnonzero(road[row])) for share, row in LOOK_ROWS]
    aims = [(share, float(columns.mean()) - CAR_COLUMN) for share, columns in seen if len(columns)]
    return sum(share * aim for share, aim in aims) / sum(share for share, _ in aims) if aims else None


def wheels_on_road(frame: Frame) -> bool:
    """Whether the ground around the car is road, by the picture alone."""
    return float(road_mask(frame[40:46, 26:38]).mean()) > 0.3


class RoadDriver:
    """Steers to the middle of the road ahead; off it, to whatever road is in view, or around in a circle."""

    def __init__(self, rng: np.random.Generator, *, lane_px: float = 0.0) -> None:
        self._rng = rng
        self._lane_px = lane_px

    def __call__(self, frame: Frame) -> Controls:
        aim = road_aim(frame)
        if aim is None:
            return np.array([self._toward_any_road(frame), 0.1, 0.0], np.float32)
        steer = float(np.clip((aim + self._lane_px) * STEER_PER_PX, -1, 1))
        gas = 0.35 if self._rng.random() < 0.4 and abs(steer) < 0.5 else 0.05
        return np.array([steer, gas, 0.05 if abs(steer) > 0.6 else 0.0], np.float32)

    @staticmethod
    def _toward_any_road(frame: Frame) -> float:
        columns = np.nonzero(road_mask(frame[:VIEW_ROWS]))[1]
        return 0.7 if len(columns) < 12 else float(np.sign(columns.mean() - CAR_COLUMN + 0.1)) * 0.7


@dataclass(frozen=True)
class Style:
    """How an explorer drives for one episode."""

    cruise_m_s: float
    lane_px: float
    keys: bool
    """All or nothing on each axis, as from a keyboard."""
    wander: float
    """Chance a tick to leave following for something else."""


class Explorer:
    """One episode's driver. `__call__(frame, speed)` gives the next controls."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.style = Style(
            cruise_m_s=float(rng.choice([12.0, 20.0, 30.0, 45.0, 70.0])), lane_px=float(rng.normal(0, 2.5)),
            keys=bool(rng.random() < 0.4), wander=float(rng.choice([0.0, 0.01, 0.03, 0.08], p=[0.25, 0.25, 0.3, 0.2])),
        )  # fmt: skip
        self._follow = RoadDriver(rng, lane_px=self.style.lane_px)
        self._held: Controls | None = None
        self._ticks_left = 0

    def __call__(self, frame: Frame, speed_m_s: float) -> Controls:
        rng = self._rng
        if self._ticks_left <= 0 and rng.random() < self.style.wander:
            self._held, self._ticks_left = self._excursion()
        self._ticks_left -= 1
        if self._ticks_left >= 0 and self._held is not None:
            return self._held
        steer = float(np.clip(self._follow(frame)[0] + rng.normal(0, 0.15), -1, 1))
        slow_for = 1.0 if abs(steer) < 0.5 else 0.7
        too_fast = speed_m_s > self.style.cruise_m_s * slow_for
        gas = 0.0 if too_fast else float(rng.choice([0.2, 0.5, 1.0]))
        brake = 0.4 if speed_m_s > 1.4 * self.style.cruise_m_s * slow_for else 0.0
        if self.style.keys:
            return np.array([np.sign(steer) * (abs(steer) > 0.3), gas > 0, brake > 0], np.float32)
        return np.array([steer, gas, brake], np.float32)

    def _excursion(self) -> tuple[Controls, int]:
        """Controls to hold and for how many ticks: random ones, off the road, standing still, round and round."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.5:
            steer = float(rng.uniform(-1, 1)) if rng.random() < 0.5 else float(rng.choice([-1, 0, 1]))
            controls = [steer, float(rng.choice([0, 0, 0.5, 1])), float(rng.choice([0, 0, 0.5, 1]))]
            return np.array(controls, np.float32), int(rng.integers(2, 15))
        if kind < 0.8:
            return np.array([rng.choice([-1, 1]) * rng.uniform(0.1, 0.7), 0.5, 0], np.float32), int(rng.integers(8, 30))
        if kind < 0.92:
            return np.array([rng.choice([-1, 0, 1]), 0, rng.choice([0, 1])], np.float32), int(rng.integers(5, 25))
        return np.array([rng.choice([-1, 1]), 1, 0], np.float32), int(rng.integers(10, 40))
