"""`python -m nextframe.tools.lab.sessions.demo --sessions 4 --ticks 200`: bots play sessions of a world, all at once.

    python -m nextframe.tools.lab.sessions.demo --world drive                             # in one batch
    python -m nextframe.tools.lab.sessions.demo --stages auto --processes 2               # over two processes

Writes a video and a contact sheet with all of them side by side, and prints the frame rate of each. Exit code 0, or 2
for bad input.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ....controllers.bots import make_bot
from ....runtime.core import Frame, MonotonicClock, NextframeError, World
from ....runtime.display.stills import ContactSheet
from ....runtime.display.video import VideoWriter
from ....runtime.session.parts.stages import StageChoice, load_staged, stage_choice
from ....runtime.session.registry import WorldFolder, find_world, load_world
from ....runtime.session.startup import prepare_torch
from ....worlds.neural.world import NeuralWorld
from .many import MultiSession


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.sessions.demo", description=__doc__)
    arguments.add_argument("--world", default="circuit", help="a neural world, by name or folder")
    arguments.add_argument("--sessions", type=int, default=4)
    arguments.add_argument("--ticks", type=int, default=200)
    arguments.add_argument("--steps", default="4", help="denoise steps; '1,2,4' gives the sessions these in turn")
    arguments.add_argument("--bot", default="wander")
    arguments.add_argument("--stages", help="a layout of processes, or auto; they then fill these, not one batch")
    arguments.add_argument("--processes", type=int, help="how many, for --stages auto")
    arguments.add_argument("--video", type=Path, default=Path("out/sessions.mp4"))
    arguments.add_argument("--sheet", type=Path, default=Path("out/sessions.png"))
    return arguments


def grid(frames: Sequence[Frame]) -> Frame:
    """All frames in one, as near to a square as can be; empty places are black."""
    columns = math.ceil(math.sqrt(len(frames)))
    height, width, _ = frames[0].shape
    picture = np.zeros((-(-len(frames) // columns) * height, columns * width, 3), np.uint8)
    for at, frame in enumerate(frames):
        top, left = at // columns * height, at % columns * width
        picture[top : top + height, left : left + width] = frame
    return picture


def open_sessions(
    sessions: int, steps: Sequence[int], bot: str, name: str = "circuit", stages: StageChoice | None = None
) -> MultiSession:
    found = find_world(name)
    world: World = load_world(found) if stages is None else over_stages(found, stages, sessions)
    if not isinstance(world, NeuralWorld):
        raise NextframeError(f"demo: expected a world of latents such as circuit or drive, {found.name} has none")
    many = MultiSession(world, sessions, found.synonyms)
    for seed in range(sessions):
        many.join(seed, make_bot(bot, world.info.actions, seed), steps[seed % len(steps)])
    return many


def over_stages(found: WorldFolder, choice: StageChoice, sessions: int) -> World:
    """Its processes end with this one. They are not started again: what a fault ends is a demonstration."""
    return load_staged(found, choice, MonotonicClock(), sessions=1 + sessions).inner


def play(options: argparse.Namespace) -> list[int]:
    """Time of each tick of all sessions, in ns."""
    steps = [int(part) for part in options.steps.split(",")]
    if options.sessions < 1 or options.ticks < 1:
        raise NextframeError(
            f"demo: expected at least 1 session and 1 tick, got {options.sessions} and {options.ticks}"
        )
    stages = stage_choice(options.stages, options.processes, find_world(options.world))
    many = open_sessions(options.sessions, steps, options.bot, options.world, stages)
    try:
        return _played(many, options)
    finally:
        many.close()


def _played(many: MultiSession, options: argparse.Namespace) -> list[int]:
    first = grid([player.frame for player in many.players])
    video = VideoWriter(options.video, many.info.tick_hz, (first.shape[1], first.shape[0]), scale=1)
    sheet = ContactSheet(every_ticks=max(1, options.ticks // 4), columns=2, rows=2)
    tick_ns = []
    for _ in range(options.ticks):
        began_ns = time.perf_counter_ns()
        frames = many.tick()
        tick_ns.append(time.perf_counter_ns() - began_ns)
        picture = grid(frames)
        video.add(picture)
        sheet.add(picture)
    video.close()
    sheet.write(options.sheet)
    _say(many, tick_ns, options)
    return tick_ns


def _say(many: MultiSession, tick_ns: Sequence[int], options: argparse.Namespace) -> None:
    table = Table("session", "denoise steps", "prompt", "FPS", title=f"{len(many.players)} sessions {many.how}")
    fps = len(tick_ns) / (sum(tick_ns) / 1e9)
    for player in many.players:
        prompt = " ".join(player.prompt.values())
        table.add_row(str(player.session.seed), str(player.denoise_steps), prompt, f"{fps:.1f}")
    console = Console()
    console.print(table)
    console.print(f"all together {fps * len(many.players):.1f} frames/s; {options.video}, {options.sheet}")


def main() -> int:
    options = parser().parse_args()
    prepare_torch()
    try:
        play(options)
    except (NextframeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
