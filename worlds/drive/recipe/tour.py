"""Drive the dream for a minute and write down the keys: `worlds/drive/scripts/tour.yaml`.

    python -m nextframe.worlds.drive.recipe.tour

The driver sees where the newest latent has the cars, so the tour fits the weights it was driven in; run it again after
training new ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from rich.progress import track

from ....runtime.core import Action, TickPlan, quantise_axis
from ....runtime.session.registry import find_world, load_world
from ....runtime.session.startup import prepare_torch
from ...circuit.recipe.tour import HEAD, HOLD_TICKS, MOODS, TICKS, as_script
from ...neural.world import NeuralWorld
from ...prompts.words import parse_prompt
from ..evaluation.gates import Pilot
from ..teacher.simulator import TIMES, WEATHERS, Simulator
from .on_policy import none_of, seen

GROUPS = {"weather": WEATHERS, "time": TIMES}


def drive_dream(ticks: int, denoise_steps: int) -> list[dict[str, float]]:
    """The axes of every tick of a drive from seed 0, held for `HOLD_TICKS` each."""
    found = find_world("drive")
    world = cast(NeuralWorld, load_world(found))
    world.reset(0)
    simulator = Simulator()
    states = simulator.reset([1], weather=0, time=0)
    pilot = Pilot(cast(Any, SimpleNamespace(simulator=simulator)), np.full(1, -2.5))
    controls, driven = none_of(1), []
    for tick in track(range(ticks), "driving"):
        states = seen(simulator, states, world.generator.last, world.generator.before)
        if tick % HOLD_TICKS == 0:
            controls = pilot.controls(states)
        axes = {name: round(float(getattr(controls, name)[0]), 1) for name in ("steer", "throttle", "brake")}
        driven.append({name: value for name, value in axes.items() if value})
        levels = {name: quantise_axis(value) for name, value in driven[-1].items()}
        prompt = MOODS.get(tick)
        world.advance(Action(axes=levels, prompt=prompt), TickPlan(denoise_steps, deadline_ns=0)).commit()
        chosen = parse_prompt(prompt or "", world.info.actions.prompts, found.synonyms).chosen
        asked = {name: words.index(chosen[name]) if name in chosen else -1 for name, words in GROUPS.items()}
        told = {name: np.array([word]) for name, word in asked.items()}
        states = simulator.step(states, replace(controls, **told))
    return driven


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("worlds/drive/scripts/tour.yaml"))
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--denoise-steps", type=int, default=4)
    options = parser.parse_args()
    prepare_torch()
    text = as_script(drive_dream(options.ticks, options.denoise_steps), HEAD.replace("tools/circuit", "tools/drive"))
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(text, encoding="utf-8")
    print(f"{options.to}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
