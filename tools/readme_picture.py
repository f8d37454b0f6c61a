"""Make the README's animated picture: the tour, played by the network, `docs/play.webp`.

python -m tools.readme_picture
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from rich.progress import track

from controllers.scripted import ScriptedController, load_script
from runtime.core import TickPlan
from runtime.registry import WORLDS_FOLDER, find_world, load_world
from runtime.startup import prepare_torch
from runtime.video import write_animation

TICKS, EVERY = 1100, 4


def main() -> None:
    prepare_torch()
    world = load_world(find_world("circuit"))
    script = load_script(WORLDS_FOLDER / "circuit" / "scripts" / "tour.yaml", world.info.actions)
    controller = ScriptedController(script, world.info.actions)
    frames = [world.reset(0)]
    for tick in track(range(TICKS), "playing the tour"):
        result = world.advance(controller.poll(tick), TickPlan(world.info.ladder[-1], deadline_ns=0))
        result.commit()
        if tick % EVERY == 0:
            frames.append(result.frames[0])
    path = Path("docs/play.webp")
    path.parent.mkdir(exist_ok=True)
    write_animation(path, frames, Fraction(10), scale=2)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
