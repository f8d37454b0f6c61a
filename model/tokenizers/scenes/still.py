"""The tokenizer: frame to latent and back, for worlds seen by a still camera.

A latent is one scene code and a few object slots. The scene is a closed-form PCA of whole frames (the background is
learned by heart); each slot is a pose, and a small neural field draws the object around it. So a drawn object is
sharp by construction, wherever it is. The slots' encoder is trained on poses that the teacher knows.

Latent layout, float32 `(batch, scene_dim + slots * 6)`: the scene code (unit variance), then for each slot
`x, y` (pixels from the middle of the frame over `POSITION_SCALE_PX`), `cos, sin` of the heading, `presence` (-1
hidden, 1 visible) and `lamp` (-1 off, 1 on). Hidden slots are all zero but for the presence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ...base.devices import constant
from ..latent import LatentTokenizer

SLOT_DIM = 6
POSITION_SCALE_PX = 64.0
BODY_PX, LIGHT_PX, CROP_PX = 28, 64, 32
LIGHT_AHEAD_PX = 18.0
BODY_WAVES_PX = (64.0, 32.0, 16.0, 8.0, 5.0, 3.2)
LIGHT_WAVES_PX = (128.0, 64.0, 32.0, 16.0)
MAP_CHANNELS = 8

Window: TypeAlias = tuple[Tensor, Tensor, Tensor] | tuple[slice, slice, slice]
"""Batch, rows and columns of a square window, one per image: what indexes images. Slices where there is one image."""


@dataclass(frozen=True)
class TokenizerConfig:
    """`height_px`, `width_px`: frame size. `scene_dim`: PCA components kept. `slots`: tracked objects."""

    height_px: int
    width_px: int
    scene_dim: int = 12
    slots: int = 2

    @property
    def latent_dim(self) -> int:
        return self.scene_dim + self.slots * SLOT_DIM


PART_PX = 2048
"""Pixels that a field draws at once: 40 numbers each are 320 KB."""


class Mlp(nn.Sequential):
    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])


class Field(nn.Module):
    """A neural field in an object's own coordinates: `(px, features)` and a condition to `outputs` per pixel.

    The condition (scene, lamp, which slot) enters as a bias and a gain of the first hidden layer.
    """

    def __init__(self, features: int, condition: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.modulate = nn.Linear(condition, 2 * hidden)
        self.rest = Mlp(hidden, hidden, hidden, outputs)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        if features.device.type == "cpu" and not torch.is_grad_enabled():
            rows = zip(features, condition.split(1), strict=True)
            return torch.stack([self._drawn(px, told) for px, told in rows])
        gain, bias = self.modulate(condition)[:, None].chunk(2, -1)
        return self.rest(F.relu(torch.addcmul(bias, self.first(features), 1 + gain)))

    def _drawn(self, features: Tensor, condition: Tensor) -> Tensor:
        """One row `(px, features)` on a CPU, without gradients: the condition is folded into the first layer; pixels
        come in parts whose hidden layers stay in the cache, since most of the time is the memory's."""
        gain, bias = self.modulate(condition)[0].chunk(2, -1)
        weight = self.first.weight * (1 + gain)[:, None]
        bias = torch.addcmul(bias, self.first.bias, 1 + gain)
        return torch.cat([self._after(torch.addmm(bias, part, weight.t())) for part in features.split(PART_PX)])

    def _after(self, hidden: Tensor) -> Tensor:
        hidden.relu_()
        for layer in self.rest:
            hidden = hidden.relu_() if isinstance(layer, nn.ReLU) else layer(hidden)
        return hidden


def waves(local: Tensor, lengths_px: tuple[float, ...]) -> Tensor:
    """Sines and cosines of local coordinates, `(..., 2)` px to `(..., 4 * len(lengths_px))`."""
    angle = local[..., None] * constant(tuple(2 * math.pi / w for w in lengths_px), local.device)
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)


class SlotTokenizer(LatentTokenizer):
    """`encode(frames) -> latents`, `decode(latents) -> frames`; frames are `(batch, height, width, 3)` uint8."""

    config: TokenizerConfig
    project: Tensor
    project_mean: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        h, w, c = config.height_px, config.width_px, config.scene_dim
        self.mean = nn.Parameter(torch.zeros(3, h, w))
        self.basis = nn.Parameter(torch.zeros(c, 3, h, w))
        self.register_buffer("project", torch.zeros(c, 3 * (h // 4) * (w // 4)))
        self.register_buffer("project_mean", torch.zeros(3 * (h // 4) * (w // 4)))
        self.ground = nn.Parameter(torch.randn(MAP_CHANNELS, h, w) * 0.1)
        self.open_sky = nn.Parameter(torch.full((h, w), 3.0))
        condition = c + 1 + config.slots
        self.body = Field(4 * len(BODY_WAVES_PX), condition, 64, 4)
        self.light = Field(4 * len(LIGHT_WAVES_PX) + MAP_CHANNELS, condition, 32, 6)
        self.find = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 2, dilation=2), nn.ReLU(),
            nn.Conv2d(32, config.slots, 1),
        )  # fmt: skip
        self.refine = nn.ModuleList(self._refiner() for _ in range(config.slots))

    @staticmethod
    def _refiner() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, 24, 5, 2, 2), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, 6),
        )  # fmt: skip

    # --- latents --------------------------------------------------------------------------------------------------

    @property
    def scene_code(self) -> SlotTokenizer:
        """Its latent is a scene code that pictures show, and slots: what the remedies against drift need."""
        return self

    def scene_levels(self) -> Tensor:
        """Grey levels of 255 that one unit of each scene number changes in the frame, root mean square, `(scene_dim,)`
        on the host."""
        return self.basis.square().mean((1, 2, 3)).sqrt().cpu() * 255

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Scene code `(..., scene_dim)` and slots `(..., slots, 6)`."""
        c = self.config.scene_dim
        return latent[..., :c], latent[..., c:].unflatten(-1, (self.config.slots, SLOT_DIM))

    def canonical(self, latent: Tensor) -> Tensor:
        """The nearest latent that a frame can have: unit headings, presence and lamp decided, hidden slots zero.

        Memory holds only such latents, so a doubtful sample cannot smear into the next tick.
        """
        scene, slots = self.split(latent)
        visible = (slots[..., 4:5] > 0).float()
        heading = F.normalize(slots[..., 2:4], dim=-1, eps=1e-6)
        lamp = torch.where(slots[..., 5:6] > 0, 1.0, -1.0)
        slots = torch.cat([slots[..., :2] * visible, heading * visible, 2 * visible - 1, lamp * visible], -1)
        return torch.cat([scene, slots.flatten(-2)], -1)

    def with_presence(self, latent: Tensor, decided: Tensor) -> Tensor:
        """`latent` with each slot wholly visible or wholly hidden, as `decided` says it more likely is.

        Drawn anew in each step, cars came out of the tunnel too early: on time in 74 % of passages instead of 93.
        """
        scene, slots = self.split(latent)
        _, deciding = self.split(decided)
        presence = torch.where(deciding[..., 4:5] > 0, 1.0, -1.0)
        return torch.cat([scene, torch.cat([slots[..., :4], presence, slots[..., 5:]], -1).flatten(-2)], -1)

    # --- frame to latent ------------------------------------------------------------------------------------------

    def encode(self, frames: Tensor) -> Tensor:
        """`(batch, height, width, 3)` uint8 to canonical latents `(batch, latent_dim)`."""
        images = frames.permute(0, 3, 1, 2).float() / 255
        places = self.locate(images)
        slots = torch.stack([self.measure(images, places[:, k], k) for k in range(self.config.slots)], 1)
        return self.canonical(torch.cat([self.scene(images), slots.flatten(1)], -1))

    def scene(self, images: Tensor) -> Tensor:
        small = F.avg_pool2d(images, 4).flatten(1)
        return (small - self.project_mean) @ self.project.T

    def heat(self, images: Tensor) -> Tensor:
        """Where each slot's object may be: logits `(batch, slots, height / 4, width / 4)`."""
        return self.find(images - 0.45)

    def locate(self, images: Tensor) -> Tensor:
        """Coarse middles `(batch, slots, 2)` in pixels: the mean of the heat around its peak."""
        heat = self.heat(images).float()
        rows, columns = heat.shape[-2:]
        weight = heat.flatten(2).softmax(-1)
        x = (torch.arange(columns, device=heat.device) + 0.5).repeat(rows) * 4
        y = (torch.arange(rows, device=heat.device) + 0.5).repeat_interleave(columns) * 4
        peak = weight.argmax(-1, keepdim=True)
        near = ((x - x[peak]).abs() < 10) & ((y - y[peak]).abs() < 10)
        weight = weight * near
        weight = weight / weight.sum(-1, keepdim=True)
        return torch.stack([(weight * x).sum(-1), (weight * y).sum(-1)], -1)

    def measure(self, images: Tensor, place: Tensor, slot: int) -> Tensor:
        """The slot's six numbers, read from a crop of the frame around `place`."""
        corner = place.round().long() - CROP_PX // 2
        step = torch.arange(CROP_PX, device=images.device)
        h, w = self.config.height_px, self.config.width_px
        rows = (corner[:, 1:, None] + step[:, None]).clamp(0, h - 1)
        columns = (corner[:, :1, None] + step).clamp(0, w - 1)
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        crop = images.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)
        read = self.refine[slot](crop - 0.45)
        middle = (corner + CROP_PX // 2).float() + read[:, :2] * 4
        centre = torch.tensor([w / 2, h / 2], device=images.device)
        return torch.cat([(middle - centre) / POSITION_SCALE_PX, read[:, 2:]], -1)

    # --- latent to frame ------------------------------------------------------------------------------------------

    def decode(self, latent: Tensor) -> Tensor:
        """`(batch, latent_dim)` to frames `(batch, height, width, 3)` uint8."""
        return (self.draw(latent).clamp(0, 1) * 255).round().to(torch.uint8)

    def background(self, scene: Tensor) -> Tensor:
        """The still part, `(batch, height, width, 3)` in 0..1."""
        image = torch.addmm(self.mean.flatten()[None], scene, self.basis.flatten(1))
        return image.view(-1, 3, self.config.height_px, self.config.width_px).permute(0, 2, 3, 1).contiguous()

    def draw(self, latent: Tensor) -> Tensor:
        """As `decode`, as float32 and differentiable."""
        scene, slots = self.split(latent)
        image = self.background(scene)
        # The last slot is drawn first: slot 0 (the player) lies on top.
        # What is hidden is left out where looking costs nothing; elsewhere it is drawn with no weight.
        look = len(slots) == 1 and slots.device.type == "cpu"
        drawn = [k for k in reversed(range(self.config.slots)) if not look or slots[0, k, 4] > -1]
        for k in drawn:
            self.draw_light(image, scene, slots[:, k], k)
        for k in drawn:
            self.draw_body(image, scene, slots[:, k], k)
        return image

    def draw_light(self, image: Tensor, scene: Tensor, slot: Tensor, k: int) -> None:
        """Shadow and headlights on the ground around slot `k`, into `image`."""
        ahead = slot[:, 2:4] * (LIGHT_AHEAD_PX / POSITION_SCALE_PX)
        index, local = self.window(slot, slot[:, :2] + ahead, LIGHT_PX)
        image[index] = self.lit_patch(image[index], index, local, scene, slot, k)

    def draw_body(self, image: Tensor, scene: Tensor, slot: Tensor, k: int) -> None:
        index, local = self.window(slot, slot[:, :2], BODY_PX)
        image[index] = self.body_patch(image[index], index, local, scene, slot, k)

    def lit_patch(  # noqa: PLR0917 - tensors, in the order they flow
        self, patch: Tensor, index: Window, local: Tensor, scene: Tensor, slot: Tensor, k: int
    ) -> Tensor:
        """The patch `(batch, n, n, 3)` of an image under the slot's shadow and lights."""
        ground = self._under(self.ground.permute(1, 2, 0), index).flatten(1, 2)
        features = torch.cat([waves(local, LIGHT_WAVES_PX), ground], -1)
        shade, glow = self.light(features, self._condition(scene, slot, k)).float().chunk(2, -1)
        seen = self._seen(slot, index)
        lit = patch.flatten(1, 2) * (1 - shade * seen) + glow * seen
        return lit.view_as(patch)

    def body_patch(  # noqa: PLR0917 - tensors, in the order they flow
        self, patch: Tensor, index: Window, local: Tensor, scene: Tensor, slot: Tensor, k: int
    ) -> Tensor:
        out = self.body(waves(local, BODY_WAVES_PX), self._condition(scene, slot, k)).float()
        alpha = out[..., 3:].sigmoid() * self._seen(slot, index)
        flat = patch.flatten(1, 2)
        return (flat + (out[..., :3] - flat) * alpha).view_as(patch)

    def _condition(self, scene: Tensor, slot: Tensor, k: int) -> Tensor:
        one_hot = tuple(float(other == k) for other in range(self.config.slots))
        which = constant(one_hot, slot.device).expand(len(slot), -1)
        return torch.cat([scene, slot[:, 5:6], which], -1)

    def _seen(self, slot: Tensor, index: Window) -> Tensor:
        presence = ((slot[:, 4] + 1) / 2).clamp(0, 1)
        return (self._under(self.open_sky, index).sigmoid() * presence[:, None, None]).flatten(1)[..., None]

    @staticmethod
    def _under(still: Tensor, index: Window) -> Tensor:
        """A map that belongs to all images, `(height, width, ...)`, in each image's window `(batch, n, n, ...)`."""
        part = still[index[1:]]
        return part[None] if isinstance(index[0], slice) else part

    def window(self, slot: Tensor, middle: Tensor, size: int) -> tuple[Window, Tensor]:
        """Pixel indices of a window around `middle`, and each pixel's coordinates in the object's own frame."""
        h, w = self.config.height_px, self.config.width_px
        centre = constant((w / 2, h / 2), slot.device)
        corner = (middle.detach() * POSITION_SCALE_PX + centre).floor().long() - size // 2
        limit = constant((w - size, h - size), slot.device).long()
        corner = torch.minimum(corner.clamp(min=0), limit)
        step = torch.arange(size, device=slot.device)
        rows, columns = corner[:, 1:, None] + step[:, None], corner[:, :1, None] + step
        place = slot[:, :2] * POSITION_SCALE_PX + centre
        dx = columns + 0.5 - place[:, 0, None, None]
        dy = rows + 0.5 - place[:, 1, None, None]
        cos, sin = slot[:, 2, None, None], slot[:, 3, None, None]
        local = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin], -1).flatten(1, 2)
        if len(slot) == 1 and slot.device.type == "cpu":  # a view of the image costs nothing; gathering its pixels does
            left, top = corner[0].tolist()
            return (slice(None), slice(top, top + size), slice(left, left + size)), local
        batch = torch.arange(len(slot), device=slot.device)[:, None, None]
        return torch.broadcast_tensors(batch, rows, columns), local
