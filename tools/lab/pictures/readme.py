"""Make the README's animated pictures: a world's tour, played by its network.

python -m nextframe.tools.lab.pictures.readme                                    # circuit, docs/play.webp
python -m nextframe.tools.lab.pictures.readme --world drive --scale 1 --to docs/drive.webp
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from rich.progress import track

from ....controllers.scripted import ScriptedController, load_script
from ....runtime.core import TickPlan
from ....runtime.display.animation import write_animation
from ....runtime.session.registry import WORLDS_FOLDER, find_world, load_world
from ....runtime.session.startup import prepare_torch

TICKS, EVERY = 1100, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="circuit")
    parser.add_argument("--to", type=Path, default=Path("docs/play.webp"))
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    prepare_torch()
    world = load_world(find_world(options.world))
    script = load_script(WORLDS_FOLDER / options.world / "scripts" / "tour.yaml", world.info.actions)
    controller = ScriptedController(script, world.info.actions)
    frames = [world.reset(0)]
    for tick in track(range(options.ticks), "playing the tour"):
        result = world.advance(controller.poll(tick), TickPlan(world.info.ladder[-1], deadline_ns=0))
        result.commit()
        if tick % EVERY == 0:
            frames.append(result.frames[0])
    options.to.parent.mkdir(exist_ok=True)
    write_animation(options.to, frames, Fraction(10), scale=options.scale)
    print(f"{options.to}: {options.to.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
