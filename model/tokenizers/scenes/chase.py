"""The tokenizer of a world seen from behind a car: latent to frame by a learned map, and frame to latent.

The camera's geometry is given, what it sees is learned: the land is a map of features, the sky a panorama of features,
what stands are textures of features at known places, and small neural fields turn features into colour under the
weather and hour of the latent. The map is looked at through the camera, so a frame is sharp wherever it is taken, and
a place looks the same on every lap. Trained on frames whose poses the teacher knows.

Latent layout, float32 `(batch, SCENE_DIM + 2 * 6)`. Scene: weights of four weathers and three hours (-1..1), speed,
slip and lean of the player's car. Then the player's and the rival's slot: `x, y` (metres from the middle of the map
over `POSITION_SCALE_M`), `cos, sin` of the heading, presence (always 1) and `lamp` (-1 off, 1 brake lamps on).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ...base.devices import constant
from ..latent import LatentTokenizer
from . import chase_standing as standing
from .chase_layout import (
    COARSE,
    FAR_ROWS,
    LEAN,
    MAP_CHANNELS,
    MOOD_DIM,
    POSITION_SCALE_M,
    SCENE_DIM,
    SCREEN_CHANNELS,
    SKY_CHANNELS,
    SLIP,
    SLIP_SCALE,
    SLOTS,
    SPEED,
    SPEED_SCALE,
    TEXTURE_CHANNELS,
    TEXTURE_PX,
    ChaseConfig,
)
from .chase_standing import CAR_WAVES_M
from .still import SLOT_DIM, Field

__all__ = [
    "LEAN", "MOOD_DIM", "POSITION_SCALE_M", "SCENE_DIM", "SLIP", "SLIP_SCALE", "SPEED", "SPEED_SCALE", "ChaseConfig",
    "ChaseTokenizer",
]  # fmt: skip


class ChaseTokenizer(LatentTokenizer):
    """`encode(frames) -> latents`, `decode(latents) -> frames`; frames are `(batch, height, width, 3)` uint8."""

    config: ChaseConfig
    places: Tensor
    sizes: Tensor
    kinds: Tensor
    ahead: Tensor
    right: Tensor
    depth: Tensor
    near_part: Tensor
    azimuth: Tensor
    sky_height: Tensor

    def __init__(self, config: ChaseConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ChaseConfig()
        rows, columns = int(c.land_m[1] / c.cell_m), int(c.land_m[0] / c.cell_m)
        below = c.height_px - c.horizon_px
        self.land = nn.Parameter(torch.randn(1, MAP_CHANNELS, rows, columns) * 0.1)
        self.far_land = nn.Parameter(torch.randn(1, MAP_CHANNELS, rows // COARSE, columns // COARSE) * 0.1)
        self.screen = nn.Parameter(torch.randn(below, c.width_px, SCREEN_CHANNELS) * 0.1)
        self.panorama = nn.Parameter(torch.randn(c.panorama, c.horizon_px, SKY_CHANNELS) * 0.1)
        self.textures = nn.Parameter(torch.randn(c.kinds, TEXTURE_CHANNELS, TEXTURE_PX, TEXTURE_PX) * 0.1)
        self.register_buffer("places", torch.zeros(c.landmarks, 2))
        self.register_buffer("sizes", torch.ones(c.landmarks, 2))
        self.register_buffer("kinds", torch.zeros(c.landmarks, dtype=torch.int64))
        self.ground_field = Field(MAP_CHANNELS + SCREEN_CHANNELS + 2, MOOD_DIM, 40, 3)
        self.sky_field = Field(SKY_CHANNELS + 1, MOOD_DIM, 32, 3)
        self.standing_field = Field(TEXTURE_CHANNELS + 2, MOOD_DIM, 32, 4)
        self.car_field = Field(4 * len(CAR_WAVES_M) + 3, MOOD_DIM + 6, 48, 4)
        _, _, wide, high = c.panel_px
        self.panel = nn.Parameter(torch.zeros(high, wide, 4))
        self.gauge = nn.Parameter(torch.zeros(2, c.gauge_px[3], c.gauge_px[2], 4))
        self.dots = nn.Parameter(torch.tensor([[0.9, 0.1, 0.1, 2.3], [0.1, 0.4, 0.9, 2.3]]))
        self.trunk = nn.Sequential(
            nn.Conv2d(5, 24, 5, 2, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * (c.height_px // 32) * (c.width_px // 32), 256), nn.ReLU(),
            nn.Linear(256, c.latent_dim),
        )  # fmt: skip
        self.find = nn.Sequential(
            nn.Conv2d(3, 16, 5, 1, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, SLOTS, 3, 1, 1)
        )
        self._geometry()
        self._mips: list[Tensor] | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module._forget())

    def _forget(self) -> None:
        """What was derived from weights that are now others."""
        self._mips = None

    def _geometry(self) -> None:
        """What follows from the camera alone: which way and how far each pixel looks."""
        c = self.config
        rows = torch.arange(c.height_px - c.horizon_px) + 0.5
        columns = torch.arange(c.width_px) + 0.5 - c.width_px / 2
        ahead = (c.camera_height_m * c.focal_px / rows)[:, None].expand(-1, c.width_px)
        right = ahead * columns / c.focal_px
        self.register_buffer("ahead", ahead.contiguous(), persistent=False)
        self.register_buffer("right", right.contiguous(), persistent=False)
        depth = torch.stack([ahead.log() / 3 - 1, (20 / ahead).clamp(max=4) / 4], -1)
        self.register_buffer("depth", depth, persistent=False)
        self.register_buffer("near_part", ((52 - ahead[:FAR_ROWS, 0]) / 26).clamp(0, 1), persistent=False)
        azimuth = torch.atan2(columns, torch.tensor(c.focal_px))
        self.register_buffer("azimuth", azimuth, persistent=False)
        height = (torch.arange(c.horizon_px) / c.horizon_px)[:, None]
        self.register_buffer("sky_height", height, persistent=False)

    # --- latents ----------------------------------------------------------------------------------------------------

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Scene `(..., SCENE_DIM)` and slots `(..., 2, 6)`."""
        return latent[..., :SCENE_DIM], latent[..., SCENE_DIM:].unflatten(-1, (SLOTS, SLOT_DIM))

    def canonical(self, latent: Tensor) -> Tensor:
        """The nearest latent that a frame can have: unit headings, lamps decided, cars present, weights in range."""
        scene, slots = self.split(latent)
        scene = torch.cat([scene[..., :MOOD_DIM].clamp(-1, 1), scene[..., MOOD_DIM:]], -1)
        heading = F.normalize(slots[..., 2:4], dim=-1, eps=1e-6)
        lamp = torch.where(slots[..., 5:6] > 0, 1.0, -1.0)
        slots = torch.cat([slots[..., :2], heading, torch.ones_like(lamp), lamp], -1)
        return torch.cat([scene, slots.flatten(-2)], -1)

    def metres(self, slots: Tensor) -> Tensor:
        """Places on the map `(..., 2)` in metres."""
        return slots[..., :2] * POSITION_SCALE_M + constant(
            (self.config.land_m[0] / 2, self.config.land_m[1] / 2), slots.device
        )

    # --- frame to latent --------------------------------------------------------------------------------------------

    def encode(self, frames: Tensor) -> Tensor:
        """`(batch, height, width, 3)` uint8 to canonical latents `(batch, latent_dim)`."""
        return self.canonical(self.read(frames.permute(0, 3, 1, 2).float() / 255))

    def read(self, images: Tensor) -> Tensor:
        """A reading of `(batch, 3, height, width)` images in 0..1, `(batch, latent_dim)`, not yet canonical.

        Places come from the dots on the small map, and what the view adds to that; the rest from the view.
        """
        batch, _, h, w = images.shape
        y = torch.linspace(-1, 1, h, device=images.device)[:, None].expand(h, w)
        x = torch.linspace(-1, 1, w, device=images.device).expand(h, w)
        where = torch.stack([x, y]).expand(batch, -1, -1, -1)
        out = self.trunk(torch.cat([images - 0.45, where], 1)).float()
        coarse = self.dots_at(images).float()
        scene, slots = self.split(out)
        slots = torch.cat([coarse + slots[..., :2], slots[..., 2:]], -1)
        return torch.cat([scene, slots.flatten(-2)], -1)

    def dots_at(self, images: Tensor) -> Tensor:
        """Where the two dots of the small map say the cars are, `(batch, 2, 2)` in units of the latent."""
        c = self.config
        left, top, wide, high = c.panel_px
        heat = self.find(images[:, :, top : top + high, left : left + wide] - 0.45).float().flatten(2).softmax(-1)
        columns = (torch.arange(wide, device=images.device) + left + 0.5).repeat(high)
        rows = (torch.arange(high, device=images.device) + top + 0.5).repeat_interleave(wide)
        x0, y0, scale = c.map_px
        x = ((heat * columns).sum(-1) - x0) / scale - c.land_m[0] / 2
        y = ((heat * rows).sum(-1) - y0) / scale - c.land_m[1] / 2
        return torch.stack([x, y], -1) / POSITION_SCALE_M

    # --- latent to frame --------------------------------------------------------------------------------------------

    def decode(self, latent: Tensor) -> Tensor:
        """`(batch, latent_dim)` to frames `(batch, height, width, 3)` uint8."""
        return (self.draw(latent).clamp(0, 1) * 255).round().to(torch.uint8)

    def draw(self, latent: Tensor) -> Tensor:
        """As `decode`, as float32 and differentiable."""
        scene, slots = self.split(latent)
        image = torch.cat([self.sky(scene, slots), self.ground(scene, slots)], 1)
        for k, poses in enumerate(standing.poses_of(self, slots)):
            standing.draw_standing(self, image[k], scene[k], slots[k], poses)
            standing.draw_panel(self, image[k], scene[k], slots[k])
        return image

    def mood(self, scene: Tensor) -> Tensor:
        return scene[..., :MOOD_DIM]

    def sky(self, scene: Tensor, slots: Tensor) -> Tensor:
        """Above the horizon, `(batch, horizon_px, width, 3)`."""
        features = self.sky_features(slots)
        b, w, h, _ = features.shape
        colour = self.sky_field(features.flatten(1, 2), self.mood(scene)).float()
        return colour.view(b, w, h, 3).transpose(1, 2)

    def sky_features(self, slots: Tensor, columns: Tensor | None = None) -> Tensor:
        """The panorama as the camera is turned, `(batch, columns, horizon_px, channels)`."""
        azimuth = self.azimuth if columns is None else self.azimuth[columns]
        heading = torch.atan2(slots[:, 0, 3], slots[:, 0, 2])
        n = self.config.panorama
        at = ((heading[:, None] + azimuth) / (2 * math.pi) % 1.0) * n
        low = at.floor().long() % n
        part = (at - at.floor())[..., None, None]
        features = torch.lerp(self.panorama[low], self.panorama[(low + 1) % n], part)
        height = self.sky_height.expand(*features.shape[:2], -1, -1)
        return torch.cat([features, height], -1)

    def ground(self, scene: Tensor, slots: Tensor) -> Tensor:
        """Below the horizon, `(batch, rows, width, 3)`."""
        below, width = self.ahead.shape
        x, y = self.land_points(slots, self.ahead, self.right)
        near = self._sample(self.land, x, y)
        far = self._sample(self.far_land, x[:, :FAR_ROWS], y[:, :FAR_ROWS])
        top = torch.lerp(far, near[:, :FAR_ROWS], self.near_part[:, None, None])
        features = torch.cat([top, near[:, FAR_ROWS:]], 1)
        fixed = torch.cat([self.screen, self.depth], -1).expand(len(features), -1, -1, -1)
        features = torch.cat([features, fixed], -1).flatten(1, 2)
        return self.ground_field(features, self.mood(scene)).float().view(-1, below, width, 3)

    def land_points(self, slots: Tensor, ahead: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Metres on the map of points given from the camera; `ahead`, `right`: `(...)` or with a leading batch."""
        place = self.metres(slots[:, 0])
        shape = (-1,) + (1,) * (ahead.dim() if len(ahead) != len(slots) or ahead.dim() == 2 else ahead.dim() - 1)
        cos, sin = slots[:, 0, 2].view(shape), slots[:, 0, 3].view(shape)
        ahead = ahead - self.config.camera_behind_m
        x = place[:, 0].view(shape) + ahead * cos - right * sin
        y = place[:, 1].view(shape) + ahead * sin + right * cos
        return x, y

    def _sample(self, table: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Features of the map `(1, channels, rows, columns)` at metres `(batch, h, w)`: `(batch, h, w, channels)`."""
        grid = torch.stack([x * (2 / self.config.land_m[0]) - 1, y * (2 / self.config.land_m[1]) - 1], -1)
        b, h, w, _ = grid.shape
        found = F.grid_sample(table, grid.view(1, b * h, w, 2), padding_mode="border", align_corners=False)
        return found[0].permute(1, 2, 0).view(b, h, w, -1)

    def mips(self) -> list[Tensor]:
        """The textures at full size and halved four times."""
        if self._mips is None or self.textures.requires_grad or self._mips[0].device != self.textures.device:
            levels: list[Tensor] = [self.textures]
            for _ in range(4):
                levels.append(F.avg_pool2d(levels[-1], 2))
            self._mips = levels
        return self._mips
