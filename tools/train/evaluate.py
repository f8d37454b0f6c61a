"""How good a trained world is, on episodes it never saw: next frame, open loop, and whether it follows its player.

Everything goes through the generator that plays, with its memory. PSNR is pooled: of the mean squared error of all
frames, in dB of 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...model.dynamics.grid import GridDynamics
from ...model.generator.grid_generator import GridGenerator
from ...model.tokenizers.frames import FrameTokenizer
from ...worlds.evaluation.measures import WINDOW, ssim
from .data.clips import Clips

MOVING_LEVELS = 8
SHOWN = (1, 2, 4, 8, 16, 32)
LONG_SHOWN = (8, 16, 32, 64, 100, 128)
LONG_ROWS, LONG_EPISODES = 32, 6
"""Runs of a long measure, and how many held-out episodes must be long enough for it to be made."""
APART_LEVELS = 48
RIGHT_SHARE = 0.998
"""A frame is the game's own if so many of its pixels are nearer than that."""


@dataclass(frozen=True)
class HeldOut:
    """Runs of frames from held-out episodes: `frames (rows, ticks, h, w, 3)`, their latents and conditions."""

    frames: Tensor
    latents: Tensor
    conditions: Tensor

    def part(self, rows: int) -> HeldOut:
        return HeldOut(self.frames[:rows], self.latents[:rows], self.conditions[:rows])


def held_out_runs(tokenizer: FrameTokenizer, clips: Clips, ticks: int, rows: int) -> HeldOut:
    """Spread over the held-out episodes; fewer ticks where the episodes are short."""
    while ticks > 4 and len(clips.windows(ticks)) < 2:
        ticks -= 1
    at = clips.windows(ticks)
    picked = at[np.linspace(0, len(at) - 1, min(rows, len(at))).astype(int)]
    index = picked[:, None] + np.arange(ticks)
    frames = torch.from_numpy(clips.frames[index])
    with torch.no_grad():
        latents = torch.stack([tokenizer.encode(row) for row in frames.unbind(1)], 1)
    return HeldOut(frames, latents, torch.from_numpy(clips.conditions[index]))


class Errors:
    """Squared errors by name, over all pixels and over those that moved since the frame before; and SSIM by frame, of
    pictures that are large enough for its window."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}
        self._alike: dict[str, list[float]] = {}

    def add(self, name: str, made: Tensor, real: Tensor, before: Tensor) -> None:
        moving = (real.int() - before.int()).abs().amax(-1) > MOVING_LEVELS
        error = ((made.float() - real.float()) / 255).square().mean(-1)
        sums = self._sums.setdefault(name, [0.0, 0.0, 0.0, 0.0])
        parts = (float(error.sum()), float(error.numel()), float(error[moving].sum()), float(moving.sum()))
        self._sums[name] = [a + b for a, b in zip(sums, parts, strict=True)]
        if min(real.shape[-3:-1]) >= len(WINDOW):
            pairs = zip(made.numpy(), real.numpy(), strict=True)
            self._alike.setdefault(name, []).extend(ssim(one, true) for one, true in pairs)

    def whole_db(self, name: str) -> float | None:
        return _db(*self._sums[name][:2])

    def moving_db(self, name: str) -> float | None:
        return _db(*self._sums[name][2:])

    def mean_ssim(self, name: str) -> float | None:
        return round(float(np.mean(self._alike[name])), 4) if name in self._alike else None

    def table(self) -> dict[str, dict[str, float | None]]:
        return {
            name: {"psnr_db": self.whole_db(name), "moving_psnr_db": self.moving_db(name), "ssim": self.mean_ssim(name)}
            for name in self._sums
        }


def _db(total: float, count: float) -> float | None:
    return None if count == 0 else float(round(-10 * np.log10(max(total / count, 1e-10)), 3))


@torch.inference_mode()
def next_frame(generator: GridGenerator, held: HeldOut, ticks: int, context: int) -> Errors:
    """Each frame from its true past: per rung, with actions of other rows, and what knows nothing."""
    errors, tokenizer = Errors(), generator.tokenizer
    generator.prefill(held.latents[:, :context], held.conditions[:, :context])
    for t in range(context, min(context + ticks, held.frames.shape[1])):
        real, before, condition = held.frames[:, t], held.frames[:, t - 1], held.conditions[:, t]
        errors.add("copy_last", before, real, before)
        errors.add("ceiling", tokenizer.decode(held.latents[:, t]), real, before)
        straight = generator.straight_line(condition)
        errors.add("ridge", tokenizer.decode(straight), real, before)
        for rung in generator.config.ladder:
            errors.add(f"steps_{rung}", generator.decode(made(generator, condition, rung)), real, before)
        other = condition.roll(1, 0)
        errors.add("shuffled", generator.decode(made(generator, other, 1)), real, before)
        changed = (condition != other).any(-1)
        if changed.any():
            true = generator.decode(made(generator, condition, 1))[changed]
            shuffled = generator.decode(made(generator, other, 1))[changed]
            errors.add("true_where_others_differ", true, real[changed], before[changed])
            errors.add("shuffled_where_they_differ", shuffled, real[changed], before[changed])
        generator.commit(held.latents[:, t], condition)
    return errors


def made(generator: GridGenerator, condition: Tensor, steps: int) -> Tensor:
    job = generator.start(condition, 7, steps)
    while job.can_step:
        job.step()
    return job.finish()


@torch.inference_mode()
def free_run(generator: GridGenerator, held: HeldOut, context: int, steps: int) -> Tensor:
    """Frames `(rows, ticks, h, w, 3)` generated after the context, under the true actions."""
    generator.prefill(held.latents[:, :context], held.conditions[:, :context])
    frames = []
    for t in range(context, held.frames.shape[1]):
        condition = held.conditions[:, t]
        latent = made(generator, condition, steps)
        generator.commit(latent, condition)
        frames.append(generator.decode(generator.last))
    return torch.stack(frames, 1)


def open_loop(generated: Tensor, held: HeldOut, context: int) -> dict[str, Any]:
    """PSNR by tick against copying the start, and how much of the real edges is left."""
    real, start = held.frames[:, context:], held.frames[:, context - 1 : context].expand_as(held.frames[:, context:])
    own, still = ([_psnr(part[:, t], real[:, t]) for t in range(real.shape[1])] for part in (generated, start))
    below = next((t for t, (a, b) in enumerate(zip(own, still, strict=True)) if a <= b), None)
    shown = [t for t in SHOWN if t <= len(own)]
    return {
        "psnr_db": {str(t): round(own[t - 1], 2) for t in shown},
        "copy_start_psnr_db": {str(t): round(still[t - 1], 2) for t in shown},
        "ticks_above_copy_start": len(own) if below is None else below,
        "ticks_measured": len(own),
        "edge_energy": {
            str(t): round(_edges(generated[:, t - 1]) / max(_edges(real[:, t - 1]), 1e-9), 3) for t in shown
        },
    }


def long_loop(tokenizer: FrameTokenizer, dynamics: GridDynamics, clips: Clips) -> dict[str, Any] | None:
    """How long the world stays with the game itself, in free runs of held-out episodes that are long enough.

    `right`: by tick, the share of runs in which the frame is the game's own; `right_if_held`: of the start frame held.
    `tiles_right`, `tiles_right_if_held`: in a world of tiles, the share of tiles that are. None where episodes are
    short.
    """
    context = dynamics.config.window
    lengths = sorted((b - a for a, b in clips.episodes()), reverse=True)
    ticks = max((t for t in LONG_SHOWN if len(lengths) >= LONG_EPISODES and lengths[LONG_EPISODES - 1] >= context + t),
                default=0)  # fmt: skip
    if ticks <= SHOWN[-1]:
        return None
    held = held_out_runs(tokenizer, clips, context + ticks, LONG_ROWS)
    generated = free_run(GridGenerator(tokenizer, dynamics, rows=len(held.frames)), held, context, 2)
    real, start = held.frames[:, context:], held.frames[:, context - 1 : context].expand_as(held.frames[:, context:])

    def by_tick(measure: Callable[[Tensor, Tensor], float], made: Tensor) -> dict[str, float]:
        return {str(t): round(measure(made[:, t - 1], real[:, t - 1]), 3) for t in LONG_SHOWN if t <= ticks}

    def share_right(made: Tensor, true: Tensor) -> float:
        return float(right(made, true).float().mean())

    def tiles_right(made: Tensor, true: Tensor) -> float:
        return float(tiles_alike(made, true, tokenizer.config.patch_px).float().mean())

    tiles = {"tiles_right": generated, "tiles_right_if_held": start} if tokenizer.config.tiles else {}
    return {
        "rows": len(real), "psnr_db": by_tick(_psnr, generated), "copy_start_psnr_db": by_tick(_psnr, start),
        "right": by_tick(share_right, generated), "right_if_held": by_tick(share_right, start),
        "edge_energy": by_tick(lambda a, b: _edges(a) / max(_edges(b), 1e-9), generated),
        **{name: by_tick(tiles_right, made) for name, made in tiles.items()},
    }  # fmt: skip


def right(made: Tensor, real: Tensor) -> Tensor:
    """Which frames `(rows, h, w, 3)` are the game's own, `(rows,)` bool."""
    near = (made.int() - real.int()).abs().amax(-1) <= APART_LEVELS
    return near.flatten(1).float().mean(1) >= RIGHT_SHARE


def tiles_alike(made: Tensor, real: Tensor, tile_px: int) -> Tensor:
    """Which tiles of frames `(n, h, w, 3)` are the same to the last pixel, `(n, h / tile_px, w / tile_px)` bool."""
    same = (made == real).all(-1)
    return same.unflatten(2, (-1, tile_px)).unflatten(1, (-1, tile_px)).all(4).all(2)


def _psnr(made: Tensor, real: Tensor) -> float:
    error = ((made.float() - real.float()) / 255).square().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-10)))


def _edges(frames: Tensor) -> float:
    image = frames.float() / 255
    return float(image.diff(dim=-2).square().mean() + image.diff(dim=-3).square().mean())


def evaluate(
    tokenizer: FrameTokenizer, dynamics: GridDynamics, clips: Clips, *, rows: int = 48, horizon: int = 32
) -> tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.uint8]]:
    """The figures, and real and generated frames of some free runs for a film strip."""
    context = dynamics.config.window
    held = held_out_runs(tokenizer, clips, context + horizon, rows)
    generator = GridGenerator(tokenizer, dynamics, rows=len(held.frames))
    errors = next_frame(generator, held, 12, context)
    generated = free_run(generator, held, context, 2)
    true, shuffled = (errors.table().get(n, {}) for n in ("true_where_others_differ", "shuffled_where_they_differ"))
    best = errors.whole_db("steps_1")
    figures: dict[str, Any] = {
        "held_out_frames": len(clips), "rows": len(held.frames), "next_frame": errors.table(),
        "gain_over_copy_last_db": _minus(best, errors.whole_db("copy_last")),
        "gain_over_ridge_db": _minus(best, errors.whole_db("ridge")),
        "below_ceiling_db": _minus(errors.whole_db("ceiling"), best),
        "action_effect_db": _minus(true.get("psnr_db"), shuffled.get("psnr_db")),
        "action_effect_moving_db": _minus(true.get("moving_psnr_db"), shuffled.get("moving_psnr_db")),
        "open_loop": open_loop(generated, held, context), "long_loop": long_loop(tokenizer, dynamics, clips),
    }  # fmt: skip
    return figures, held.frames[:3, context:].numpy(), generated[:3].numpy()


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else round(a - b, 3)
