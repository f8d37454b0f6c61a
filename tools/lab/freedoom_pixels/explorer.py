"""An explorer for mazes seen from inside: it gets somewhere, looks round, stands still, and leaves walls alone.

Sees nothing but pictures, like any `--policy` of `nextframe train`: a random player spends most of its time close
to a wall, and a world that learned from that generates walls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STUCK_LEVELS = 2.0
"""If two pictures differ by less (mean of absolute differences) although we walk, there is a wall."""
SHARES = {"walk": 0.62, "look": 0.16, "strafe": 0.1, "back": 0.06, "rest": 0.06}

FIRE_SHARE = 0.1
"""Of the ticks, where there is a weapon: shots one at a time, with quiet between them."""


class Wanderer:
    """Called with (observation, rng) once a tick; a generator that it has not seen is a new episode's."""

    def __init__(self, *, fires: bool = False) -> None:
        self._fires = fires
        self._rng: np.random.Generator | None = None
        self._before: NDArray[np.uint8] | None = None
        self._left, self._turn, self._move = 0, 0.0, (0.0, 0.0)
        self._mode = "rest"

    def __call__(self, observation: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
        if rng is not self._rng:
            self._rng, self._before, self._left = rng, None, 0
        if self._stuck(observation):
            self._turn_away(rng)
        elif self._left <= 0:
            self._choose(rng)
        elif self._mode in ("walk", "strafe") and rng.random() < 0.12:
            self._turn = self._some_turn(rng)
        self._left -= 1
        self._before = observation
        fire = [float(rng.random() < FIRE_SHARE)] if self._fires else []
        return np.array([self._turn, *self._move, *fire], np.float32)

    def _stuck(self, observation: NDArray[np.uint8]) -> bool:
        if self._before is None or self._mode not in ("walk", "strafe", "back") or abs(self._turn) > 0.05:
            return False
        return float(np.abs(observation.astype(np.int16) - self._before).mean()) < STUCK_LEVELS

    def _turn_away(self, rng: np.random.Generator) -> None:
        self._mode, self._left, self._move = "look", int(rng.integers(14, 34)), (0.0, 0.0)
        self._turn = float(rng.choice([-1.0, 1.0]))

    def _choose(self, rng: np.random.Generator) -> None:
        self._mode = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        self._left = int(rng.integers(8, 40))
        side = float(rng.choice([-1.0, 1.0]))
        self._move = {"walk": (0.0, 1.0), "strafe": (side, float(rng.integers(2))), "back": (0.0, -1.0)}.get(
            self._mode, (0.0, 0.0)
        )
        turns = {"look": side * float(rng.choice([0.3, 0.6, 1.0, 1.0])), "rest": 0.0}
        self._turn = turns.get(self._mode, self._some_turn(rng))

    @staticmethod
    def _some_turn(rng: np.random.Generator) -> float:
        return 0.0 if rng.random() < 0.55 else float(rng.uniform(-1, 1))


wander = Wanderer()
wander_and_fire = Wanderer(fires=True)
"""What `--policy nextframe.tools.lab.freedoom_pixels.explorer:wander` calls. One process plays one game at a time."""
