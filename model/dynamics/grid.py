"""Dynamics over a grid of tokens: the next frame of any pixel world, from remembered frames and the action.

The transformer of `nextframe.model.dynamics.transformer` for latents without objects: every token attends to all tokens
of the remembered frames. What it predicts is added to a base: the ridge of `nextframe.model.dynamics.grid_linear`, or
the last frame; its output begins at zero, so it starts as good as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..memory.rolling import MemorySpec
from .grid_linear import NEAR, LinearBase, LinearShape, near
from .transformer import Block, TokenTransformer


@dataclass(frozen=True)
class GridConfig:
    """`rows`, `columns`: of the token grid. `condition_dim`: axes, then buttons. `window`: remembered frames.

    `base`: "ridge" or "last", what the prediction is added to. `ladder`, `taus`, `temperature`: as `DynamicsConfig`.
    """

    rows: int
    columns: int
    channels: int
    condition_dim: int
    width: int = 160
    layers: int = 4
    heads: int = 4
    window: int = 8
    base: str = "ridge"
    ladder: tuple[int, ...] = (1, 2, 4)
    taus: tuple[float, ...] = (0.0, 0.5, 0.75, 0.9)
    temperature: float = 0.3

    def __post_init__(self) -> None:
        if self.base not in {"ridge", "last"}:
            raise ValueError(f"grid dynamics: expected a base of ridge or last, got {self.base!r}")
        if self.width % (2 * self.heads) or self.ladder[-1] != len(self.taus):
            raise ValueError(
                f"grid dynamics: expected a width that is a multiple of twice the heads and as many noise levels as "
                f"the highest rung, got {self.width}, {self.heads}, {self.taus} and {self.ladder}"
            )

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    @property
    def latent_dim(self) -> int:
        return self.tokens * self.channels

    @property
    def linear_shape(self) -> LinearShape:
        return LinearShape(self.rows, self.columns, self.channels, self.condition_dim)

    def memory_spec(self, rows: int = 1) -> MemorySpec:
        return MemorySpec(self.layers, self.heads, self.width // self.heads, self.tokens, self.window, rows=rows)


class GridKnown(NamedTuple):
    """What stays the same in all denoise steps of a tick: the base, `(..., latent_dim)`, and its share of the tokens,
    `(..., tokens, width)`."""

    base: Tensor
    tokens: Tensor


class GridDynamics(TokenTransformer[GridKnown]):
    config: GridConfig

    def __init__(self, config: GridConfig) -> None:
        super().__init__(config)
        c, d = config.channels, config.width
        self.base = LinearBase(config.linear_shape)
        self.clean_in = nn.Linear(2 * c, d)
        self.noisy_in = nn.Linear(2 * c, d, bias=False)
        self.known_in = nn.Linear(NEAR * c + 2 * c, d)
        self.place = nn.Parameter(torch.randn(2, config.tokens, d) * 0.02)
        self.condition = self.embedding()
        self.modulate = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.out = nn.Linear(d, c)
        for layer in (self.modulate, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def grid(self, latent: Tensor) -> Tensor:
        return latent.unflatten(-1, (self.config.tokens, self.config.channels))

    def clean_tokens(self, latent: Tensor, before: Tensor) -> Tensor:
        """`(..., latent_dim)` twice (a frame and the one before) to tokens `(..., tokens, width)`."""
        frame, earlier = self.grid(latent), self.grid(before)
        return self.clean_in(torch.cat([frame, frame - earlier], -1)) + self.place[0]

    def known(self, last: Tensor, before: Tensor, condition: Tensor) -> GridKnown:
        """What the last two committed frames and the action say of the coming frame: once a tick."""
        config = self.config
        flat = last.reshape(-1, config.latent_dim)
        base = last
        if config.base == "ridge":
            with torch.autocast(last.device.type, enabled=False):
                straight = self.base(
                    flat.float(), before.reshape(flat.shape).float(), condition.reshape(len(flat), -1).float()
                )
            base = straight.view(last.shape)
        around = near(self.grid(flat), config.rows, config.columns).flatten(2)
        around = around.view(*last.shape[:-1], config.tokens, -1)
        parts = torch.cat([around, self.grid(last - before), self.grid(base)], -1)
        return GridKnown(base, self.known_in(parts) + self.place[1])

    def noisy_tokens(self, noisy: Tensor, estimate: Tensor, known: GridKnown) -> Tensor:
        """Tokens of the coming frame: its noisy latent and the estimate so far, upon what is known."""
        return self.noisy_in(torch.cat([self.grid(noisy), self.grid(estimate)], -1)) + known.tokens

    def latent_of(self, tokens: Tensor, known: GridKnown) -> Tensor:
        tokens = F.layer_norm(tokens.float(), tokens.shape[-1:])
        return known.base + self.out(tokens).flatten(-2)
