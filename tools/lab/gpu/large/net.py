"""A causal video transformer of the size of Wan 1.3B, with random weights: for what it costs, not what it shows.

The shape is that of the causal Wan generators (Self-Forcing, 2025; sizes from their configurations): 30 layers of
width 1536, 12 heads, an MLP of 8960, latents of 16 channels in 2x2 patches, queries and keys normalised over the whole
width, rotary positions in time, height and width, cross-attention to a prompt, adaLN. What stays the same over a
session (keys and values of the prompt) or over a tick (the adaLN numbers of every noise level) is computed once.

Which frames are remembered, and when, is decided in `generator`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it


@dataclass(frozen=True)
class LargeConfig:
    """Sizes. `latent_height`, `latent_width`: of one latent; a frame has 8 times as many pixels.

    `sink`, `window`: remembered latents. `taus`: noise level before each denoise step of the longest ladder.
    `decoder_widths`: channels at 1, 2, 4 and 8 times the latent's resolution.
    """

    layers: int = 30
    width: int = 1536
    heads: int = 12
    hidden: int = 8960
    text_tokens: int = 512
    action_dim: int = 16
    channels: int = 16
    latent_height: int = 60
    latent_width: int = 104
    patch: int = 2
    frames_per_latent: int = 4
    sink: int = 1
    window: int = 6
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 64)

    @property
    def tokens(self) -> int:
        return (self.latent_height // self.patch) * (self.latent_width // self.patch)

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def remembered(self) -> int:
        return self.sink + self.window

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.channels, self.latent_height, self.latent_width

    @property
    def height_px(self) -> int:
        return 8 * self.latent_height

    @property
    def width_px(self) -> int:
        return 8 * self.latent_width

    def pass_flop(self, streams: int, latents_seen: int) -> int:
        """Floating-point operations of the blocks in one pass of `streams` latents that attend to `latents_seen`."""
        n, w = self.tokens, self.width
        linear = 2 * n * (4 * w * w + 2 * w * w + 2 * w * self.hidden)
        attention = 4 * n * w * (n * latents_seen + self.text_tokens)
        return streams * self.layers * (linear + attention)


TINY = LargeConfig(
    layers=2, width=48, heads=2, hidden=96, text_tokens=5, action_dim=4, latent_height=4, latent_width=6,
    decoder_widths=(16, 8, 8, 8),
)  # fmt: skip
"""The same code in a second on a CPU."""


class Stream(NamedTuple):
    """One latent's way through a pass. `slot`: `(1,)` int64 on the device, where its keys and values are written.
    `first`, `last`: the slots that it attends to, on the host, half open."""

    slot: Tensor
    first: int
    last: int


def split_rotary(head_dim: int) -> tuple[int, int, int]:
    """Of the pairs of a head: how many turn with time, with height, with width."""
    space = head_dim // 2 // 3
    return head_dim // 2 - 2 * space, space, space


def frequencies(pairs: int) -> Tensor:
    return 1e4 ** (-torch.arange(pairs, dtype=torch.float64) / pairs)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the last dimension, halves paired, in float32; the result as `x`."""
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


class LargeBlock(nn.Module):
    """Self-attention over remembered latents, cross-attention to the prompt, MLP."""

    text_keys: Tensor
    text_values: Tensor

    def __init__(self, config: LargeConfig) -> None:
        super().__init__()
        w = config.width
        self.heads = config.heads
        self.qkv, self.out = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.cross_q, self.cross_out = nn.Linear(w, w), nn.Linear(w, w)
        self.up, self.down = nn.Linear(w, config.hidden), nn.Linear(config.hidden, w)
        self.norm_q, self.norm_k, self.norm_cross_q = (nn.Parameter(torch.ones(w)) for _ in range(3))
        self.cross_norm = nn.LayerNorm(w)
        self.modulation = nn.Parameter(torch.randn(6, w) / math.sqrt(w))
        text = (1, config.heads, config.text_tokens, config.head_dim)
        self.register_buffer("text_keys", torch.randn(text))
        self.register_buffer("text_values", torch.randn(text))

    def forward(  # noqa: PLR0917 - tensors, in the order they flow
        self, x: Tensor, gates: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, streams: list[Stream]
    ) -> Tensor:
        """`x`: `(streams, tokens, width)`. `gates`: `(streams, 6, width)`. `cos`, `sin`: `(streams, tokens, 1,
        head_dim / 2)`. `keys`, `values`: `(slots, tokens, heads, head_dim)`, written in place."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = gates[:, :, None].to(x.dtype).unbind(1)
        q, k, v = self.qkv(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift).chunk(3, -1)
        q = turn(self._per_head(_rms(q, self.norm_q)), cos, sin)
        k = turn(self._per_head(_rms(k, self.norm_k)), cos, sin)
        v = self._per_head(v)
        for at, stream in enumerate(streams):
            keys.index_copy_(0, stream.slot, k[at : at + 1])
            values.index_copy_(0, stream.slot, v[at : at + 1])
        attended = [_attend(q[at], keys, values, stream) for at, stream in enumerate(streams)]
        x = x + gate * self.out(torch.stack(attended))
        q = self._per_head(_rms(self.cross_q(self.cross_norm(x)), self.norm_cross_q)).flatten(0, 1)
        crossed = F.scaled_dot_product_attention(q.transpose(0, 1)[None], self.text_keys, self.text_values)
        x = x + self.cross_out(crossed[0].transpose(0, 1).reshape(x.shape))
        hidden = F.gelu(self.up(F.layer_norm(x, x.shape[-1:]) * (1 + mlp_scale) + mlp_shift), approximate="tanh")
        return x + mlp_gate * self.down(hidden)

    def _per_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], weight, 1e-6)


def _attend(q: Tensor, keys: Tensor, values: Tensor, stream: Stream) -> Tensor:
    """`(tokens, heads, head_dim)` queries to `(tokens, width)`: over whole slots, so no mask is needed."""
    seen_k, seen_v = (part[stream.first : stream.last].flatten(0, 1).transpose(0, 1)[None] for part in (keys, values))
    attended = F.scaled_dot_product_attention(q.transpose(0, 1)[None], seen_k, seen_v)
    return attended[0].transpose(0, 1).flatten(1)


class LargeNet(nn.Module):
    """Patches in, patches out; noise level and action enter through adaLN."""

    space_angle: Tensor

    def __init__(self, config: LargeConfig) -> None:
        super().__init__()
        self.config = config
        w, patch_dim = config.width, config.channels * config.patch**2
        self.embed = nn.Linear(patch_dim, w)
        self.time = nn.Sequential(nn.Linear(256, w), nn.SiLU(), nn.Linear(w, w))
        self.action = nn.Linear(config.action_dim, w)
        self.modulate = nn.Linear(w, 6 * w)
        self.blocks = nn.ModuleList(LargeBlock(config) for _ in range(config.layers))
        self.head = nn.Linear(w, patch_dim)
        self.head_modulation = nn.Parameter(torch.randn(2, w) / math.sqrt(w))
        self.register_buffer("space_angle", self._space_angle().float(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and "modulation" not in name:
                nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))

    def _space_angle(self) -> Tensor:
        """`(tokens, pairs of height and width)`."""
        rows, columns = (side // self.config.patch for side in self.config.latent_shape[1:])
        _, high, wide = split_rotary(self.config.head_dim)
        row = torch.arange(rows, dtype=torch.float64).repeat_interleave(columns)
        column = torch.arange(columns, dtype=torch.float64).repeat(rows)
        return torch.cat([row[:, None] * frequencies(high), column[:, None] * frequencies(wide)], -1)

    def in_precision(self, dtype: torch.dtype) -> LargeNet:
        """Weights and the prompt in `dtype`, in place; angles stay float32."""
        angle = self.space_angle
        self.to(dtype)
        self.space_angle = angle
        return self

    def rotary(self, time_angle: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(streams, tokens, 1, head_dim / 2)`; `time_angle`: `(streams, pairs of time)`."""
        time = time_angle[:, None].expand(-1, self.config.tokens, -1)
        angle = torch.cat([time, self.space_angle.expand(len(time), -1, -1)], -1)[:, :, None]
        return angle.cos(), angle.sin()

    def levels(self, tau: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """adaLN numbers of each noise level, `(levels,)` and one action `(action_dim,)`: of the blocks `(layers,
        levels, 6, width)`, of the head `(levels, 2, width)`, both float32."""
        dtype = self.embed.weight.dtype
        wave = torch.exp(-math.log(1e4) * torch.arange(128, device=tau.device) / 128)
        angle = 1000 * tau[:, None] * wave
        level = self.time(torch.cat([angle.cos(), angle.sin()], -1).to(dtype)) + self.action(action.to(dtype))
        block = self.modulate(F.silu(level)).float().unflatten(-1, (6, -1))
        own = torch.stack([cast(LargeBlock, part).modulation for part in self.blocks]).float()
        return own[:, None] + 0.3 * block, self.head_modulation.float() + level.float()[:, None]

    def patches(self, latents: Tensor) -> Tensor:
        """`(streams, channels, height, width)` to tokens `(streams, tokens, width)`."""
        p = self.config.patch
        cut = latents.unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # (s, c, rows, p, columns, p)
        return self.embed(cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2).to(self.embed.weight.dtype))

    def latents(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Tokens to the predicted clean latents, float32. `modulation`: `(streams, 2, width)`."""
        shift, scale = modulation[:, :, None].to(x.dtype).unbind(1)
        out = self.head(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift).float()
        p, (channels, high, wide) = self.config.patch, self.config.latent_shape
        cut = out.unflatten(1, (high // p, wide // p)).unflatten(-1, (channels, p, p))
        return cut.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, high, wide)
