"""Drive the dream for a minute and write down the keys: `worlds/drive/scripts/tour.yaml`.

python -m nextframe.worlds.drive.recipe.tour
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from rich.progress import track

from ....runtime.core import Action, TickPlan
from ....runtime.session.registry import find_world, load_world
from ....runtime.session.startup import prepare_torch
from ...neural.world import NeuralWorld
from ...prompts.words import parse_prompt
from ...recipe.tour import HEAD, HOLD_TICKS, MOODS, as_script, held, tour
from ..teacher.simulator import TIMES, WEATHERS, Simulator
from .data import Pilot, none_of
from .on_policy import seen

GROUPS = {"weather": WEATHERS, "time": TIMES}


def drive_dream(ticks: int, denoise_steps: int) -> list[dict[str, float]]:
    """The axes of every tick of a drive from seed 0, held for `HOLD_TICKS` each."""
    found = find_world("drive")
    world = cast(NeuralWorld, load_world(found))
    world.reset(0)
    simulator = Simulator()
    states = simulator.reset([1], weather=0, time=0)
    pilot = Pilot(simulator.track, np.full(1, -2.5))
    controls, driven = none_of(1), []
    for tick in track(range(ticks), "driving"):
        states = seen(simulator, states, world.generator.last, world.generator.before)
        if tick % HOLD_TICKS == 0:
            controls = pilot.controls(states)
        said, levels = held({name: getattr(controls, name)[0] for name in ("steer", "throttle", "brake")})
        driven.append(said)
        prompt = MOODS.get(tick)
        world.advance(Action(axes=levels, prompt=prompt), TickPlan(denoise_steps, deadline_ns=0)).commit()
        chosen = parse_prompt(prompt or "", world.info.actions.prompts, found.synonyms).chosen
        asked = {name: words.index(chosen[name]) if name in chosen else -1 for name, words in GROUPS.items()}
        told = {name: np.array([word]) for name, word in asked.items()}
        states = simulator.step(states, replace(controls, **told))
    return driven


def main() -> None:
    prepare_torch()
    tour("drive", __doc__, lambda ticks, steps: as_script(drive_dream(ticks, steps), HEAD.format(world="drive")))


if __name__ == "__main__":
    main()
