"""One tick ahead of true histories, and pictures against the teacher's of the same latent, for worlds seen from inside.

Both need pictures of the teacher at a tick, and nothing else of a world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...model.generator.ticks import RollingGenerator
from ..recipe.rollout import denoised, pictures
from .measures import Image, edge_energy, psnr_db, squared_error, ssim

LADDER = (1, 2, 4)
TOP = f"steps_{LADDER[-1]}"


def next_frame(
    generator: RollingGenerator,
    latents: Tensor,
    given: Tensor,
    true: Callable[[int], Sequence[Image]],
    *,
    past_ticks: int,
    every: int = 1,
) -> dict[str, Any]:
    """Pooled PSNR of the next frame after true histories, per rung, beside copy-last and the tokenizer alone.

    `latents`, `given`: of the teacher, `(rows, ticks, ...)`, of which the first `past_ticks` are only remembered.
    `true(tick)`: its pictures. `every`: so many ticks are measured. The first number of `given` is the axis that steers
    or looks; the other actions have it at its other end.
    """
    generator.prefill(latents[:, :past_ticks], given[:, :past_ticks])
    errors: dict[str, list[float]] = {name: [] for name in ("copy_last", "ceiling", *(f"steps_{k}" for k in LADDER))}
    alike: dict[str, list[float]] = {name: [] for name in errors}
    gains: list[float] = []
    for t in range(past_ticks, latents.shape[1]):
        if t % every == 0:
            truth = true(t)
            made: dict[str, Sequence[Image]] = {"copy_last": true(t - 1)}
            made |= {f"steps_{k}": pictures(generator, denoised(generator, given[:, t], k)) for k in LADDER}
            made["ceiling"] = pictures(generator, latents[:, t])
            for name, frames in made.items():
                errors[name] += [float(squared_error(a, b).mean()) for a, b in zip(frames, truth, strict=True)]
                alike[name] += [ssim(a, b) for a, b in zip(frames, truth, strict=True)]
            other = given[:, t].clone()
            other[:, 0] = torch.where(other[:, 0] > 0, -1.0, 1.0)
            wrong = pictures(generator, denoised(generator, other))
            gains += [
                psnr_db(squared_error(a, b)) - psnr_db(squared_error(c, b))
                for a, b, c in zip(made[TOP], truth, wrong, strict=True)
            ]
        generator.commit(latents[:, t], given[:, t])
    pairs = zip(errors["ceiling"], errors[TOP], strict=True)
    below = np.array([psnr_db(np.array(alone)) - psnr_db(np.array(made)) for alone, made in pairs])
    return {
        "frames": len(gains),
        "psnr_db": {name: psnr_db(np.array(values)) for name, values in errors.items()},
        "ssim": {name: float(np.mean(values)) for name, values in alike.items()},
        "below_ceiling_db": {"median": float(np.median(below)), "share_within_1_db": float((below <= 1).mean())},
        "other_actions": {"gain_db": float(np.mean(gains)), "true_wins": float(np.mean(np.array(gains) > 0))},
    }


def next_frame_numbers(forced: dict[str, Any]) -> dict[str, float]:
    """What the gates ask of it."""
    rungs = [forced["psnr_db"][f"steps_{k}"] for k in LADDER]
    return {
        "next_frame_below_ceiling_db": forced["psnr_db"]["ceiling"] - rungs[-1],
        "gain_over_copy_last_db": rungs[-1] - forced["psnr_db"]["copy_last"],
        "true_actions_beat_others_db": forced["other_actions"]["gain_db"],
        "rungs_never_fall_by_db": max(a - b for a, b in pairwise(rungs)),
    }


def against_teacher(made: Sequence[Image], truth: Sequence[Image]) -> dict[str, float]:
    """Pictures against the teacher's of the same latents."""
    edges = [edge_energy(a) / edge_energy(b) for a, b in zip(made, truth, strict=True)]
    errors = np.array([float(squared_error(a, b).mean()) for a, b in zip(made, truth, strict=True)])
    return {
        "edge_energy": float(np.mean(edges)), "edge_energy_worst_tenth": float(np.quantile(edges, 0.1)),
        "psnr_to_own_pose_db": psnr_db(errors),
    }  # fmt: skip
