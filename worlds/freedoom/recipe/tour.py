"""Walk through the dreamt keep for a minute and write down the keys: `worlds/freedoom/scripts/tour.yaml`.

    python -m nextframe.worlds.freedoom.recipe.tour

The way leads through every room; one of them is darkened, and is still dark on coming back.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from ....runtime.core import Action, TickPlan
from ....runtime.session.registry import find_world, load_world
from ....runtime.session.startup import prepare_torch
from ...neural.world import NeuralWorld
from ...recipe.tour import as_script, held, tour
from .. import world as keep
from ..teacher.plan import load_grid
from .pilot import Pilot, free_nodes, place_of

HOLD_TICKS = 2
MOST_TICKS = 160
"""For one part of the way."""
WAY = (
    ("k", 0.0, ""), ("k", 2.0, "dark"), ("r", 1.8, ""), ("m", -0.4, ""), ("b", 0.9, ""), ("a", -1.6, ""),
    ("s", 2.4, ""), ("w", 3.0, ""), ("k", 2.0, ""), ("k", 2.0, "light"), ("g", 0.3, ""),
)  # fmt: skip
"""Rooms by their letters, where to look when there (radians from east to north), and which button to press then."""
HEAD = """\
# A minute on foot, {ticks} ticks at 17.5 Hz, through every room. The library is darkened, and is still dark at the end.
# Written by worlds/freedoom/recipe/tour.py, which walked these weights from seed 0; new ones want to be walked anew.
version: 1
name: tour
length: {ticks}
timeline:
"""


def middle_of_room(letter: str) -> tuple[float, float]:
    """The free corner that is nearest to the middle of its cells."""
    middle = np.argwhere((load_grid().letters == letter) & ~load_grid().walls).mean(0) + 0.5
    return place_of(min(free_nodes(), key=lambda node: float(np.square(np.array(node) - middle).sum())))


def walk(world: NeuralWorld, denoise_steps: int) -> tuple[list[dict[str, float]], list[tuple[int, str]]]:
    """The axes of every tick, and when which button was pressed."""
    world.reset(0)
    walked: list[dict[str, float]] = []
    pressed: list[tuple[int, str]] = []
    for letter, angle, button in WAY:
        pilot, begun = Pilot([(*middle_of_room(letter), angle)]), len(walked)
        said, levels = held({})
        while True:
            now = keep.walkers_of(world.generator.last.numpy())
            there = bool(pilot.there(now)[0]) or len(walked) - begun >= MOST_TICKS
            if (len(walked) - begun) % HOLD_TICKS == 0:
                steps = pilot.steps(now)
                parts = {"look_x": steps.look, "move_x": steps.aside, "move_y": steps.ahead}
                said, levels = held({name: part[0] for name, part in parts.items()})
            presses = frozenset({button}) if there and button else frozenset[str]()
            pressed += [(len(walked), name) for name in presses]
            walked.append(said)
            world.advance(Action(axes=levels, buttons=presses), TickPlan(denoise_steps, deadline_ns=0)).commit()
            if there:
                break
    return walked, pressed


def script_of(ticks: int, denoise_steps: int) -> str:
    """However long the way is: `ticks` at most."""
    walked, pressed = walk(cast(NeuralWorld, load_world(find_world("freedoom"))), denoise_steps)
    shown = [(tick, button) for tick, button in pressed if tick < ticks]
    presses = "".join(f"  - {{at: {tick}, hold: [{button}], for: 1}}\n" for tick, button in shown)
    return as_script(walked[:ticks], HEAD, moods={}) + presses


def main() -> None:
    prepare_torch()
    tour("freedoom", __doc__, script_of)


if __name__ == "__main__":
    main()
