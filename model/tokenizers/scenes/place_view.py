"""The tokenizer of a place seen from inside: a pose to a frame by learned looks, and a frame to a pose.

The plan and the camera are given; what is seen is learned. Every surface that can be seen has its own texels, the sky
a panorama, and a small network turns what a pixel meets into colour, given how far away it is. A frame is therefore as
sharp wherever it is taken from, and a place looks the same whenever one comes back. Trained on frames whose poses the
game tells.

Latent layout, float32 `(batch, 2 + lamps + 6)`: speed ahead and to the right (what the walker would move by in the next
tick if it let go, over `SPEED_UNITS`); each lamp of the place, 1 lit or -1 out; then the walker's slot: `x, y` (units
from the middle of the plan over `POSITION_SCALE_UNITS`), `cos, sin` of the heading (from east to north), presence
(always 1) and lamp (always -1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ...base.devices import constant
from ..latent import LatentTokenizer
from .place_rays import FAR_UNITS, LEVELS, Landed, Rays, ViewConfig
from .still import PART_PX, SLOT_DIM, Mlp

SPEEDS = 2
POSITION_SCALE_UNITS = 64.0
SPEED_UNITS = 16.0
TEXEL_CHANNELS = 3
HIDDEN = 32


class PlaceTokenizer(LatentTokenizer):
    """`encode(frames) -> latents`, `decode(latents) -> frames`; frames are `(batch, height, width, 3)` uint8."""

    config: ViewConfig

    def __init__(self, config: ViewConfig) -> None:
        super().__init__()
        self.config = c = config
        self.rays = Rays(c)
        self.looks = nn.Parameter(torch.randn(self.rays.tiles, c.cell, c.cell, TEXEL_CHANNELS) * 0.05)
        self.sky = nn.Parameter(torch.randn(c.sky_columns * c.horizon_px, TEXEL_CHANNELS) * 0.05)
        self.scene_dim = SPEEDS + c.lamp_count
        self.colour = Mlp(TEXEL_CHANNELS + 3, HIDDEN, HIDDEN, 3)
        self.trunk = nn.Sequential(
            nn.Conv2d(5, 24, 5, 2, 2), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * (c.height_px // 32) * (c.width_px // 32), 256), nn.ReLU(), nn.Linear(256, 4),
        )  # fmt: skip
        self._table: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module._forget())

    def _forget(self) -> None:
        """What was derived from weights that are now others."""
        self._table = None

    # --- latents ----------------------------------------------------------------------------------------------------

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Scene `(..., scene_dim)` and slots `(..., 1, 6)`."""
        return latent[..., : self.scene_dim], latent[..., self.scene_dim :].unflatten(-1, (1, SLOT_DIM))

    def canonical(self, latent: Tensor) -> Tensor:
        """The nearest latent that a frame can have: lamps lit or out, a unit heading, a walker who is present."""
        scene, slots = self.split(latent)
        lamps = torch.where(scene[..., SPEEDS:] > 0, 1.0, -1.0)
        scene = torch.cat([scene[..., :SPEEDS], lamps], -1)
        heading = F.normalize(slots[..., 2:4], dim=-1, eps=1e-6)
        one = torch.ones_like(slots[..., 4:5])
        return torch.cat([scene, torch.cat([slots[..., :2], heading, one, -one], -1).flatten(-2)], -1)

    def units(self, slots: Tensor) -> Tensor:
        """Places on the plan `(..., 2)` in units."""
        rows, columns = self.config.cells
        middle = (columns * self.config.cell / 2, rows * self.config.cell / 2)
        return slots[..., :2] * POSITION_SCALE_UNITS + constant(middle, slots.device)

    # --- frame to latent --------------------------------------------------------------------------------------------

    def encode(self, frames: Tensor) -> Tensor:
        """`(batch, height, width, 3)` uint8 to canonical latents `(batch, latent_dim)`, at rest and with all lamps lit:
        one picture shows no speed and few rooms."""
        read = self.read(frames.permute(0, 3, 1, 2).float() / 255)
        rest = torch.zeros(len(read), SPEEDS, device=read.device)
        lit = torch.ones(len(read), self.scene_dim - SPEEDS, device=read.device)
        shown = torch.ones(len(read), 2, device=read.device)
        return self.canonical(torch.cat([rest, lit, read, shown], -1))

    def read(self, images: Tensor) -> Tensor:
        """Place and heading `(batch, 4)` of `(batch, 3, height, width)` images in 0..1."""
        _, _, h, w = images.shape
        y = torch.linspace(-1, 1, h, device=images.device)[:, None].expand(h, w)
        x = torch.linspace(-1, 1, w, device=images.device).expand(h, w)
        where = torch.stack([x, y]).expand(len(images), -1, -1, -1)
        return self.trunk(torch.cat([images - 0.35, where], 1)).float()

    # --- latent to frame --------------------------------------------------------------------------------------------

    def decode(self, latent: Tensor) -> Tensor:
        """`(batch, latent_dim)` to frames `(batch, height, width, 3)` uint8."""
        return (self.draw(latent).clamp(0, 1) * 255).round().to(torch.uint8)

    def draw(self, latent: Tensor) -> Tensor:
        """As `decode`, as float32."""
        scene, slots = self.split(latent)
        wide, high = self.config.width_px, self.config.height_px
        places, headings = self.units(slots[:, 0]), slots[:, 0, 2:4]
        poses = torch.cat([places, headings], -1).repeat_interleave(wide, 0)
        aside = self.rays.aside.repeat(len(latent))
        landed = self.rays.look(poses[:, 0], poses[:, 1], poses[:, 2:], aside)
        seen = self.colours(landed, self.darkness(landed, scene.repeat_interleave(wide, 0)))
        return seen.view(len(latent), wide, high, 3).transpose(1, 2)

    def darkness(self, landed: Landed, scene: Tensor) -> Tensor:
        """How dark it is where each pixel lands, `(pixels,)`: 1 under a lamp that is out, else 0. `scene`: of each ray,
        `(rays, scene_dim)`."""
        dark = (1 - scene[:, SPEEDS:]) / 2
        dark = torch.cat([dark, torch.zeros_like(dark[:, :1])], 1)
        return dark.gather(1, landed.lamp.view(len(scene), -1)).flatten()

    def colours(self, landed: Landed, dark: Tensor) -> Tensor:
        """`(pixels, 3)`, about 0..1, of what each pixel meets. `dark`: as `darkness` says it."""
        texel = F.embedding_bag(landed.texels, self.table(), per_sample_weights=landed.weights, mode="sum")
        near = (32.0 / landed.depth.clamp(min=8.0))[:, None]
        far = (landed.depth / 512.0)[:, None] * (landed.depth < FAR_UNITS)[:, None]
        features = torch.cat([texel, near, far, dark[:, None]], -1)
        if torch.is_grad_enabled():
            return texel + self.colour(features)
        return texel + torch.cat([self._coloured(part) for part in features.split(PART_PX)])

    def _coloured(self, features: Tensor) -> Tensor:
        """A part of the pixels, small enough that its hidden layers stay in the cache."""
        for layer in self.colour:
            features = features.relu_() if isinstance(layer, nn.ReLU) else layer(features)
        return features

    def table(self) -> Tensor:
        """The texels of all levels, each the mean of four of the finer one, and then of the sky, `(texels, 3)`."""
        if self.looks.requires_grad:
            return self._all_levels()
        if self._table is None or self._table.device != self.looks.device:
            self._table = self._all_levels()
        return self._table

    def _all_levels(self) -> Tensor:
        levels: list[Tensor] = [self.looks]
        for _ in range(LEVELS - 1):
            n, size = levels[-1].shape[:2]
            levels.append(levels[-1].view(n, size // 2, 2, size // 2, 2, -1).mean((2, 4)))
        return torch.cat([*(level.flatten(0, 2) for level in levels), self.sky])
