"""Dynamics in pixels: a convolutional U-Net that denoises the next frame, given the last ones and the actions.

Frames are packed (pixel-unshuffle), so the first level works on a grid of `side / pack`. Most of the work is done at
the larger grids, where a CPU's matrix units are busiest. At the coarsest grid every place attends to all places of the
coming frame and of the remembered ones, whose keys and values a small writer made from each finished frame alone. Noise
level and actions modulate every block (scale and shift after group norm). Convolutions may run in bfloat16 while what
decides the modulation stays in float32.

What is denoised is the change from the last frame, so an untrained network already answers "nothing moves".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..diffusion.levels import Scales
from ..memory.rolling import MemorySpec

GROUP_CHANNELS = 16


@dataclass(frozen=True)
class UNetConfig:
    """`height`, `width`: of frames in pixels. `pack`: pixels of a side that become channels. `past`: frames that are
    seen whole. `condition_dim`: numbers of one tick's action. `channels`, `down`, `up`: by level, the finest first;
    `down` and `up` are numbers of blocks. `middle`: blocks at the coarsest grid, each followed by attention with
    `heads`. `window`, `stride`, `sink`: of remembered frames every `stride`-th, the last `window` of those, and the
    first `sink` of a session. `change`: standard deviation of what is denoised, the difference from the last frame."""

    height: int = 64
    width: int = 64
    condition_dim: int = 3
    pack: int = 2
    past: int = 4
    channels: tuple[int, ...] = (64, 128, 128)
    down: tuple[int, ...] = (2, 2, 1)
    up: tuple[int, ...] = (2, 2, 1)
    middle: int = 2
    embedding: int = 192
    heads: int = 4
    window: int = 8
    stride: int = 8
    sink: int = 1
    change: float = 0.2

    def __post_init__(self) -> None:
        coarsest = self.pack << (len(self.channels) - 1)
        if not len(self.channels) == len(self.down) == len(self.up):
            raise ValueError(f"U-Net: expected channels, down and up of as many levels, got {self}")
        if self.height % coarsest or self.width % coarsest:
            raise ValueError(f"U-Net: expected sides that are multiples of {coarsest}, got {self.height}x{self.width}")

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return 3 * self.pack**2, self.height // self.pack, self.width // self.pack

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the coarsest level."""
        coarsest = self.pack << (len(self.channels) - 1)
        return self.height // coarsest, self.width // coarsest

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    def memory_spec(self, rows: int = 1) -> MemorySpec:
        width = self.channels[-1]
        return MemorySpec(
            self.middle, self.heads, width // self.heads, self.tokens, self.window, self.sink, rows,
            layer_dilations=(self.stride,) * self.middle,
        )  # fmt: skip


class Modulation(NamedTuple):
    """Of one block, `(batch, channels, 1, 1)` each: applied after its norm."""

    scale: Tensor
    shift: Tensor


class Convolution(nn.Conv2d):
    """3x3, of the same size."""

    def __init__(self, inward: int, outward: int, stride: int = 1) -> None:
        super().__init__(inward, outward, 3, padding=1, stride=stride)


class Block(nn.Module):
    """Norm, scale and shift, SiLU, convolution; SiLU, convolution; added to what came in."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.inward, self.outward = inward, outward
        self.first = Convolution(inward, outward)
        self.second = Convolution(outward, outward)
        self.around = nn.Conv2d(inward, outward, 1) if inward != outward else None
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x: Tensor, by: Modulation) -> Tensor:
        h = self.first(F.silu(modulated_norm(x, by.scale, by.shift), inplace=True))
        h = self.second(F.silu(h, inplace=True))
        return h + (x if self.around is None else self.around(x))


def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Group norm, then `scale` and `shift` of each row. One row alone takes them as the norm's own weights."""
    groups = max(1, x.shape[1] // GROUP_CHANNELS)
    if len(x) == 1:
        return F.group_norm(x, groups, scale.flatten(), shift.flatten())
    return torch.addcmul(shift, F.group_norm(x, groups), scale)


class Attention(nn.Module):
    """Places of the coarsest grid attend to one another and to the remembered ones; what they find is added."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, past: Remembered | None) -> Tensor:
        n, c, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # (n, tokens, c)
        inward = F.layer_norm(tokens, (c,)) + self.place
        query, keys, values = self.project(inward).view(n, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        query = query * (c // self.heads) ** -0.5
        scores = query @ keys.transpose(-1, -2)
        if past is not None:
            turned = query if past.turn is None else rotate(query, *past.turn)
            scores = torch.cat([turned @ past.keys.transpose(-1, -2) + past.mask, scores], -1)
            values = torch.cat([past.values, values], 2)
        weight = scores.softmax(-1)
        found = self.out((weight @ values).transpose(1, 2).flatten(2))
        return x + found.view(n, height, width, c).permute(0, 3, 1, 2)


class Remembered(NamedTuple):
    """Of one layer: `keys`, rotated by age, and `values`, `(n, heads, slots * tokens, head_dim)`; `mask`, added to the
    scores, `(n or 1, 1, 1, slots * tokens)`. `turn`: cosines and sines `(1, head_dim / 2)` of the ticks that passed
    since the ages were right; None for none."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    turn: tuple[Tensor, Tensor] | None = None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the last dimension, halves paired."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Writer(nn.Module):
    """A finished frame to keys and values for every attention layer, from that frame alone, patch by patch."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        width, self.layers, self.heads = config.channels[-1], config.middle, config.heads
        self.side = 1 << (len(config.channels) - 1)  # of a patch, in the finest grid's places
        self.patch = nn.Linear(config.latent_shape[0] * self.side**2, 2 * width)
        self.mix = nn.Linear(2 * width, width)
        self.place = nn.Parameter(torch.randn(config.tokens, width) * 0.02)
        self.out = nn.Linear(width, 2 * self.layers * width)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, *latent_shape)` to keys and values, `(layers, n, heads, tokens, head_dim)` each."""
        n, c, height, width = latents.shape
        side = self.side
        grid = latents.permute(0, 2, 3, 1).reshape(n, height // side, side, width // side, side, c)
        patches = grid.transpose(2, 3).flatten(3).flatten(1, 2)  # (n, tokens, side * side * c)
        tokens = self.mix(F.silu(self.patch(patches))) + self.place
        d = tokens.shape[-1]
        both = self.out(F.layer_norm(tokens, (d,))).view(n, -1, 2, self.layers, self.heads, d // self.heads)
        keys, values = both.permute(2, 3, 0, 4, 1, 5)
        return keys, values


class Embedding(nn.Module):
    """Noise level and actions to the modulation of every block: one product for all of them, zero at first."""

    def __init__(self, config: UNetConfig, sizes: list[int]) -> None:
        super().__init__()
        d = config.embedding
        self.sizes = sizes
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.randn(d // 2))
        self.actions = nn.Linear(config.condition_dim * config.past, d)
        self.mix = nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())
        self.out = nn.Linear(d, 2 * sum(sizes))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, noise: Tensor, actions: Tensor) -> Tensor:
        """`noise (n,)` as `Scales.noise`; `actions (n, past, condition_dim)`, oldest first; to `(n, all sizes)`."""
        angles = noise[:, None] * self.frequencies * (2 * math.pi)
        waves = torch.cat([angles.cos(), angles.sin()], -1)
        return self.out(self.mix(waves + self.actions(actions.flatten(1))))

    def split(self, numbers: Tensor, dtype: torch.dtype) -> list[Modulation]:
        scales, shifts = (part[:, :, None, None] for part in numbers.to(dtype).chunk(2, 1))
        parts = zip((1 + scales).split(self.sizes, 1), shifts.split(self.sizes, 1), strict=True)
        return [Modulation(scale, shift) for scale, shift in parts]


class Trunk(nn.Module):
    """The convolutions. Blocks in the order in which they run, which is the order of the modulations."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        ch, latent = config.channels, config.latent_shape[0]
        self.noisy_in = Convolution(latent, ch[0])
        self.past_in = nn.Conv2d(latent * config.past, ch[0], 3, padding=1, bias=False)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        width = ch[0]
        for level, c in enumerate(ch):
            self.down.append(nn.ModuleList(Block(width if at == 0 else c, c) for at in range(config.down[level])))
            self.shrink.append(nn.Conv2d(c, c, 3, stride=2, padding=1) if level < len(ch) - 1
                              else nn.Identity())  # fmt: skip
            width = c
        self.middle = nn.ModuleList(Block(width, width) for _ in range(config.middle))
        self.attention = nn.ModuleList(Attention(width, config.heads, config.tokens) for _ in range(config.middle))
        self.writer = Writer(config)
        for level in reversed(range(len(ch))):
            c = ch[level]
            self.up.append(nn.ModuleList(Block(width + c if at == 0 else c, c) for at in range(config.up[level])))
            width = ch[max(level - 1, 0)]
            self.grow.append(nn.Conv2d(c, 4 * width, 1) if level > 0 else nn.Identity())
        self.out = Convolution(width, latent)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def blocks(self) -> list[Block]:
        stacks = [*self.down, self.middle, *self.up]
        return [cast(Block, block) for stack in stacks for block in cast(nn.ModuleList, stack)]

    def forward(
        self, noisy: Tensor, known: Tensor, modulations: list[Modulation], past: Sequence[Remembered | None]
    ) -> Tensor:
        """`noisy`: `(n, *latent_shape)`, scaled by `Scales.inward`; `known`: of `past_in`; `past`: by layer."""
        by = iter(modulations)
        h = self.noisy_in(noisy) + known
        kept = []
        for level, (blocks, shrink) in enumerate(zip(self.down, self.shrink, strict=True)):
            for block in cast(nn.ModuleList, blocks):
                h = block(h, next(by))
            kept.append(h)
            if level < len(self.down) - 1:
                h = shrink(h)
        for block, attention, remembered in zip(self.middle, self.attention, past, strict=True):
            h = attention(block(h, next(by)), remembered)
        for level, (blocks, grow) in enumerate(zip(self.up, self.grow, strict=True)):
            h = torch.cat([h, kept.pop()], 1)
            for block in cast(nn.ModuleList, blocks):
                h = block(h, next(by))
            if level < len(self.up) - 1:
                h = F.pixel_shuffle(grow(h), 2)
        groups = max(1, h.shape[1] // GROUP_CHANNELS)
        return self.out(F.silu(F.group_norm(h, groups), inplace=True))


class UNet(nn.Module):
    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.embedding = Embedding(config, [block.inward for block in self.trunk.blocks()])
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def pack(self, frames: Tensor) -> Tensor:
        """Frames `(n, height, width, 3)` uint8 to latents `(n, *latent_shape)` in -1..1."""
        side = self.config.pack
        n, height, width, _ = frames.shape
        grid = frames.view(n, height // side, side, width // side, side, 3).permute(0, 1, 3, 5, 2, 4)
        return grid.reshape(n, height // side, width // side, -1).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    def unpack(self, latents: Tensor) -> Tensor:
        """The inverse; what lies beyond -1..1 is clamped."""
        image = F.pixel_shuffle(latents.float().clamp(-1, 1), self.config.pack)
        return image.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(..., head_dim / 2)` of positions in ticks."""
        half = self.config.channels[-1] // self.config.heads // 2
        frequency = torch.pi / 2 * (1 / 200.0) ** (torch.arange(half, device=positions.device) / half)
        angle = positions[..., None].float() * frequency
        return angle.cos(), angle.sin()


class Given(NamedTuple):
    """What all steps of a tick share. `base`: the frame before, `(n, *latent_shape)` float32; `known`: what `past_in`
    made of the last frames; `past`: remembered keys and values, by attention layer."""

    base: Tensor
    known: Tensor
    past: Sequence[Remembered | None]


def estimate(trunk: Trunk, noisy: Tensor, scales: Scales, given: Given, modulations: list[Modulation]) -> Tensor:
    """What the image is, given `noisy (n, *latent_shape)` float32 at the sigmas of `scales`; float32, not clamped."""
    column = (slice(None), None, None, None)
    change = noisy - given.base
    inward = (change * scales.inward[column]).to(given.known.dtype).contiguous(memory_format=torch.channels_last)
    answer = trunk(inward, given.known, modulations, given.past).float()
    return given.base + scales.skip[column] * change + scales.out[column] * answer
