"""The transformer of every dynamics here: two streams of tokens through the same layers.

The clean stream reads committed latents and leaves keys and values in the memory; the noisy stream reads a noisy latent
of the coming frame, attends to remembered clean frames and to itself, and predicts the clean latent (x-prediction;
flow-matching noise as in Dreamer 4, section 3). Rotary positions in ticks, no position table. Conditions and noise
level enter by adaLN with one shared projection, as in PixArt-alpha. The last estimate is fed back (self-conditioning,
Chen et al. 2022), so later denoise steps refine.

What a token is, and what a tick knows before its first step, is a subclass's: `nextframe.model.dynamics.slots`,
`nextframe.model.dynamics.grid`. In play the layers run over the rolling memory (`nextframe.model.generator.kernel`);
`forward` is the whole sequence at once, for training.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..memory.rolling import MemorySpec
from ..memory.rotary import rotary_of, rotate

LEVEL_WAVES = 16
LEVEL_DIM = 2 * LEVEL_WAVES + 2
"""Numbers that say the noise level and the stream, beside a condition."""

KnownT = TypeVar("KnownT")
"""What a tick knows before its first denoise step, the same in all of them."""


class TransformerConfig(Protocol):
    """`condition_dim`: numbers of a condition. `tokens`: of one frame. `window`: remembered frames. `ladder`: denoise
    step counts. `taus`: noise level before each denoise step, 0 pure noise, 1 clean; every rung is a prefix of them.
    `temperature`: scale of the first noise when sampling."""

    @property
    def width(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def latent_dim(self) -> int: ...
    @property
    def condition_dim(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def ladder(self) -> tuple[int, ...]: ...
    @property
    def taus(self) -> tuple[float, ...]: ...
    @property
    def temperature(self) -> float: ...
    def memory_spec(self, rows: int = 1) -> MemorySpec: ...


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.modulation = nn.Parameter(torch.zeros(6 * width))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each `(batch, heads, n, head_dim)`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def mix(self, x: Tensor, attended: Tensor, gates: tuple[Tensor, ...]) -> Tensor:
        """Add the attention's result, `(batch, heads, n, head_dim)`, then the MLP's. `gates`: of the attention, then
        shift, scale and gate of the MLP."""
        attention_gate, shift, scale, gate = gates
        x = torch.addcmul(x, attention_gate, self.out(attended.transpose(1, 2).flatten(2)))
        hidden = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale)
        return torch.addcmul(x, gate, self.down(F.relu(self.up(hidden)).square()))


class TokenTransformer(nn.Module, Generic[KnownT]):
    """A subclass makes `condition`, `modulate` and `blocks`, in its own order, and says what tokens are.

    `fused`: attention in training by torch's fused kernel, which a GPU needs for memory, instead of plain products,
    which on a CPU are four times as fast, forward and backward.
    """

    config: TransformerConfig
    condition: nn.Module
    modulate: nn.Linear
    blocks: nn.ModuleList

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.fused = False

    # --- what a subclass says -------------------------------------------------------------------------------------

    def embedding(self) -> nn.Sequential:
        """Condition and noise level to `(..., width)`; a subclass keeps it as `condition`."""
        d = self.config.width
        return nn.Sequential(nn.Linear(self.config.condition_dim + LEVEL_DIM, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())

    @abstractmethod
    def clean_tokens(self, latent: Tensor, before: Tensor) -> Tensor:
        """`(..., latent_dim)` twice (a frame and the one before) to tokens `(..., tokens, width)`."""

    @abstractmethod
    def known(self, last: Tensor, before: Tensor, condition: Tensor) -> KnownT:
        """What the last two committed frames and the condition say of the coming frame: once a tick."""

    @abstractmethod
    def noisy_tokens(self, noisy: Tensor, estimate: Tensor, known: KnownT) -> Tensor:
        """Tokens of the coming frame: its noisy latent and the estimate so far, upon what is known."""

    @abstractmethod
    def latent_of(self, tokens: Tensor, known: KnownT) -> Tensor:
        """The predicted clean latent, `(..., latent_dim)`."""

    # --- pieces shared by training and play -----------------------------------------------------------------------

    def gates(self, condition: Tensor, tau: Tensor, clean: Tensor) -> Tensor:
        """adaLN numbers `(..., 6 * width)` from a condition `(..., condition_dim)`, the noise level `(...)`, and
        whether the stream is the clean one, `(...)` 0 or 1."""
        angles = tau[..., None] * torch.pi * torch.arange(1, LEVEL_WAVES + 1, device=tau.device)
        level = torch.cat([angles.sin(), angles.cos(), tau[..., None], clean[..., None]], -1)
        return self.modulate(self.condition(torch.cat([condition, level], -1)))

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(n, head_dim / 2)` of positions in ticks `(n,)`."""
        return rotary_of(self.config.width // self.config.heads)(positions)

    # --- training: a whole sequence, both streams in one pass -----------------------------------------------------

    def forward(  # noqa: PLR0917 - tensors, in the order they flow
        self, clean: Tensor, noisy: Tensor, estimate: Tensor, condition: Tensor, tau: Tensor, window: Tensor
    ) -> Tensor:
        """Predict every frame of a sequence from the frames before it.

        `clean`, `noisy`, `estimate`: `(batch, time, latent_dim)`. `condition`: `(batch, time, condition_dim)`, leading
        into each frame. `tau`: `(batch, time)`, 0 pure noise, 1 clean. `window`: `(batch,)` remembered frames; 1 also
        hides the motion. Returns predictions `(batch, time, latent_dim)`; the first has no past and means nothing.
        """
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
        """The noisy stream over remembered clean frames and the tokens of its own frame, with plain products."""
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
