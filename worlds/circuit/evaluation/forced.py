"""Next frames from true histories: how close one tick comes, on whole frames, moving pixels and around the car."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rich.progress import track

from ...evaluation.measures import (
    Image,
    moving,
    psnr_db,
    square_around,
    squared_error,
    ssim,
)
from ...recipe.rollout import denoised
from ..recipe.data import HELD_OUT_SEED, drive
from .rig import LADDER, PAST_TICKS, Bench


def next_frame(
    bench: Bench, rows: int, ticks: int, window: int | None = None, rungs: tuple[int, ...] = LADDER
) -> dict[str, Any]:
    """Teacher-forced: `rows` episodes, `ticks` predictions each after a full true memory."""
    total = PAST_TICKS + ticks
    episodes = [drive(bench.simulator, HELD_OUT_SEED + 500 + k, total, prompt_rate=0.01) for k in range(rows)]
    generator = bench.generator(rows, window)
    frames = np.stack([bench.frames(e.states) for e in track(episodes, "true frames")])
    latents = bench.encode(generator, frames.reshape(-1, *frames.shape[2:])).reshape(rows, total + 1, -1)
    conditions = torch.stack([torch.from_numpy(e.conditions) for e in episodes])
    generator.prefill(latents[:, :PAST_TICKS], conditions[:, :PAST_TICKS])
    shuffled = conditions.roll(1, 0).clone()
    shuffled[..., 4:] = conditions[..., 4:]
    errors: dict[str, list[float]] = {}
    masks: dict[str, list[float]] = {}
    alike: dict[str, list[float]] = {}

    def note(name: str, drawn: Image, true: Image, before: Image) -> None:
        error, mask = squared_error(drawn, true), moving(before, true)
        errors.setdefault(name, []).append(float(error.mean()))
        alike.setdefault(name, []).append(ssim(drawn, true))
        if mask.any():
            masks.setdefault(name, []).append(float(error[mask].mean()))

    near: dict[str, list[float]] = {"true": [], "shuffled": []}
    for t in track(range(PAST_TICKS, total), "next frame"):
        drawn = {"ceiling": generator.decode(latents[:, t]).numpy()}
        for name, rung, given in [*((f"steps_{k}", k, conditions) for k in rungs), ("shuffled", rungs[-1], shuffled)]:
            drawn[name] = generator.decode(denoised(generator, given[:, t], rung)).numpy()
        for k in range(rows):
            before, true = frames[k, t - 1], frames[k, t]
            note("copy_last", before, true, before)
            for name, images in drawn.items():
                note(name, images[k], true, before)
            car = episodes[k].states[t].player
            if (
                abs(float(conditions[k, t, 0] - shuffled[k, t, 0])) >= 0.5
                and car.speed > 1
                and bench.simulator.covered(car) is None
            ):
                rows_at, columns_at = square_around(true, car.x, car.y)
                for name, images in (("true", drawn[f"steps_{rungs[-1]}"]), ("shuffled", drawn["shuffled"])):
                    near[name].append(float(squared_error(images[k], true)[rows_at, columns_at].mean()))
        generator.commit(latents[:, t], conditions[:, t])
    right, wrong = np.array(near["true"]), np.array(near["shuffled"])
    return {
        "frames": rows * ticks,
        "other_steering": {
            "frames": len(right),
            "gain_db": psnr_db(right) - psnr_db(wrong),
            "true_wins": float((right < wrong).mean()),
        },
        "psnr_db": {name: psnr_db(np.array(values)) for name, values in errors.items()},
        "moving_psnr_db": {name: psnr_db(np.array(values)) for name, values in masks.items()},
        "ssim": {name: float(np.mean(values)) for name, values in alike.items()},
    }
