"""Walks about the keep, for its dynamics: what players do, what dreams did, and walkers that no wall stops.

Owns habits and how walks become arrays. The twin of the game's movement (`nextframe.worlds.freedoom.teacher.walk`)
answers for each tick, also where only a dream could be (DAgger, Ross et al. 2011). Everything follows from a seed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from ...recipe.clips import OwnEpisodes
from ..teacher.plan import LAMPS
from ..teacher.walk import Steps, Walk, Walkers
from ..world import latents_of, walkers_of

HELD_OUT_SEED = 1_000_000
"""Walks with seeds from here on are never trained on."""
TOP_UNITS_A_TIC = 8.3
MODES = {"walk": 0.4, "turn": 0.12, "strafe": 0.14, "back": 0.06, "mash": 0.12, "rest": 0.16}
OUT, SWITCHES = 0.35, 0.12
"""While learning: the share of lamps that are out, and of ticks in which a button is pressed."""
CONDITION_DIM = 5
ASTRAY_UNITS = 24.0
"""How far into a wall a ghost is put."""


def condition(steps: Steps) -> NDArray[np.float32]:
    """What the network is told, `(walkers, 5)`: look_x, move_x, move_y, light, dark."""
    still = np.zeros_like(steps.look)
    pressed = [still if button is None else button for button in (steps.light, steps.dark)]
    return np.stack([steps.look, steps.aside, steps.ahead, *pressed], 1).astype(np.float32)


def anywhere(walk: Walk, rng: np.random.Generator, count: int, *, out: float = 0.0) -> Walkers:
    """Somewhere free, looking anywhere, at rest, on whole units. `out`: the share of lamps that are out."""
    rows, columns = walk.walls.shape
    places = np.empty((0, 2))
    while len(places) < count:
        drawn = rng.uniform((0, 0), (columns * 32, rows * 32), (4 * count, 2)).round()
        places = np.concatenate([places, drawn[~walk.blocked(drawn[:, 0], drawn[:, 1])]])
    still = np.zeros(count)
    angle, lit = rng.uniform(-np.pi, np.pi, count), rng.random((count, len(LAMPS))) >= out
    return Walkers(places[:count, 0], places[:count, 1], angle, still, still, lit)


class Players:
    """What seeded people do, one per walker: keyboards give -1, 0 and 1, sticks and mice anything between.

    They do not look where they go, so walls are met at every angle and slid along. `switches`: in how many ticks
    the buttons of the lamps are pressed.
    """

    def __init__(self, count: int, rng: np.random.Generator, switches: float = 0.0) -> None:
        self._rng, self._count, self._switches = rng, count, switches
        self._keyboard = rng.random(count) < 0.5
        self._left = np.zeros(count, int)
        self._mode = np.zeros(count, int)
        self._now = np.zeros((3, count))

    def steps(self) -> Steps:
        rng, n = self._rng, self._count
        fresh = self._left <= 0
        mode = rng.choice(len(MODES), n, p=list(MODES.values()))
        self._mode = np.where(fresh, mode, self._mode)
        self._left = np.where(fresh, rng.integers(4, 34, n), self._left) - 1
        names = list(MODES)
        is_ = {name: self._mode == names.index(name) for name in names}
        again = fresh | (is_["mash"] & (rng.random(n) < 0.35)) | (is_["walk"] & (rng.random(n) < 0.1))
        side = rng.choice([-1.0, 1.0], n)
        look = np.where(rng.random(n) < 0.5, 0.0, rng.uniform(-1, 1, n))
        look = np.where(is_["turn"], side * rng.choice([0.3, 0.6, 1.0], n), look)
        ahead = np.select([is_["walk"], is_["back"], is_["strafe"]], [1.0, -1.0, rng.integers(0, 2, n)], 0.0)
        aside = np.where(is_["strafe"], side, np.where(is_["walk"] & (rng.random(n) < 0.2), side, 0.0))
        drawn = np.stack([look, aside, ahead])
        drawn[1:] *= np.where(self._keyboard, 1.0, rng.uniform(0.3, 1.0, n))
        anything = rng.uniform(-1, 1, (3, n))
        drawn = np.where(is_["mash"], anything, drawn)
        drawn = np.where(self._keyboard, np.round(drawn * 0.75 + 0.25 * np.sign(drawn)), drawn)
        drawn = np.where(is_["rest"], 0.0, drawn)
        self._now = np.where(again, drawn, self._now)
        look, aside, ahead = self._now
        if not self._switches:
            return Steps(look, aside, ahead)
        light, dark = rng.random((2, n)) < self._switches
        return Steps(look, aside, ahead, light, dark)


def walks(walk: Walk, rows: int, ticks: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latents `(rows, ticks, latent_dim)` and what led to each `(rows, ticks, 5)`."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    walkers, players = anywhere(walk, rng, rows, out=OUT), Players(rows, rng, SWITCHES)
    latents, given = [], []
    for _ in range(ticks):
        steps = players.steps()
        walkers = walk.step(walkers, steps)
        latents.append(latents_of(walkers))
        given.append(condition(steps))
    return np.stack(latents, 1), np.stack(given, 1)


def ghosts(walk: Walk, rows: int, ticks: int, seed: int) -> OwnEpisodes:
    """Walkers put into walls and beside them, at any speed; each gives way to the answers by a share of its own."""
    rng = np.random.Generator(np.random.Philox(key=seed + 41))
    players, yields = Players(rows, rng, SWITCHES), rng.choice([0.1, 0.4, 1.0], rows)
    w = anywhere(walk, rng, rows, out=OUT)
    far = rng.uniform(0, ASTRAY_UNITS, rows) * (rng.random(rows) < 0.6)
    turn = rng.uniform(-np.pi, np.pi, rows)
    speed = rng.uniform(0, TOP_UNITS_A_TIC, (2, rows)) * rng.choice([-1.0, 0.0, 1.0], (2, rows))
    w = replace(w, x=w.x + far * np.cos(turn) + rng.uniform(-1, 1, rows), y=w.y + far * np.sin(turn), vx=speed[0],
                vy=speed[1])  # fmt: skip
    kept, target, given = [], latents_of(w), condition(players.steps())
    for _ in range(ticks):
        astray = deep_units(walk, w)
        kept.append(tuple(torch.from_numpy(part) for part in (latents_of(w), target, given, astray)))
        steps = players.steps()
        answer, given = walk.step(w, steps), condition(steps)
        target = latents_of(answer)
        # Where nothing stops it, part of the way to the answer.
        free_x, free_y = w.x + 2 * w.vx, w.y + 2 * w.vy
        w = replace(answer, x=free_x + yields * (answer.x - free_x), y=free_y + yields * (answer.y - free_y))
    return OwnEpisodes.of(kept)


class TwinAnswers:
    """The twin of the game's movement, put where a dream is, with players who look nowhere."""

    def __init__(self, walk: Walk, rows: int, seed: int) -> None:
        rng = np.random.Generator(np.random.Philox(key=seed + 97))
        self._walk, self._walkers = walk, anywhere(walk, rng, rows, out=OUT)
        self._players = Players(rows, rng, SWITCHES)

    def begin(self) -> tuple[Tensor, Tensor]:
        latents = torch.from_numpy(latents_of(self._walkers))
        return latents, torch.zeros(len(latents), CONDITION_DIM)

    def answer(self) -> tuple[Tensor, Tensor]:
        steps = self._players.steps()
        target = latents_of(self._walk.step(self._walkers, steps))
        return torch.from_numpy(condition(steps)), torch.from_numpy(target)

    def see(self, generator: RollingGenerator) -> Tensor:
        """How far walkers are inside walls, units."""
        self._walkers = walkers_of(generator.last.numpy())
        return torch.from_numpy(deep_units(self._walk, self._walkers))


def deep_units(walk: Walk, walkers: Walkers) -> NDArray[np.float64]:
    """How far each is inside a wall."""
    to_x, to_y = walk.ejected(walkers.x, walkers.y)
    return np.asarray(np.hypot(to_x - walkers.x, to_y - walkers.y))


def in_walls(walk: Walk, latents: Tensor, more_than: float = 1.0) -> float:
    """The share of latents `(..., latent_dim)` more than so many units inside a wall."""
    return float((deep_units(walk, walkers_of(latents.flatten(0, -2).numpy())) > more_than).mean())
