"""A little world whose truth is known, and ways for it to go wrong, for the tests of the evaluation.

A camera pans over a strip of random columns that differs by seed, and a wheel in the picture shows how it is turned;
something walks through the picture by itself; a lamp in the corner is lit while a button is held; day or night. Each
fault is one class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nextframe.runtime.core import IDLE, Action, ActionSpace
from nextframe.worlds.evaluation.players import Palette
from nextframe.worlds.evaluation.subjects import Frames, Pair, Poses, Subject

WIDTH_PX, HEIGHT_PX, STRIP_PX, PAN_PX = 32, 24, 640, 4
SPACE = ActionSpace(("lamp",), ("look",), {"light": ("day", "night")})
PALETTE = Palette(SPACE, button_rate={"lamp": 0.4})
WINDOW_TICKS = 16


class Strip:
    """The teacher. Rows share nothing."""

    def start(self, seeds: Sequence[int]) -> None:
        rngs = [np.random.default_rng(seed) for seed in seeds]
        self._strips = np.stack([rng.integers(80, 120, (STRIP_PX, 3)) for rng in rngs])
        self._pan = np.array([int(rng.integers(STRIP_PX)) for rng in rngs])
        self._lamp, self._look = np.zeros(len(seeds), bool), np.zeros(len(seeds))
        self._light = np.ones(len(seeds))
        self._tick = 0

    def step(self, actions: Sequence[Action]) -> None:
        self._pan = self._pan + [round(PAN_PX * a.axis("look")) for a in actions]
        self._look = np.array([a.axis("look") for a in actions])
        self._lamp = np.array(["lamp" in a.buttons for a in actions])
        for row, action in enumerate(actions):
            if action.prompt:
                self._light[row] = 0.5 if "night" in action.prompt else 1.0
        self._tick += 1

    def columns(self) -> NDArray[np.int64]:
        """Of the strip, as they are in view, `(rows, width)`."""
        return np.asarray((self._pan[:, None] + np.arange(WIDTH_PX)) % STRIP_PX)

    def frames(self) -> Frames:
        rows = np.arange(len(self._strips))[:, None]
        line = self._strips[rows, self.columns()] * self._light[:, None, None]
        frames = line[:, None].repeat(HEIGHT_PX, 1).astype(np.uint8)
        walker = 2 * self._tick % (WIDTH_PX - 3)
        frames[:, 4:7, walker : walker + 3] = 160
        for row, wheel in enumerate(15 + np.rint(6 * self._look).astype(int)):
            frames[row, -5:-2, wheel : wheel + 3] = 40
        frames[self._lamp, -8:, :8] = 255
        return frames

    def poses(self) -> Poses | None:
        return np.tile([WIDTH_PX / 2, HEIGHT_PX / 2, 0.0], (len(self._strips), 1))

    def lost(self) -> NDArray[np.bool_]:
        return np.zeros(len(self._strips), bool)


class Wrong(Strip):
    """A world that is right but for what a subclass changes. `now`: ticks since the start."""

    def start(self, seeds: Sequence[int]) -> None:
        super().start(seeds)
        self.now = 0

    def step(self, actions: Sequence[Action]) -> None:
        super().step(actions)
        self.now += 1


class Frozen(Wrong):
    """The first picture for ever."""

    def start(self, seeds: Sequence[int]) -> None:
        super().start(seeds)
        self._first = super().frames()

    def frames(self) -> Frames:
        return self._first.copy()


class Late(Wrong):
    """Every action comes one tick later."""

    def start(self, seeds: Sequence[int]) -> None:
        super().start(seeds)
        self._waiting: Sequence[Action] = [IDLE] * len(seeds)

    def step(self, actions: Sequence[Action]) -> None:
        waiting, self._waiting = self._waiting, actions
        super().step(waiting)


class Deaf(Wrong):
    """Does something, but not what it is told."""

    def step(self, actions: Sequence[Action]) -> None:
        super().step([*actions[2:], *actions[:2]])


class Fading(Wrong):
    """Right until `after_ticks`, then grey by and by."""

    def __init__(self, after_ticks: int) -> None:
        self._after_ticks = after_ticks

    def frames(self) -> Frames:
        part = min(1.0, max(0, self.now - self._after_ticks) / 8)
        return (super().frames() * (1 - part) + 128 * part).astype(np.uint8)


class Loses(Wrong):
    """From `after_ticks` on something is gone in the first row."""

    def __init__(self, after_ticks: int) -> None:
        self._after_ticks = after_ticks

    def lost(self) -> NDArray[np.bool_]:
        lost = super().lost()
        lost[0] = self.now > self._after_ticks
        return lost


class Restless(Wrong):
    """Pans by itself, slowly."""

    def step(self, actions: Sequence[Action]) -> None:
        super().step(actions)
        self._pan = self._pan + (self.now % 8 == 0)


class Forgetful(Wrong):
    """Remembers for `WINDOW_TICKS` what is out of sight, then makes up something else."""

    def start(self, seeds: Sequence[int]) -> None:
        super().start(seeds)
        self._seen = np.full((len(seeds), STRIP_PX), -1)
        self._rng = np.random.default_rng(99)

    def step(self, actions: Sequence[Action]) -> None:
        super().step(actions)
        for row, columns in enumerate(self.columns()):
            seen = self._seen[row, columns]
            old = columns[(seen >= 0) & (self.now - seen > WINDOW_TICKS)]
            self._strips[row, old] = self._rng.integers(80, 120, (len(old), 3))
            self._seen[row, columns] = self.now


def pair_with(world: Subject) -> Pair:
    return Pair("strip", world, Strip(), PALETTE, WINDOW_TICKS)
