"""A generator run by hand, as training and evaluation do: a latent of so many steps, its pictures, a free run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...model.generator.ticks import RollingGenerator


def denoised(generator: RollingGenerator, given: Tensor, steps: int = 4, seed: int = 7) -> Tensor:
    """The next latents `(rows, latent_dim)` under conditions `given` `(rows, condition_dim)`; nothing is committed."""
    job = generator.start(given, seed, steps)
    while job.can_step:
        job.step()
    return job.finish()


def pictures(generator: RollingGenerator, latents: Tensor) -> list[NDArray[np.uint8]]:
    """One `(height, width, 3)` for each of `latents` `(rows, latent_dim)`, decoded one by one to bound the memory."""
    with torch.inference_mode():
        return [generator.decode(latents[k : k + 1])[0].numpy() for k in range(len(latents))]


@torch.inference_mode()
def free_run(generator: RollingGenerator, latents: Tensor, given: Tensor, past_ticks: int, steps: int = 2) -> Tensor:
    """What all rows dream after `past_ticks` true latents, under the conditions of the rest, `(rows, ticks, dim)`.

    `latents`: `(rows, at least past_ticks, latent_dim)`. `given`: `(rows, past_ticks + ticks, condition_dim)`.
    """
    generator.prefill(latents[:, :past_ticks], given[:, :past_ticks])
    out = []
    for condition in given[:, past_ticks:].unbind(1):
        generator.commit(denoised(generator, condition, steps, seed=1), condition)
        out.append(generator.last)
    return torch.stack(out, 1)
