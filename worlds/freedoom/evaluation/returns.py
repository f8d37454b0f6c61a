"""A walker leaves a place and comes back: is it the same place, and is it as it was left?

Owns walks through the dream by a walker who sees where the dream has it, and the two questions. The way is far longer
than the network's memory of frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.generator.ticks import RollingGenerator
from ...evaluation.measures import squared_error, visible_change
from ...recipe.rollout import denoised, pictures
from .. import world as keep
from ..recipe.pilot import Node, Pilot, free_nodes, nodes_under, place_of, steps_to
from ..recipe.walks import CONDITION_DIM, HELD_OUT_SEED, condition
from ..teacher.keep_game import KeepGame
from ..teacher.plan import LAMPS
from ..teacher.walk import Walkers
from .bench import PAST_TICKS, KeepBench, shown_in

SHOWN_PX = 150
"""A change of the picture counts from so many pixels on."""
FAR_NODES = 14
"""A way to somewhere that is out of sight."""


def away_and_back(bench: KeepBench, rows: int, most_ticks: int = 400) -> dict[str, Any]:
    """Walk out of sight and come back: is the picture then most like the game's picture of the place that was left,
    among all rows' places?"""
    rng = np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + 7))
    nodes = free_nodes()
    homes = [nodes[int(k)] for k in rng.choice(len(nodes), rows, replace=False)]
    headings = rng.uniform(-np.pi, np.pi, rows)
    goals = []
    for home in homes:
        far = steps_to(home)
        away = [node for node, steps in far.items() if steps >= FAR_NODES]
        goals.append(away[int(rng.integers(len(away)))])
    places = [place_of(home) for home in homes]
    home_x, home_y = (np.array(part) for part in zip(*places, strict=True))
    start = Walkers(home_x, home_y, headings, np.zeros(rows), np.zeros(rows))
    generator = bench.dreaming(start)
    left = np.stack(bench.shown_at(generator.last))
    ticks, arrived = walk_to(generator, [(*place_of(goal), 0.0) for goal in goals], most_ticks)
    homewards, there = walk_to(generator, [(*p, h) for p, h in zip(places, headings, strict=True)], most_ticks)
    back = np.stack(pictures(generator, generator.last))
    small = [_coarse(part) for part in (back, left)]
    apart = np.square(small[0][:, None] - small[1][None]).mean((2, 3, 4))
    return {
        "rows": rows, "ticks": ticks + homewards, "arrived_away": arrived, "arrived": there,
        "window_ticks": PAST_TICKS, "retrieval_at_1": float((apart.argmin(1) == np.arange(rows)).mean()),
        "chance": 1 / rows,
    }  # fmt: skip


def walk_to(generator: RollingGenerator, goals: list[tuple[float, float, float]], most_ticks: int) -> tuple[int, float]:
    """Every row of the dream walks to its goal; after how many ticks the last was there, and the share that is."""
    pilot = Pilot(goals)
    for tick in range(most_ticks):
        now = keep.walkers_of(generator.last.numpy())
        if pilot.there(now).all():
            return tick, 1.0
        given = torch.from_numpy(condition(pilot.steps(now)))
        generator.commit(denoised(generator, given, 2), given)
    return most_ticks, float(pilot.there(keep.walkers_of(generator.last.numpy())).mean())


def lamps_remembered(bench: KeepBench, places: int, most_ticks: int = 400) -> dict[str, float]:
    """A walker darkens the room where it stands, walks out of sight and comes back; a twin presses nothing. What is
    shown then is nearer to the game's picture with that lamp out, or lit, as it was left; and no other lamp changed.

    `places`: in each room with a lamp.
    """
    rng = np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + 8))
    spots: list[tuple[int, Node]] = []
    for lamp in range(len(LAMPS)):
        nodes = nodes_under(lamp)
        spots += [(lamp, nodes[int(k)]) for k in rng.choice(len(nodes), places, replace=False)]
    twice = [spot for spot in spots for _ in range(2)]
    x, y = (np.array(part) for part in zip(*(place_of(node) for _, node in twice), strict=True))
    headings = np.repeat(rng.uniform(-np.pi, np.pi, len(spots)), 2)
    generator = bench.dreaming(Walkers(x, y, headings, np.zeros(len(x)), np.zeros(len(x))))
    before = pictures(generator, generator.last)
    pressed = np.arange(len(twice)) % 2 == 0
    given = np.zeros((len(twice), CONDITION_DIM), np.float32)
    given[pressed, -1] = 1.0
    generator.commit(denoised(generator, torch.from_numpy(given), 1), torch.from_numpy(given))
    shown = [visible_change(a, b) for a, b in zip(before, pictures(generator, generator.last), strict=True)]
    goals = [(*place_of(farthest(steps_to(node))), 0.0) for _, node in twice]
    away, _ = walk_to(generator, goals, most_ticks)
    back, there = walk_to(generator, list(zip(x.tolist(), y.tolist(), headings.tolist(), strict=True)), most_ticks)
    right = 0
    made, lit = pictures(generator, generator.last), bench.shown_at(generator.last)
    now = keep.walkers_of(generator.last.numpy()).lit
    for lamp in range(len(LAMPS)):
        mine = [k for k, (number, _) in enumerate(twice) if number == lamp]
        game = KeepGame([lamp])
        try:
            dark = shown_in(game, generator.last[mine])
        finally:
            game.close()
        for k, out in zip(mine, dark, strict=True):
            is_dark = squared_error(made[k], out).mean() < squared_error(made[k], lit[k]).mean()
            others = np.delete(now[k], lamp).all()
            right += int(is_dark == pressed[k] and others)
    return {
        "rows": len(twice), "ticks_away": away + back, "arrived": there,
        "in_next_frame": float(np.mean((np.array(shown) >= 10 * SHOWN_PX) == pressed)),
        "remembered": right / len(twice),
    }  # fmt: skip


def farthest(far: dict[Node, int]) -> Node:
    return max(far, key=lambda node: far[node])


def _coarse(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """At an eighth of the size: a walker who comes back stands some units and a degree beside where it stood."""
    n, h, w, _ = frames.shape
    return frames.astype(np.float64).reshape(n, h // 8, 8, w // 8, 8, 3).mean((2, 4))
