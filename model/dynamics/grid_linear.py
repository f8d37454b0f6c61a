"""The best straight line from the last two frames and the action to the next frame: a baseline, and a place to start.

Features and a closed-form ridge fit. The network learns what this cannot say
(`nextframe.model.dynamics.grid`), and a network that does not beat it has learnt nothing about motion.

A token's features: the 3x3 tokens around it in the last frame, its own change since the frame before, where it is, what
the action does there, and the action times the strongest channels of the 3x3 (what moves, moves by the action).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

NEAR = 9
MAX_PLACED = 512
MAX_MOVED = 640
"""Most columns that actions may have by place, and by what moves: the fit is cubic in them."""


@dataclass(frozen=True)
class LinearShape:
    rows: int
    columns: int
    channels: int
    condition_dim: int

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    @property
    def moved_channels(self) -> int:
        """How many of the strongest channels are multiplied with the action."""
        return min(self.channels, max(1, MAX_MOVED // (NEAR * max(1, self.condition_dim))))

    @property
    def placed(self) -> bool:
        """Whether an action may do something else in each place."""
        return self.tokens * self.condition_dim <= MAX_PLACED

    @property
    def features(self) -> int:
        acted = self.condition_dim * (self.tokens if self.placed else 1)
        moved = NEAR * self.moved_channels * self.condition_dim
        return (NEAR + 1) * self.channels + self.tokens + acted + moved


def near(latent: Tensor, rows: int, columns: int) -> Tensor:
    """The 3x3 around each token, `(n, tokens, channels)` to `(n, tokens, 9, channels)`; nothing beyond the rim."""
    grid = F.pad(latent.unflatten(1, (rows, columns)), (0, 0, 1, 1, 1, 1))
    around = [grid[:, dy : dy + rows, dx : dx + columns] for dy in range(3) for dx in range(3)]
    return torch.stack(around, 3).flatten(1, 2)


class LinearBase(nn.Module):
    """`forward(last, before, condition)`: the next latent; `(n, latent_dim)` twice and `(n, condition_dim)`."""

    weight: Tensor

    def __init__(self, shape: LinearShape) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("weight", torch.zeros(shape.features, shape.channels))

    def forward(self, last: Tensor, before: Tensor, condition: Tensor) -> Tensor:
        return last + (self.features(last, before, condition) @ self.weight).flatten(1)

    def features(self, last: Tensor, before: Tensor, condition: Tensor) -> Tensor:
        """`(n, tokens, features)`."""
        shape, n = self.shape, len(last)
        last, before = (part.view(n, shape.tokens, shape.channels) for part in (last, before))
        around = near(last, shape.rows, shape.columns)
        place = torch.eye(shape.tokens, device=last.device, dtype=last.dtype).expand(n, -1, -1)
        actions = condition[:, None, :].expand(-1, shape.tokens, -1)
        moved = around[..., : shape.moved_channels].flatten(2)
        parts = [around.flatten(2), last - before, place]
        parts.append((place[..., None] * actions[:, :, None]).flatten(2) if shape.placed else actions)
        parts.append((moved[..., None] * actions[:, :, None]).flatten(2))
        return torch.cat(parts, -1)


class Normal:
    """The normal equations of a `LinearBase`, summed up part by part."""

    def __init__(self, base: LinearBase) -> None:
        size, channels = base.shape.features, base.shape.channels
        self._base = base
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._moment = torch.zeros(size, channels, dtype=torch.float64)

    def add(self, last: Tensor, before: Tensor, condition: Tensor, target: Tensor) -> None:
        features = self._base.features(last, before, condition).flatten(0, 1)
        change = (target - last).view(len(features), -1)
        self._gram += (features.T @ features).double()
        self._moment += (features.T @ change).double()

    def solve(self, strength: float) -> Tensor:
        """The weight, `(features, channels)`. `strength`: of the ridge, relative to the features' mean square."""
        ridge = strength * self._gram.diagonal().mean() * torch.eye(len(self._gram), dtype=torch.float64)
        return torch.linalg.solve(self._gram + ridge, self._moment).float()
