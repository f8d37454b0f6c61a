"""What every dynamics is asked in a training step, and the shapes of errors. How much which number counts is a world's.

A sample is taken at two noise levels of the ladder. Pass 1, without gradient, estimates the clean latents from the
noisier one, as the sampler's step before would; pass 2 learns with that estimate.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ...model.dynamics.slots import Dynamics
from .clips import Clips


class Canonical(Protocol):
    """A tokenizer, as far as losses need it."""

    def canonical(self, latent: Tensor) -> Tensor: ...


def huber(error: Tensor, scale: float) -> Tensor:
    """Pseudo-Huber: quadratic below `scale`, linear above, so rare jumps do not drown the fine work."""
    return (1 + (error / scale).square()).sqrt() - 1


def fine(error: Tensor, scale: float) -> Tensor:
    """Rises steeply from nothing and then ever less: what is nearly right has to become right."""
    return ((error / scale).square() + 0.01).sqrt().log1p()


def draw_windows(batch: int, full: int) -> Tensor:
    """Mostly the whole memory; sometimes less, so that the same weights can be asked with less."""
    choices = torch.tensor([full, full, full, full, 24, 16, 4, 1])
    return choices[torch.randint(len(choices), (batch,))].clamp(max=full)


def noise_levels(shape: tuple[int, int], taus: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise levels of the step learned and of the step before it: the ladder's own twice in three, else any.

    Four in ten are pure noise, where most of the next frame is decided.
    """
    ladder = torch.tensor(taus, device=device)
    rung = torch.randint(1, len(taus), shape, device=device)
    any_level = torch.rand(shape, device=device)
    on_ladder = torch.rand(shape, device=device) < 0.66
    tau = torch.where(on_ladder, ladder[rung], any_level)
    earlier = torch.where(on_ladder, ladder[rung - 1], any_level * torch.rand(shape, device=device))
    first = torch.rand(shape, device=device) < 0.4
    return torch.where(first, 0.0, tau), torch.where(first, 0.0, earlier)


def strengths(clips: Clips, untouched: float, most: float = 1.0) -> Tensor:
    """How much each history is corrupted, `(batch,)`: not at all in a share of `untouched`."""
    batch, device = len(clips.targets), clips.targets.device
    return torch.where(torch.rand(batch, device=device) < untouched, 0.0, torch.rand(batch, device=device) * most)


def own_share_at(part: float, begins: float = 0.1) -> float:
    """How often a history holds the network's own predictions, once so much of the run is over."""
    return min(0.5, max(0.0, part - begins) * 2)


def predicted(
    dynamics: Dynamics,
    tokenizer: Canonical,
    clips: Clips,
    history: Tensor,
    *,
    own_share: float,
    own_rows: float,
    replaceable: Tensor,
) -> Tensor:
    """The clean latents as pass 2 predicts them, `(batch, ticks, latent_dim)`.

    In a share of `own_rows` of the rows a tick's `history` is replaced, `own_share` of the time, by pass 1's own
    prediction, where `replaceable` `(batch, ticks or 1)` says so.
    """
    clean, conditions = clips.targets, clips.conditions
    batch, ticks, _ = clean.shape
    device, shape = clean.device, (batch, ticks)
    tau, earlier = noise_levels(shape, dynamics.config.taus, device)
    noise = torch.randn_like(clean)
    noisy = tau[..., None] * clean + (1 - tau[..., None]) * noise
    # The estimate comes from an earlier, noisier step, as in the sampler; this one's would already know the answer.
    noisier = earlier[..., None] * clean + (1 - earlier[..., None]) * noise
    window = draw_windows(batch, dynamics.config.window).to(device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        guess = dynamics(history, noisier, torch.zeros_like(noisy), conditions, earlier, window).float()
    if own_share > 0:
        swap = torch.rand(shape, device=device) < own_share * (torch.rand(batch, 1, device=device) < own_rows)
        swap[:, 0] = False
        swap &= replaceable
        history = torch.where(swap[..., None], tokenizer.canonical(guess), history)
    known = (tau > 0) & (torch.rand(shape, device=device) < 0.9)
    estimate = torch.where(known[..., None], guess, 0.0)
    with torch.autocast(device.type, torch.bfloat16):
        return dynamics(history, noisy, estimate, conditions, tau, window).float()
