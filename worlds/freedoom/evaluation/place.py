"""Does a generated place behave like the place? Three questions, each with the game's own answer beside it.

Turning: does the picture move as the look says, and as far, also after a long free run? Turn-around: after so many
ticks to the right and as many to the left, is it the place that was left, also when that is longer ago than the network
remembers? Staying: how much of the edges is left after many ticks without a true frame?
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..teacher.script import Script, looks
from .shown import db, edges, legible, shifts, turned_px

Frames: TypeAlias = NDArray[np.uint8]
SHOWN = (1, 10, 30, 100, 300)
HELD_TICKS = 4
"""How long a look is held: one tick of it is less than a pixel of a small picture."""
TURNS = 5


class Bench(Protocol):
    """A world beside the game. `window`: ticks that the network sees. `degrees`: of one tick's full look."""

    @property
    def window(self) -> int: ...

    @property
    def degrees(self) -> float: ...

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of a frame."""
        ...

    def both(self, script: Script) -> tuple[Tensor, Tensor]:
        """Real frames from the last true one on, `(rows, ticks + 1, h, w, 3)` uint8, and the generated ones after it,
        one fewer, under the same actions."""
        ...


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


def walk(window: int, ticks: int) -> Script:
    """About the place: mostly on, at times to a side, back, or nothing; each for ten ticks."""
    rng = np.random.default_rng(4)
    tens = -(-ticks // 10)
    actions = looks(np.repeat(rng.choice([-0.8, 0.0, 0.0, 0.8], tens), 10)[:ticks].tolist())
    moves = np.array([(0, 1), (0, 1), (0, 1), (1, 0), (-1, 0), (0, -1), (0, 0)], np.float32)
    actions[:, 1:] = np.repeat(moves[rng.integers(0, len(moves), tens)], 10, axis=0)[:ticks]
    return Script(np.concatenate([looks([0.0] * window), actions]), window)


def staying(bench: Bench, ticks: int = 300, strip: Callable[[Frames, Frames], object] | None = None) -> dict[str, Any]:
    """Walking about for so long. `edges`: of the dream over the game's, at each tick named; below a half it is mush.
    `strip`: shown some real and generated frames, `(clips, ticks, height, width, 3)` each."""
    real, dreamt = bench.both(walk(bench.window, ticks))
    usual = edges(real)
    shown = [t for t in SHOWN if t <= ticks]
    if strip:
        at = [t - 1 for t in sorted({*shown, *(t for t in (5, 20, 60, 150, 220) if t <= ticks)})]
        strip(real[:4, 1:].numpy()[:, at], dreamt[:4].numpy()[:, at])
    return {"edges": {str(t): _round(edges(dreamt[:, t - 1]) / max(usual, 1e-9)) for t in shown}}


def _round(value: float) -> float:
    return round(value, 3)
