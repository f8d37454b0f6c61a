"""Noise levels: EDM's preconditioning (Karras et al. 2022, section 5) and one schedule for all rungs.

A noisy image is `x = image + sigma * noise`. The network sees `inward * x` and answers in units in which its target has
variance one at every sigma. The image may be a difference of two, whose spread is then a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Scales(NamedTuple):
    """`(n,)` each: the estimate is `skip * x + out * network(inward * x, noise)`."""

    skip: Tensor
    out: Tensor
    inward: Tensor
    noise: Tensor

    @classmethod
    def at(cls, sigma: Tensor, spread: float) -> Scales:
        """`spread`: standard deviation of images (sigma_data)."""
        total = sigma**2 + spread**2
        return cls(spread**2 / total, sigma * spread / total.sqrt(), total.rsqrt(), sigma.log() / 4)


@dataclass(frozen=True)
class Schedule:
    """Sigmas of the denoise steps, falling. Rung k is the estimate after the first k of them, so a job that is cut
    after k steps shows what rung k shows; no sigma depends on how many steps there will be."""

    sigmas: tuple[float, ...] = (5.0, 1.2, 0.3, 0.06)

    def __post_init__(self) -> None:
        if not self.sigmas or any(a <= b for a, b in zip(self.sigmas, self.sigmas[1:], strict=False)):
            raise ValueError(f"noise schedule: expected one or more falling sigmas, got {self.sigmas}")
        if self.sigmas[-1] <= 0:
            raise ValueError(f"noise schedule: expected sigmas above 0, got {self.sigmas}")


def step(noisy: Tensor, image: Tensor, sigma: float, following: float) -> Tensor:
    """Euler's step from `sigma` to the `following` one, along the line through the estimated `image`."""
    return image + (noisy - image) * (following / sigma)


@dataclass(frozen=True)
class NoiseMix:
    """Sigmas to train at: log-normal over all levels, and a share of them close to those the sampler uses."""

    mean: float = -0.8
    spread: float = 1.4
    lowest: float = 0.01
    highest: float = 10.0
    scheduled_share: float = 0.5
    jitter: float = 0.15
    """Standard deviation of the logarithm around a scheduled sigma."""

    def draw(self, n: int, schedule: Schedule, random: torch.Generator) -> Tensor:
        """`(n,)` sigmas."""
        logs = torch.randn(n, generator=random) * self.spread + self.mean
        at = torch.randint(len(schedule.sigmas), (n,), generator=random)
        near = torch.tensor(schedule.sigmas).log()[at] + torch.randn(n, generator=random) * self.jitter
        scheduled = torch.rand(n, generator=random) < self.scheduled_share
        return torch.where(scheduled, near, logs).exp().clamp(self.lowest, self.highest)
