"""Drive the dream for a minute and write down the keys: `worlds/circuit/scripts/tour.yaml`.

    python -m nextframe.worlds.circuit.recipe.tour

At the wheel is the driver who made the training data.
"""

from __future__ import annotations

from dataclasses import replace

from rich.progress import track

from ....runtime.core import Action, TickPlan
from ....runtime.session.registry import find_world, load_world
from ....runtime.session.startup import prepare_torch
from ...neural.world import NeuralWorld
from ...prompts.words import parse_prompt
from ...recipe.tour import HEAD, HOLD_TICKS, MOODS, as_script, held, tour
from ..teacher.simulator import Controls, Simulator
from .data import Driver, car_of


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
        said, levels = held({name: getattr(controls, name) for name in ("steer", "throttle", "brake")})
        driven.append(said)
        prompt = MOODS.get(tick)
        before = world.generator.last[0].clone()
        world.advance(Action(axes=levels, prompt=prompt), TickPlan(denoise_steps, deadline_ns=0)).commit()
        chosen = parse_prompt(prompt or "", world.info.actions.prompts, found.synonyms).chosen
        shadow = simulator.step(state, replace(controls, weather=chosen.get("weather"), time=chosen.get("time")))
        after = world.generator.last[0]
        player, rival = car_of(after, before, 0), car_of(after, before, 1)
        state = replace(shadow, player=player or shadow.player, rival=rival or shadow.rival)
    return driven


def main() -> None:
    prepare_torch()
    tour("circuit", __doc__, lambda ticks, steps: as_script(drive_dream(ticks, steps), HEAD.format(world="circuit")))


if __name__ == "__main__":
    main()
