"""The keep as a pair: the shipped network, and the game that taught it, drawn wherever the twin of its movement is.

Owns the adapters and the visitors who walk about. What is measured is in the other modules. Needs ViZDoom.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.generator.ticks import RollingGenerator
from ....runtime.core import Action, ActionSpace, Frame, quantise_axis
from ...evaluation.players import Palette
from ...evaluation.subjects import Frames, Pair, Subject
from ...recipe.rollout import denoised
from .. import world as keep
from ..recipe.pilot import Pilot, free_nodes, place_of
from ..recipe.walks import CONDITION_DIM, HELD_OUT_SEED, anywhere, condition
from ..teacher.keep_game import KeepGame
from ..teacher.script import AXES
from ..teacher.walk import Steps, Walk, Walkers
from .bench import PAST_TICKS

FIRST_SEED = HELD_OUT_SEED + 20_000
"""The keep's own measures use the numbers below."""
STEPS = 4
BUTTONS = ("light", "dark")
LEVELS = {"look_x": (-1.0, -0.5, 0.0, 0.0, 0.5, 1.0), "move_x": (-1.0, 0.0, 0.0, 1.0), "move_y": (-1.0, 0.0, 1.0, 1.0)}
SWITCHES = 0.04
"""Of a wanderer's spans in which a button is held."""
LOST_UNITS, LOST_DB = 2.0, 20.0
"""Who is so far inside a wall is lost, and whose picture is farther than that from the game's of the same place."""
PATIENCE_TICKS = 240
"""After which a visitor wants to go somewhere else."""
DRAWN = 1024
"""Pictures kept, so that the same place is the same picture, however the game got there."""


class KeepRows:
    """What the network and its teacher share: where the walkers are."""

    walkers: Walkers

    def __init__(self) -> None:
        self.walk = Walk()

    def start_walkers(self, seeds: Sequence[int]) -> Walkers:
        """Somewhere free, at rest, all lamps lit; each seed its own place."""
        places = [anywhere(self.walk, np.random.Generator(np.random.Philox(key=FIRST_SEED + s)), 1) for s in seeds]
        x, y, angle, vx, vy = (
            np.concatenate([getattr(one, name) for one in places]) for name in ("x", "y", "angle", "vx", "vy")
        )
        return Walkers(x, y, angle, vx, vy)

    def poses(self) -> None:
        """The camera is the player: the whole picture is looked at."""


class KeepTeacher(KeepRows):
    """The twin walks and the game draws.

    The game cannot switch lamps while it runs, so there is one for each lamp that is out, started when it is first
    needed. Every pixel is lit by one lamp at most, and halving a picture adds up, so what each lamp takes away adds up
    as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._games: dict[int | None, KeepGame] = {None: KeepGame()}
        self._drawn: OrderedDict[bytes, Frame] = OrderedDict()

    def start(self, seeds: Sequence[int]) -> None:
        self.walkers = self.start_walkers(seeds)

    def step(self, actions: Sequence[Action]) -> None:
        self.walkers = self.walk.step(self.walkers, steps_of(actions))

    def frames(self) -> Frames:
        return self.drawn(self.walkers)

    def drawn(self, walkers: Walkers) -> Frames:
        """The game's pictures from any walkers' places."""
        return np.stack([self._frame(one_of(walkers, row)) for row in range(len(walkers))])

    def lost(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.walkers), bool)

    def close(self) -> None:
        for game in self._games.values():
            game.close()

    def _frame(self, w: Walkers) -> Frame:
        x, y, angle = (float(part[0]) for part in (w.x, w.y, w.angle))
        key = np.array([x, y, angle]).tobytes() + w.lit.tobytes()
        if key not in self._drawn:
            lit = self._shown(None, x, y, angle)
            gone = [self._shown(int(lamp), x, y, angle) - lit for lamp in (~w.lit[0]).nonzero()[0]]
            self._drawn[key] = np.clip(lit + sum(gone), 0, 255).astype(np.uint8)
            if len(self._drawn) > DRAWN:
                self._drawn.popitem(last=False)
        return self._drawn[key]

    def _shown(self, dark: int | None, x: float, y: float, angle: float) -> NDArray[np.int16]:
        if dark not in self._games:
            self._games[dark] = KeepGame([] if dark is None else [dark])
        self._games[dark].put(x, y, angle)
        return self._games[dark].frame().astype(np.int16)


class KeepDream(KeepRows):
    """The network, all rows in one pass. `game`: who draws what should be seen from where the dream is."""

    def __init__(self, folder: Path, game: KeepTeacher) -> None:
        super().__init__()
        self._game = game
        self._networks = keep.load_networks(folder)
        self._generator: RollingGenerator | None = None
        self._shown: Frames | None = None

    @property
    def generator(self) -> RollingGenerator:
        assert self._generator is not None, "start comes first"
        return self._generator

    @property
    def walkers(self) -> Walkers:  # type: ignore[override]
        """Where the dream has them."""
        return keep.walkers_of(self.generator.last.numpy())

    def start(self, seeds: Sequence[int]) -> None:
        latents = torch.from_numpy(keep.latents_of(self.start_walkers(seeds)))
        self._generator = keep.new_generator(*self._networks, len(seeds))
        still, self._shown = torch.zeros(len(seeds), PAST_TICKS, CONDITION_DIM), None
        self._generator.prefill(latents[:, None].expand(-1, PAST_TICKS, -1), still)

    @torch.inference_mode()
    def step(self, actions: Sequence[Action]) -> None:
        given = torch.from_numpy(condition(steps_of(actions)))
        self.generator.commit(denoised(self.generator, given, STEPS), given)
        self._shown = None

    @torch.inference_mode()
    def frames(self) -> Frames:
        if self._shown is None:
            self._shown = np.asarray(self.generator.decode(self.generator.last).numpy())
        return self._shown

    def lost(self) -> NDArray[np.bool_]:
        w = self.walkers
        to_x, to_y = self.walk.ejected(w.x, w.y)
        error = np.square((self.frames().astype(np.float32) - self._game.drawn(w)) / 255).mean((1, 2, 3))
        return np.asarray((np.hypot(to_x - w.x, to_y - w.y) > LOST_UNITS) | (error > 10 ** (-LOST_DB / 10)))


class Visitors:
    """They walk from place to place, seeing where they are in whatever subject they are in, and switch a lamp now and
    then."""

    def __init__(self, subject: KeepRows, seeds: Sequence[int]) -> None:
        self._subject = subject
        self._rngs = [np.random.Generator(np.random.Philox(key=[FIRST_SEED + seed, 9])) for seed in seeds]
        self._pilots = [self._pilot(rng) for rng in self._rngs]
        self._since = [0] * len(seeds)

    def actions(self, tick: int) -> list[Action]:
        w = self._subject.walkers
        return [self._one(row, one_of(w, row)) for row in range(len(self._rngs))]

    def _one(self, row: int, walker: Walkers) -> Action:
        rng = self._rngs[row]
        self._since[row] += 1
        if self._since[row] > PATIENCE_TICKS or self._pilots[row].there(walker)[0]:
            self._pilots[row], self._since[row] = self._pilot(rng), 0
        steps = self._pilots[row].steps(walker)
        values = zip(AXES, (steps.look, steps.aside, steps.ahead), strict=True)
        buttons = {button for button in BUTTONS if rng.random() < SWITCHES / 4}
        return Action(frozenset(buttons), {name: quantise_axis(float(value[0])) for name, value in values})

    @staticmethod
    def _pilot(rng: np.random.Generator) -> Pilot:
        nodes = free_nodes()
        return Pilot([(*place_of(nodes[int(rng.integers(len(nodes)))]), float(rng.uniform(-np.pi, np.pi)))])


def one_of(w: Walkers, row: int) -> Walkers:
    at = slice(row, row + 1)
    return Walkers(w.x[at], w.y[at], w.angle[at], w.vx[at], w.vy[at], w.lit[at])


def steps_of(actions: Sequence[Action]) -> Steps:
    look, aside, ahead = (np.array([action.axis(name) for action in actions]) for name in AXES)
    light, dark = (np.array([button in action.buttons for action in actions]) for button in BUTTONS)
    return Steps(look, aside, ahead, light, dark)


def pair(folder: Path) -> Pair:
    """The keep in `folder` against the game. NextframeError without ViZDoom; WeightsError: weights that are missing or
    damaged."""
    teacher = KeepTeacher()
    return Pair(
        "freedoom", KeepDream(folder, teacher), teacher, palette(), PAST_TICKS, visitors, place_decides=True,
        close=teacher.close,
        notes=("The teacher's pictures are the game's, from where the twin of its movement is.",),
    )  # fmt: skip


def palette() -> Palette:
    return Palette(ActionSpace(BUTTONS, AXES, {}), LEVELS, dict.fromkeys(BUTTONS, SWITCHES))


def visitors(subject: Subject, seeds: Sequence[int]) -> Visitors:
    assert isinstance(subject, KeepRows)
    return Visitors(subject, seeds)
