"""The world trained from pixels beside the game itself, under the same actions: the questions of
`nextframe.worlds.freedoom.evaluation.place`. See docs/freedoom.md for how to read the figures.

    python -m nextframe.tools.lab.freedoom_pixels.measure my_worlds/freedoom --out place.json --strip place.png
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.generator.grid_generator import GridGenerator
from ....runtime.config import world_info
from ....runtime.core import NextframeError
from ....runtime.session.registry import find_world
from ....worlds.freedoom.evaluation.place import staying, turn_around, turning
from ....worlds.freedoom.teacher.script import AXES, Script
from ....worlds.neural.pixels import load_networks, shape_of
from ...train.base.show import film_strip
from ...train.data.clips import Resizer
from ...train.evaluate import HeldOut, free_run
from .game import ATTACK, Freedoom, pace_of
from .recipe import TICS_A_TICK
from .room import ROOM

FIRST_SEED = 900_000
"""Of places that no training run has begun at: its episodes are numbered from 0."""
STEPS = 2
QUARTER_DEGREES, HALF_DEGREES = 90, 180
GATE_TICKS, EDGE_GATE, GAIN_GATE = 100, 0.4, 0.7
"""Before a longer run is worth its time: so much of the edges, and of the turning, after so many free ticks."""


def play(script: Script, rows: int, size_px: tuple[int, int], scenario: str) -> NDArray[np.uint8]:
    """What the game shows, `(rows, ticks, height, width, 3)`: each row from another place."""
    game, resize = Freedoom(scenario), Resizer(*size_px)
    out = []
    try:
        for row in range(rows):
            view, _ = game.reset(seed=FIRST_SEED + row)
            frames = []
            for action in script.actions:
                for _ in range(TICS_A_TICK):
                    view = game.step(action)[0]
                frames.append(resize(view))
            out.append(np.stack(frames))
    finally:
        game.close()
    return np.stack(out)


class Bench:
    """A trained folder and the game it learned from."""

    def __init__(self, folder: Path, scenario: str = ROOM, rows: int = 32) -> None:
        found = find_world(str(folder))
        info = world_info(found.spec, config_text="", weights_sha256="")
        axes = info.actions.axes
        if axes not in (AXES, (*AXES, ATTACK)) or info.actions.buttons:
            raise NextframeError(
                f"{folder}: expected a world with the axes {', '.join(AXES)}, "
                "as nextframe.tools.lab.freedoom_pixels.recipe makes it, "
                f"got {', '.join((*axes, *info.actions.buttons))}"
            )
        shape = shape_of(info, found.spec.parameters, str(folder))
        self.tokenizer, dynamics = load_networks(folder, found.spec.weights, shape)
        self.generator = GridGenerator(self.tokenizer, dynamics, rows=rows)
        self.window, self.rows, self.scenario, self.axes = shape.grid.window, rows, scenario, len(axes)
        self.degrees = TICS_A_TICK * pace_of(scenario).degrees
        self.size_px = (info.height_px, info.width_px)

    def both(self, script: Script) -> tuple[Tensor, Tensor]:
        """Real frames from the last true one on, `(rows, ticks + 1, h, w, 3)` uint8, and the generated ones after it,
        one fewer, under the same actions."""
        frames = torch.from_numpy(play(script, self.rows, self.size_px, self.scenario))
        with torch.no_grad():
            latents = torch.stack([self.tokenizer.encode(row) for row in frames.unbind(1)], 1)
        actions = np.pad(script.actions, ((0, 0), (0, self.axes - script.actions.shape[1])))
        conditions = torch.from_numpy(actions).expand(self.rows, -1, -1)
        generated = free_run(self.generator, HeldOut(frames, latents, conditions), script.context, STEPS)
        return frames[:, script.context - 1 :], generated


def measure(
    folder: Path, scenario: str = ROOM, rows: int = 32, ticks: int = 300, strip: Path | None = None
) -> dict[str, Any]:
    bench = Bench(folder, scenario, rows)
    shown = None if strip is None else lambda real, made: film_strip(strip, real, made)
    quarter, half = (math.ceil(angle / bench.degrees) for angle in (QUARTER_DEGREES, HALF_DEGREES))
    around = sorted({max(1, (bench.window - 1) // 2), 2 * bench.window, quarter, half})
    found: dict[str, Any] = {
        "schema": "nextframe.place/1", "rows": rows, "window_ticks": bench.window, "denoise_steps": STEPS,
        "turning": [turning(bench, after) for after in (0, GATE_TICKS, ticks) if after <= ticks],
        "turn_around": [turn_around(bench, n) for n in around], "staying": staying(bench, ticks, shown),
    }  # fmt: skip
    return found | {"gates": gates(found)}


def gates(found: dict[str, Any]) -> dict[str, bool | None]:
    """Nothing where it was not measured so far."""
    edge = found["staying"]["edges"].get(str(GATE_TICKS))
    gain = next((part["gain"] for part in found["turning"] if part["after_ticks"] == GATE_TICKS), None)
    return {
        f"edges_at_{GATE_TICKS}_above_{EDGE_GATE}": None if edge is None else edge > EDGE_GATE,
        f"turning_gain_at_{GATE_TICKS}_above_{GAIN_GATE}": None if gain is None else gain > GAIN_GATE,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.freedoom_pixels.measure", description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--scenario", default=ROOM, help="where the world's data were made")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--ticks", type=int, default=300, help="of staying")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--strip", type=Path, help="a film strip of the free run, real over generated")
    asked = parser.parse_args(arguments)
    try:
        text = json.dumps(measure(asked.world, asked.scenario, asked.rows, asked.ticks, asked.strip), indent=2)
    except NextframeError as error:
        print(f"freedoom: {error}", file=sys.stderr)
        return 2
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
