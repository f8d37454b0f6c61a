"""What stands in a chase view: landmarks, the two cars, and the panel with map and gauge, drawn into one image.

It decides which landmarks are in sight, their boxes on screen, and the order from far to near. How they look comes from
the learned parts of the tokenizer, `StandingLooks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ...base.devices import constant
from .chase_layout import LEAN, POSITION_SCALE_M, SPEED, SPEED_SCALE, TEXTURE_PX, ChaseConfig
from .still import Field, waves

CAR_WAVES_M = (6.0, 3.0, 1.5, 0.75, 0.4)
CAR_HALF_M, CAR_TOP_M, CAR_BELOW_M = 3.0, 1.7, 0.3
PLAYER_HALF_M = 1.7

Layer: TypeAlias = tuple[slice, slice, Tensor]
"""Rows, columns, and what lies there: colour and opacity, `(rows, columns, 4)`."""


class StandingLooks(Protocol):
    """What is drawn with. `places`, `sizes` `(landmarks, 2)` in metres and `kinds` `(landmarks,)` are given; the fields
    turn features into colour and opacity; `panel` `(height, width, 4)`, `dots` `(2, 4)` and `gauge` `(2, width, 4)` are
    colours of the panel, the dots' last number their radius in px."""

    config: ChaseConfig
    places: Tensor
    sizes: Tensor
    kinds: Tensor
    standing_field: Field
    car_field: Field
    panel: nn.Parameter
    dots: nn.Parameter
    gauge: nn.Parameter

    def mips(self) -> list[Tensor]:
        """The landmarks' textures at full size and halved four times."""
        ...

    def mood(self, scene: Tensor) -> Tensor:
        """Weights of the weathers and hours."""
        ...

    def metres(self, slots: Tensor) -> Tensor:
        """Places on the map `(..., 2)` in metres."""
        ...


@dataclass(frozen=True)
class Pose:
    """Where one frame's cars are: metres and radians on the host, to decide what is in sight."""

    x: float
    y: float
    heading: float


@dataclass(frozen=True)
class Billboard:
    """A landmark in sight: which, how far, and its box on screen: middle, foot, width, height in px."""

    index: int
    depth_m: float
    middle: float
    foot: float
    wide: float
    high: float


def poses_of(looks: StandingLooks, slots: Tensor) -> list[list[Pose]]:
    """Of each frame and each car, on the host. `slots`: `(batch, 2, 6)`."""
    middle_x, middle_y = looks.config.land_m[0] / 2, looks.config.land_m[1] / 2
    return [
        [
            Pose(s[0] * POSITION_SCALE_M + middle_x, s[1] * POSITION_SCALE_M + middle_y, math.atan2(s[3], s[2]))
            for s in frame
        ]
        for frame in slots.detach().cpu().tolist()
    ]


# --- what stands ------------------------------------------------------------------------------------------------


def in_sight(looks: StandingLooks, pose: Pose) -> list[Billboard]:
    """Landmarks before the camera, the farthest first."""
    c = looks.config
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    dx = looks.places[:, 0] - (pose.x - c.camera_behind_m * cos)
    dy = looks.places[:, 1] - (pose.y - c.camera_behind_m * sin)
    ahead, right = dx * cos + dy * sin, dy * cos - dx * sin
    seen = (ahead > c.near_m) & (ahead < c.far_m) & (right.abs() < ahead * 0.66 + 18)
    found = []
    for i in seen.nonzero()[:, 0].tolist():
        depth, aside = float(ahead[i]), float(right[i])
        scale = c.focal_px / depth
        wide, high = float(looks.sizes[i, 0]) * scale, float(looks.sizes[i, 1]) * scale
        board = Billboard(
            i, depth, c.width_px / 2 + aside * scale, c.horizon_px + c.camera_height_m * scale, wide, high
        )
        if wide >= 1 and abs(board.middle - c.width_px / 2) < (c.width_px + wide) / 2:
            found.append(board)
    return sorted(found, key=lambda b: -b.depth_m)


def draw_standing(looks: StandingLooks, image: Tensor, scene: Tensor, slots: Tensor, poses: list[Pose]) -> None:
    """Landmarks and cars into one image `(height, width, 3)`, the farthest first."""
    boards = in_sight(looks, poses[0])
    layers = landmark_layers(looks, boards, scene)
    rival = rival_layer(looks, scene, slots, poses)
    depths = [(board.depth_m, layer) for board, layer in zip(boards, layers, strict=True)]
    if rival is not None:
        depths.append(rival)
    depths.sort(key=lambda pair: -pair[0])
    for _, (rows, columns, colour) in [*depths, (0.0, player_layer(looks, scene, slots))]:
        part = _kept(image[rows, columns])
        image[rows, columns] = torch.lerp(part, colour[..., :3], colour[..., 3:])


def landmark_layers(looks: StandingLooks, boards: list[Billboard], scene: Tensor) -> list[Layer]:
    if not boards:
        return []
    windows = [window(looks, b.middle - b.wide / 2, b.middle + b.wide / 2, b.foot - b.high, b.foot) for b in boards]
    features = []
    for board, (rows, columns) in zip(boards, windows, strict=True):
        texture = looks.mips()[min(max(0, int(math.log2(max(TEXTURE_PX / max(board.wide, board.high, 1), 1)))), 4)]
        u = (torch.arange(columns.start, columns.stop, device=scene.device) + 0.5 - board.middle) / board.wide * 2
        v = 1 - (board.foot - torch.arange(rows.start, rows.stop, device=scene.device) - 0.5) / board.high * 2
        grid = torch.stack([u.expand(len(v), -1), v[:, None].expand(-1, len(u))], -1)[None]
        kind = int(looks.kinds[board.index])
        found = F.grid_sample(texture[kind : kind + 1], grid, padding_mode="zeros", align_corners=False)
        inside = (u.abs() < 1).to(found.dtype).expand(len(v), -1)
        depth = torch.full_like(inside, math.log(board.depth_m) / 3 - 1)
        features.append(torch.cat([found[0], depth[None], inside[None]]).flatten(1).T)
    out = looks.standing_field(torch.cat(features)[None], looks.mood(scene)[None])[0].float()
    layers, at = [], 0
    for rows, columns in windows:
        n = (rows.stop - rows.start) * (columns.stop - columns.start)
        part = out[at : at + n].view(rows.stop - rows.start, columns.stop - columns.start, 4)
        layers.append((rows, columns, torch.cat([part[..., :3], part[..., 3:].sigmoid()], -1)))
        at += n
    return layers


def window(looks: StandingLooks, left: float, right: float, top: float, bottom: float) -> tuple[slice, slice]:
    c = looks.config
    rows = slice(min(max(int(top), 0), c.height_px - 1), min(max(int(bottom) + 1, 1), c.height_px))
    columns = slice(min(max(int(left), 0), c.width_px - 1), min(max(int(right) + 1, 1), c.width_px))
    return rows, columns


def rival_layer(looks: StandingLooks, scene: Tensor, slots: Tensor, poses: list[Pose]) -> tuple[float, Layer] | None:
    c, (player, rival) = looks.config, poses
    cos, sin = math.cos(player.heading), math.sin(player.heading)
    dx, dy = rival.x - player.x + c.camera_behind_m * cos, rival.y - player.y + c.camera_behind_m * sin
    depth, aside = dx * cos + dy * sin, dy * cos - dx * sin
    if depth < c.near_m or 1.45 * c.focal_px / depth < 1.5:
        return None
    scale = c.focal_px / depth
    middle = c.width_px / 2 + aside * scale
    if abs(middle - c.width_px / 2) > c.width_px / 2 + CAR_HALF_M * scale:
        return None
    turned = torch.stack([
        slots[1, 2] * slots[0, 2] + slots[1, 3] * slots[0, 3], slots[1, 3] * slots[0, 2] - slots[1, 2] * slots[0, 3],
    ])  # fmt: skip
    # The same in tensors, so that a pose can be fitted to a picture.
    between = looks.metres(slots[1]) - looks.metres(slots[0])
    exact_depth = between[0] * slots[0, 2] + between[1] * slots[0, 3] + c.camera_behind_m
    exact_aside = between[1] * slots[0, 2] - between[0] * slots[0, 3]
    layer = car_layer(looks, scene, (exact_aside, exact_depth), (middle, scale), CAR_HALF_M, turned, slots[1, 5], 1)
    return depth, layer


def player_layer(looks: StandingLooks, scene: Tensor, slots: Tensor) -> Layer:
    c = looks.config
    depth = constant((c.camera_behind_m,), scene.device)[0]
    straight = constant((1.0, 0.0), scene.device)
    place = (c.width_px / 2, c.focal_px / c.camera_behind_m)
    return car_layer(looks, scene, (depth * 0, depth), place, PLAYER_HALF_M, straight, slots[0, 5], 0)


def car_layer(  # noqa: PLR0917 - where, how large, how turned, and which
    looks: StandingLooks,
    scene: Tensor,
    at: tuple[Tensor, Tensor],
    place: tuple[float, float],
    half_m: float,
    turned: Tensor,
    lamp: Tensor,
    who: int,
) -> Layer:
    """A car at `at` metres right and ahead; `place`: its middle column and px a metre, to know the window."""
    c, (middle, scale) = looks.config, place
    foot = c.horizon_px + c.camera_height_m * scale
    rows, columns = window(
        looks,
        middle - half_m * scale,
        middle + half_m * scale,
        foot - CAR_TOP_M * scale,
        foot + CAR_BELOW_M * scale,
    )
    metre = at[1] / c.focal_px
    across = torch.arange(columns.start, columns.stop, device=scene.device) + 0.5 - c.width_px / 2
    down = torch.arange(rows.start, rows.stop, device=scene.device) + 0.5 - c.horizon_px
    u, v = across * metre - at[0], c.camera_height_m - down * metre
    local = torch.stack([u.expand(len(v), -1), v[:, None].expand(-1, len(u))], -1).flatten(0, 1)
    size = (at[1].log() / 3 - 1).expand(len(local), 1)
    features = torch.cat([waves(local, CAR_WAVES_M), local, size], -1)
    which = constant((1.0, 0.0) if who == 0 else (0.0, 1.0), scene.device)
    lean = scene[LEAN : LEAN + 1] * which[:1]
    condition = torch.cat([looks.mood(scene), lamp[None], turned, lean, which])
    out = looks.car_field(features[None], condition[None])[0].float()
    out = torch.cat([out[:, :3], out[:, 3:].sigmoid()], -1)
    return rows, columns, out.view(len(v), len(u), 4)


# --- panel ------------------------------------------------------------------------------------------------------


def draw_panel(looks: StandingLooks, image: Tensor, scene: Tensor, slots: Tensor) -> None:
    c = looks.config
    left, top, wide, high = c.panel_px
    part = _kept(image[top : top + high, left : left + wide])
    part = torch.lerp(part, looks.panel[..., :3], looks.panel[..., 3:].sigmoid())
    x0, y0, scale = c.map_px
    place = looks.metres(slots)
    columns = torch.arange(left, left + wide, device=image.device) + 0.5
    rows = torch.arange(top, top + high, device=image.device) + 0.5
    for k in (1, 0):
        away = torch.hypot(columns - (x0 + place[k, 0] * scale), (rows - (y0 + place[k, 1] * scale))[:, None])
        shown = ((looks.dots[k, 3] - away) / 1.2 + 0.5).clamp(0, 1)[..., None]
        part = torch.lerp(part, looks.dots[k, :3].expand_as(part), shown)
    image[top : top + high, left : left + wide] = part
    left, top, wide, high = c.gauge_px
    full = scene[SPEED].abs() * (SPEED_SCALE / c.top_speed * wide)
    filled = (full - torch.arange(wide, device=image.device)).clamp(0, 1)[:, None]
    bar = torch.lerp(looks.gauge[0], looks.gauge[1], filled)
    part = _kept(image[top : top + high, left : left + wide])
    image[top : top + high, left : left + wide] = torch.lerp(part, bar[..., :3], bar[..., 3:].sigmoid())


def _kept(part: Tensor) -> Tensor:
    """A part of an image that is about to be painted over; the backward pass wants it as it was."""
    return part.clone() if torch.is_grad_enabled() else part
