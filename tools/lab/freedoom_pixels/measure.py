"""Does a dreamt place behave like the place? The trained world beside the game itself, under the same actions.

    python -m nextframe.tools.lab.freedoom_pixels.measure my_worlds/freedoom --out place.json --strip place.png

Owns three questions. Turning: does the picture move as the look says, and as far, also after a long free run?
Turn-around: after so many ticks to the right and as many to the left, is it the place that was left, also when that is
longer ago than the network remembers? Staying: how much of the edges is left after many ticks without a true frame? The
game answers each beside it, so every figure has its ceiling. See docs/freedoom.md for how to read them.
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
from ....worlds.freedoom.teacher.game import ATTACK, Freedoom, pace_of
from ....worlds.freedoom.teacher.room import ROOM
from ....worlds.freedoom.teacher.script import AXES, Script, looks
from ....worlds.neural.pixels import load_networks, shape_of
from ...train.data.clips import Resizer
from ...train.evaluate import HeldOut, free_run
from ...train.show import film_strip
from .pictures import db, edges, legible, shifts, turned_px
from .recipe import TICS_A_TICK

FIRST_SEED = 900_000
"""Of places that no training run has begun at: its episodes are numbered from 0."""
STEPS = 2
SHOWN = (1, 10, 30, 100, 300)
HELD_TICKS = 4
"""How long a look is held: one tick of it is less than a pixel of a small picture."""
TURNS = 5
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
                f"{folder}: expected a world with the axes {', '.join(AXES)}, as tools.freedoom.recipe makes it, "
                f"got {', '.join((*axes, *info.actions.buttons))}"
            )
        shape = shape_of(info, found.spec.parameters, str(folder))
        self.tokenizer, dynamics = load_networks(folder, found.spec.weights, shape)
        self.generator = GridGenerator(self.tokenizer, dynamics, rows=rows)
        self.window, self.rows, self.scenario, self.axes = shape.grid.window, rows, scenario, len(axes)
        self.degrees = TICS_A_TICK * pace_of(scenario).degrees
        self.size_px = (info.height_px, info.width_px)

    def both(self, script: Script) -> tuple[Tensor, Tensor]:
        """Real frames from the last true one on, `(rows, ticks + 1, h, w, 3)` uint8, and the dreamt ones after it, one
        fewer, under the same actions."""
        frames = torch.from_numpy(play(script, self.rows, self.size_px, self.scenario))
        with torch.no_grad():
            latents = torch.stack([self.tokenizer.encode(row) for row in frames.unbind(1)], 1)
        actions = np.pad(script.actions, ((0, 0), (0, self.axes - script.actions.shape[1])))
        conditions = torch.from_numpy(actions).expand(self.rows, -1, -1)
        dreamt = free_run(self.generator, HeldOut(frames, latents, conditions), script.context, STEPS)
        return frames[:, script.context - 1 :], dreamt


# --- turning ------------------------------------------------------------------------------------------------------


def turning(bench: Bench, after: int = 0) -> dict[str, Any]:
    """The look goes to and fro, `after` about so many free ticks of the same. `gain`: how far the dream turns for what
    the game turns; 1 is right, 0 is deaf. `correlation` of the dream's shifts with the look; `game_correlation`: what
    this way of measuring gives at best. Only turns count that the game's own picture shows; `legible`: their share.
    """
    skipped = after // HELD_TICKS
    values = np.random.default_rng(3).choice([-1.0, -0.5, 0.5, 1.0], skipped + TURNS)
    held = np.repeat(values, HELD_TICKS).tolist()
    script = Script(looks([*np.full(bench.window, 0.5), *held]), bench.window)
    real, dreamt = bench.both(script)
    dreamt = torch.cat([real[:, :1], dreamt], 1)
    moved, made = (shifts(frames[:, ::HELD_TICKS][:, skipped:]) for frames in (real, dreamt))
    full_px = turned_px(bench.size_px[1], HELD_TICKS * bench.degrees)
    asked = np.broadcast_to(values[skipped:], moved.shape)
    shown = legible(moved, asked * full_px)
    moved, made, asked = moved[shown], made[shown], asked[shown]
    return {
        "after_ticks": after,
        "gain": _round(float((made * np.sign(asked)).sum() / max(1e-9, (moved * np.sign(asked)).sum()))),
        "legible": _round(float(shown.mean())),
        "correlation": _correlation(made, asked), "game_correlation": _correlation(moved, asked),
        "px_per_turn": _round(float(np.abs(made).mean())), "game_px_per_turn": _round(float(np.abs(moved).mean())),
    }  # fmt: skip


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    a, b = a.ravel(), b.ravel()
    return None if len(a) < 2 or a.std() == 0 or b.std() == 0 else _round(float(np.corrcoef(a, b)[0, 1]))


# --- memory -------------------------------------------------------------------------------------------------------


def turn_around(bench: Bench, ticks: int) -> dict[str, Any]:
    """`ticks` to the right and back. `psnr_db` of the last frame against the place that was left, `game_psnr_db` of the
    game's own last frame, `other_places_psnr_db` of other rows' places. `retrieval_at_1`: the share of rows whose last
    frame is nearer to its own place than to any other row's; chance is 1 over rows."""
    script = Script(looks([*np.zeros(bench.window), *np.ones(ticks), *-np.ones(ticks)]), bench.window)
    real, dreamt = bench.both(script)
    place, back, truth = (part.float() / 255 for part in (real[:, 0], dreamt[:, -1], real[:, -1]))
    apart = (back[:, None] - place[None]).square().mean((-1, -2, -3))
    own = apart.diagonal()
    others = apart[~torch.eye(len(apart), dtype=torch.bool)]
    return {
        "ticks": 2 * ticks, "degrees": _round(ticks * bench.degrees), "inside_the_window": 2 * ticks < bench.window,
        "psnr_db": db(own.mean()), "game_psnr_db": db((truth - place).square().mean()),
        "other_places_psnr_db": db(others.mean()),
        "retrieval_at_1": _round(float((apart.argmin(1) == torch.arange(len(apart))).float().mean())),
        "chance": _round(1 / len(apart)),
    }  # fmt: skip


# --- staying ------------------------------------------------------------------------------------------------------


def walk(window: int, ticks: int) -> Script:
    """About the place: mostly on, at times to a side, back, or nothing; each for ten ticks."""
    rng = np.random.default_rng(4)
    tens = -(-ticks // 10)
    actions = looks(np.repeat(rng.choice([-0.8, 0.0, 0.0, 0.8], tens), 10)[:ticks].tolist())
    moves = np.array([(0, 1), (0, 1), (0, 1), (1, 0), (-1, 0), (0, -1), (0, 0)], np.float32)
    actions[:, 1:] = np.repeat(moves[rng.integers(0, len(moves), tens)], 10, axis=0)[:ticks]
    return Script(np.concatenate([looks([0.0] * window), actions]), window)


def staying(bench: Bench, ticks: int = 300, strip: Path | None = None) -> dict[str, Any]:
    """Walking about for so long. `edges`: of the dream over the game's, at each tick named; below a half it is mush."""
    real, dreamt = bench.both(walk(bench.window, ticks))
    usual = edges(real)
    shown = [t for t in SHOWN if t <= ticks]
    if strip:
        at = [t - 1 for t in sorted({*shown, *(t for t in (5, 20, 60, 150, 220) if t <= ticks)})]
        film_strip(strip, real[:4, 1:].numpy()[:, at], dreamt[:4].numpy()[:, at])
    return {"edges": {str(t): _round(edges(dreamt[:, t - 1]) / max(usual, 1e-9)) for t in shown}}


def _round(value: float) -> float:
    return round(value, 3)


# --- command ------------------------------------------------------------------------------------------------------


def measure(
    folder: Path, scenario: str = ROOM, rows: int = 32, ticks: int = 300, strip: Path | None = None
) -> dict[str, Any]:
    bench = Bench(folder, scenario, rows)
    quarter, half = (math.ceil(angle / bench.degrees) for angle in (QUARTER_DEGREES, HALF_DEGREES))
    around = sorted({max(1, (bench.window - 1) // 2), 2 * bench.window, quarter, half})
    found: dict[str, Any] = {
        "schema": "nextframe.place/1", "rows": rows, "window_ticks": bench.window, "denoise_steps": STEPS,
        "turning": [turning(bench, after) for after in (0, GATE_TICKS, ticks) if after <= ticks],
        "turn_around": [turn_around(bench, n) for n in around], "staying": staying(bench, ticks, strip),
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
    parser.add_argument("--strip", type=Path, help="a film strip of the free run, real over dreamt")
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
