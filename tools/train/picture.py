"""An animated picture of a trained world under a script: `python -m nextframe.tools.train.picture WORLD --script F --to
F.webp`.

The world plays as in `nextframe run`, with its best quality, and every tick is a picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ...controllers.scripted import ScriptedController, load_script
from ...runtime.core import Frame, TickPlan
from ...runtime.display.animation import write_animation
from ...runtime.session.registry import find_world, load_world
from ...runtime.session.startup import prepare_torch


def played(name: str, script: Path, ticks: int, seed: int) -> Iterator[Frame]:
    """A frame a tick, `(height, width, 3)`; the first is where the world starts."""
    world = load_world(find_world(name))
    controller = ScriptedController(load_script(script, world.info.actions), world.info.actions)
    yield world.reset(seed)
    for tick in range(ticks):
        result = world.advance(controller.poll(tick), TickPlan(world.info.ladder[-1], deadline_ns=0))
        result.commit()
        yield result.frames[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.train.picture", description=__doc__)
    parser.add_argument("world", help="a world's name or folder")
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--ticks", type=int, default=180)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=int, default=3)
    asked = parser.parse_args()
    prepare_torch()
    rate = find_world(asked.world).spec.tick_hz
    write_animation(asked.to, played(asked.world, asked.script, asked.ticks, asked.seed), rate, scale=asked.scale)
    print(f"{asked.to}: {asked.to.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
