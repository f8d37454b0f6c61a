"""Dynamics over a grid of tokens: the next frame of any pixel world, from remembered frames and the action.

The network of `nextframe.model.dynamics.slots` for latents without objects: two streams (a clean one that leaves keys
and values in the memory, a noisy one that predicts), x-prediction under flow-matching noise, adaLN, rotary positions in
ticks, the last estimate fed back. Every token attends to all tokens of the remembered frames. What it predicts is added
to a base: the ridge of `nextframe.model.dynamics.grid_linear`, or the last frame; its output begins at zero, so it
starts as good as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..memory.rolling import MemorySpec
from .grid_linear import NEAR, LinearBase, LinearShape, near
from .slots import Block, rotate


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


class GridDynamics(nn.Module):
    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        self.config = config
        self.fused = False  # attention in training: plain products, or torch's fused one, which a GPU needs for memory
        c, d = config.channels, config.width
        self.base = LinearBase(config.linear_shape)
        self.clean_in = nn.Linear(2 * c, d)
        self.noisy_in = nn.Linear(2 * c, d, bias=False)
        self.known_in = nn.Linear(NEAR * c + 2 * c, d)
        self.place = nn.Parameter(torch.randn(2, config.tokens, d) * 0.02)
        self.condition = nn.Sequential(nn.Linear(config.condition_dim + 34, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())
        self.modulate = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.out = nn.Linear(d, c)
        for layer in (self.modulate, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    # --- pieces shared by training and play -----------------------------------------------------------------------

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

    def gates(self, condition: Tensor, tau: Tensor, clean: Tensor) -> Tensor:
        """adaLN numbers `(..., 6 * width)`; see `Dynamics.gates`."""
        angles = tau[..., None] * torch.pi * torch.arange(1, 17, device=tau.device)
        level = torch.cat([angles.sin(), angles.cos(), tau[..., None], clean[..., None]], -1)
        return self.modulate(self.condition(torch.cat([condition, level], -1)))

    def latent_of(self, tokens: Tensor, known: GridKnown) -> Tensor:
        tokens = F.layer_norm(tokens.float(), tokens.shape[-1:])
        return known.base + self.out(tokens).flatten(-2)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(n, head_dim / 2)` of positions in ticks `(n,)`."""
        half = self.config.width // self.config.heads // 2
        frequency = torch.pi / 2 * (1 / 100.0) ** (torch.arange(half, device=positions.device) / half)
        angle = positions[:, None].float() * frequency
        return angle.cos(), angle.sin()

    # --- training: a whole sequence, both streams in one pass -----------------------------------------------------

    def forward(  # noqa: PLR0917 - tensors, in the order they flow
        self, clean: Tensor, noisy: Tensor, estimate: Tensor, condition: Tensor, tau: Tensor, window: Tensor
    ) -> Tensor:
        """Predict every frame of a sequence from the frames before it; arguments as `Dynamics.forward`."""
        time, n = clean.shape[1], self.config.tokens
        last = torch.cat([clean[:, :1], clean[:, :-1]], 1)
        blind = (window == 1)[:, None, None]
        before = torch.where(blind, last, torch.cat([last[:, :1], last[:, :-1]], 1))
        x = self.clean_tokens(clean, torch.where(blind, clean, last)).flatten(1, 2)
        known = self.known(last, before, condition)
        y = self.noisy_tokens(noisy, estimate, known).flatten(1, 2)
        gates_x = self.gates(condition, torch.ones_like(tau), torch.ones_like(tau))
        gates_y = self.gates(condition, tau, torch.zeros_like(tau))
        ticks = torch.arange(time, device=clean.device)
        turn = tuple(part.repeat_interleave(n, 0) for part in self.rotary(ticks))
        age = (ticks[:, None] - ticks[None, :])[None]
        seen = (age >= 0) & (age <= window[:, None, None])
        # Clean tokens see clean ones; noisy tokens see older clean ones, and the noisy ones of their own frame.
        masks = tuple(
            self._mask(part, x.dtype) for part in (seen, torch.cat([seen & (age > 0), age.expand_as(seen) == 0], 2))
        )
        for block in self.blocks:
            x, y = self._both(cast(Block, block), (x, y), (gates_x, gates_y), turn, masks)
        return self.latent_of(y.unflatten(1, (time, n)), known)

    def _mask(self, seen: Tensor, dtype: torch.dtype) -> Tensor:
        """`(batch, time, frames)` to what is added to scores, `(batch, 1, time * n, frames * n)`."""
        n = self.config.tokens
        return torch.where(seen, 0.0, -1e4).to(dtype).repeat_interleave(n, 1).repeat_interleave(n, 2)[:, None]

    def _both(
        self,
        block: Block,
        streams: tuple[Tensor, Tensor],
        gates: tuple[Tensor, Tensor],
        turn: tuple[Tensor, ...],
        masks: tuple[Tensor, ...],
    ) -> tuple[Tensor, Tensor]:
        n = self.config.tokens
        (x, y), scale = streams, (self.config.width // self.config.heads) ** -0.5
        mods = [self._per_token(part + block.modulation, n) for part in gates]
        projected = []
        for stream, mod in zip(streams, mods, strict=True):
            q, k, v = block.project(F.layer_norm(stream, stream.shape[-1:]) * (1 + mod[1]) + mod[0])
            projected.append((rotate(q.float(), *turn).to(v.dtype), rotate(k.float(), *turn).to(v.dtype), v))
        (q_x, k_x, v_x), (q_y, k_y, v_y) = projected
        if self.fused:
            attended_x = F.scaled_dot_product_attention(q_x, k_x, v_x, masks[0].to(q_x.dtype))
            keys, values = torch.cat([k_x, k_y], 2), torch.cat([v_x, v_y], 2)
            attended_y = F.scaled_dot_product_attention(q_y, keys, values, masks[1].to(q_y.dtype))
        else:
            attended_x = (q_x @ k_x.transpose(-1, -2) * scale + masks[0].to(q_x.dtype)).softmax(-1).to(v_x.dtype) @ v_x
            attended_y = self._past_and_own((q_y, k_x, v_x), (k_y, v_y), masks[1][..., : k_x.shape[2]])
        x, y = (
            block.mix(stream, attended, (1 + mod[2], mod[3], 1 + mod[4], 1 + mod[5]))
            for stream, attended, mod in zip((x, y), (attended_x, attended_y), mods, strict=True)
        )
        return x, y

    def _past_and_own(self, past: tuple[Tensor, Tensor, Tensor], own: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """The noisy stream over remembered clean frames and the tokens of its own frame, with plain products: on a CPU
        four times as fast as the fused attention, forward and backward."""
        n, scale = self.config.tokens, (self.config.width // self.config.heads) ** -0.5
        query, keys, values = past
        far = query @ keys.transpose(-1, -2) * scale + mask.to(query.dtype)
        q_own, k_own, v_own = (part.unflatten(2, (-1, n)) for part in (query, *own))
        near_by = (q_own @ k_own.transpose(-1, -2) * scale).flatten(2, 3)
        weight = torch.cat([far, near_by], -1).softmax(-1).to(values.dtype)
        attended = weight[..., :-n] @ values
        return attended + (weight[..., -n:].unflatten(2, (-1, n)) @ v_own).flatten(2, 3)

    @staticmethod
    def _per_token(gates: Tensor, n: int) -> tuple[Tensor, ...]:
        return tuple(gates.repeat_interleave(n, 1).chunk(6, -1))
