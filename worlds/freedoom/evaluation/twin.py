"""How near the twin of the game's movement is to the game itself, under the keys of people who never look.

    python -m nextframe.worlds.freedoom.evaluation.twin

Owns two figures: a tick's error from the game's own state, and how far apart both are after walking alone for a while.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from ..recipe.walks import HELD_OUT_SEED, Players, anywhere
from ..teacher.keep_game import KeepGame
from ..teacher.walk import Steps, Walk, Walkers

WHOLE = 25
"""The game cuts moves to whole twenty-fifths."""


def compare(game: KeepGame, walks: int, ticks: int, walk: Walk | None = None) -> dict[str, Any]:
    """`walk`: another than the twin."""
    rng = np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + 77))
    walk, players = walk or Walk(), Players(1, rng)
    starts = anywhere(walk, rng, walks)
    one, alone = [], []
    for k in range(walks):
        game.put(starts.x[k], starts.y[k], starts.angle[k])
        twin = game.walkers()
        for _ in range(ticks):
            asked = players.steps()
            aside, ahead = (np.round(part * WHOLE) / WHOLE for part in (asked.aside, asked.ahead))
            steps = Steps(asked.look, aside, ahead)
            expected, twin = walk.step(game.walkers(), steps), walk.step(twin, steps)
            game.step(steps)
            one.append(apart(game.walkers(), expected))
        alone.append(apart(game.walkers(), twin))
    return {
        "ticks": len(one), "one_tick_units": quantiles(one), "beyond_half_a_unit": float(np.mean(np.array(one) > 0.5)),
        "walks": walks, "ticks_alone": ticks, "alone_units": quantiles(alone),
    }  # fmt: skip


def apart(a: Walkers, b: Walkers) -> float:
    return float(np.hypot(a.x - b.x, a.y - b.y)[0])


def quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in (50, 90, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextframe.worlds.freedoom.evaluation.twin", description=__doc__)
    parser.add_argument("--walks", type=int, default=100)
    parser.add_argument("--ticks", type=int, default=30)
    asked = parser.parse_args()
    game = KeepGame()
    try:
        print(json.dumps(compare(game, asked.walks, asked.ticks), indent=1))
    finally:
        game.close()


if __name__ == "__main__":
    main()
