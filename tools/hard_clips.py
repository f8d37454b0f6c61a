"""Which clips of a pool of episodes to learn from: some anywhere, some where the network is still wrong.

Owns how wrong a network is, tick by tick, and the draw. What is rare and hard (a crash, the end of a wall) is a tick in
thirty and most of the error; drawn by its error it is learned from as often as it should be. Prioritised replay (Schaul
et al. 2016), without the correction of its bias: what is rare and wrong is to weigh more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from model.dynamics import Dynamics

CLIP_TICKS = 20
KNOWS_NOTHING_TICKS = 2
"""At the beginning of a clip nothing is known of the motion, so what is wrong there says nothing."""
SETTLED_TICKS = 4
"""A wrong tick has at least so many of its clip before it."""
JUDGED = 128
"""Episodes of a pool that are looked at: a forward pass of all would cost as much as many steps."""

Objective: TypeAlias = Callable[[Dynamics, Tensor, Tensor], Tensor]
"""Of a dynamics, predictions and targets: the loss of each tick, `(batch, time)`."""


@torch.inference_mode()
def wrongness(dynamics: Dynamics, objective: Objective, latents: Tensor, conditions: Tensor) -> Tensor:
    """How wrong the next tick is said after a true history, by episode and tick, `(episodes, ticks)`.

    `latents`, `conditions`: `(episodes, ticks, ...)` of a pool, on the host; only the first `JUDGED` are looked at, and
    nothing but those is in the result. A history is that of its clip, so it begins anew every `CLIP_TICKS`; ticks that
    fill no clip count as right.
    """
    device = next(dynamics.parameters()).device
    ticks = latents.shape[1]
    whole = ticks // CLIP_TICKS * CLIP_TICKS
    clean, given = (
        part[:JUDGED, :whole].reshape(-1, CLIP_TICKS, part.shape[-1]).to(device) for part in (latents, conditions)
    )
    noise, all_seen = torch.randn_like(clean), torch.full((len(clean),), dynamics.config.window, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        said = dynamics(clean, noise, torch.zeros_like(noise), given, torch.zeros_like(clean[..., 0]), all_seen)
    wrong = objective(dynamics, said.float(), clean)
    wrong[:, :KNOWS_NOTHING_TICKS] = 0.0
    return F.pad(wrong.reshape(-1, whole), (0, ticks - whole)).cpu()


def unjudged(latents: Tensor) -> Tensor:
    """Before there is a network: all ticks alike."""
    return torch.ones(latents.shape[:2])


def draw_clips(wrong: Tensor, episodes: int, batch: int, hard: float) -> tuple[Tensor, Tensor]:
    """Where `batch` clips lie: episodes `(batch, 1)` and ticks `(batch, CLIP_TICKS)`.

    The share `hard` by `wrong`, with a tick drawn by how wrong it is in the later part of the clip; the others from any
    of the `episodes`.
    """
    ticks = wrong.shape[1]
    last = ticks - CLIP_TICKS
    at = torch.multinomial(wrong.flatten(), batch, replacement=True)
    around = (at % ticks - torch.randint(SETTLED_TICKS, CLIP_TICKS, (batch,))).clamp(0, last)
    is_hard = torch.rand(batch) < hard
    which = torch.where(is_hard, at // ticks, torch.randint(episodes, (batch,)))
    first = torch.where(is_hard, around, torch.randint(last + 1, (batch,)))
    return which[:, None], first[:, None] + torch.arange(CLIP_TICKS)
