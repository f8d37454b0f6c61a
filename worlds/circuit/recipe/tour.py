"""Drive the dream for a minute and write down the keys: `worlds/circuit/scripts/tour.yaml`.

    python -m nextframe.worlds.circuit.recipe.tour

The driver sees where the newest latent has the cars, so the tour fits the weights it was driven in; run it again after
training new ones. Owns the itinerary of moods. The driver himself is the one who made the training data.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from ....runtime.core import Action, TickPlan, quantise_axis
from ....runtime.session.registry import find_world, load_world
from ....runtime.session.startup import prepare_torch
from ...neural.world import NeuralWorld
from ...prompts.words import parse_prompt
from ..evaluation.rig import car_of
from ..teacher.simulator import Controls, Simulator
from .data import Driver

TICKS = 1200
HOLD_TICKS = 3
"""A human changes keys no more often; it also keeps the script short."""
MOODS = {
    100: "rain", 220: "clear dusk", 340: "night", 470: "rainy night", 590: "snow day", 720: "fog", 830: "clear dusk",
    950: "snowy night", 1080: "clear day",
}  # fmt: skip
HEAD = """\
# A minute at the wheel, {ticks} ticks at 20 Hz: laps by a driver who watched the dream, through nine moods.
# Written by worlds/circuit/recipe/tour.py, which drove these weights from seed 0; new ones want to be driven anew.
version: 1
name: tour
length: {ticks}
timeline:
"""


def drive_dream(ticks: int, denoise_steps: int) -> list[dict[str, float]]:
    """The axes of every tick of a drive from seed 0, held for `HOLD_TICKS` each."""
    found = find_world("circuit")
    world = load_world(found)
    assert isinstance(world, NeuralWorld)
    world.reset(0)
    simulator = Simulator()
    state = simulator.reset(1, weather="clear", time="day")
    driver = Driver(simulator, 5, prompt_rate=0.0)
    controls = Controls()
    driven = []
    for tick in track(range(ticks), "driving"):
        if tick % HOLD_TICKS == 0:
            controls = replace(driver._race(state), handbrake=False)
        axes = {name: round(getattr(controls, name), 1) for name in ("steer", "throttle", "brake")}
        driven.append({name: value for name, value in axes.items() if value})
        levels = {name: quantise_axis(value) for name, value in driven[-1].items()}
        prompt = MOODS.get(tick)
        before = world.generator.last[0].clone()
        world.advance(Action(axes=levels, prompt=prompt), TickPlan(denoise_steps, deadline_ns=0)).commit()
        chosen = parse_prompt(prompt or "", world.info.actions.prompts, found.synonyms).chosen
        shadow = simulator.step(state, replace(controls, weather=chosen.get("weather"), time=chosen.get("time")))
        after = world.generator.last[0]
        player, rival = car_of(after, before, 0), car_of(after, before, 1)
        state = replace(shadow, player=player or shadow.player, rival=rival or shadow.rival)
    return driven


def as_script(driven: list[dict[str, float]], head: str = HEAD, moods: Mapping[int, str] = MOODS) -> str:
    """The drive as YAML under `head`, equal ticks in a row as one entry, with the moods where they belong."""
    entries = [(tick, f'  - {{at: {tick}, prompt: "{mood}"}}') for tick, mood in moods.items() if tick < len(driven)]
    begin = 0
    for tick in range(1, len(driven) + 1):
        if tick < len(driven) and driven[tick] == driven[begin]:
            continue
        axes = ", ".join(f"{name}: {value:g}" for name, value in driven[begin].items())
        if axes:
            entries.append((begin, f"  - {{at: {begin}, axis: {{{axes}}}, for: {tick - begin}}}"))
        begin = tick
    return head.format(ticks=len(driven)) + "\n".join(line for _, line in sorted(entries)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("worlds/circuit/scripts/tour.yaml"))
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--denoise-steps", type=int, default=4)
    options = parser.parse_args()
    prepare_torch()
    text = as_script(drive_dream(options.ticks, options.denoise_steps))
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(text, encoding="utf-8")
    print(f"{options.to}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
