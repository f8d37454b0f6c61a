"""Sizes of the chase view: what a latent holds at which place, how large the learned maps are, and the camera."""

from __future__ import annotations

from dataclasses import dataclass

from .still import SLOT_DIM

MOOD_DIM, SCENE_DIM, SLOTS = 7, 10, 2
SPEED, SLIP, LEAN = 7, 8, 9
SPEED_SCALE, SLIP_SCALE = 1.0, 0.2
"""Metres a tick that are one unit of the latent."""
POSITION_SCALE_M = 16.0

MAP_CHANNELS, SCREEN_CHANNELS, SKY_CHANNELS, TEXTURE_CHANNELS = 8, 4, 6, 6
TEXTURE_PX = 64
COARSE = 4
"""Cells of the near map to one of the far map, which is read where a pixel shows many cells."""
FAR_ROWS = 36


@dataclass(frozen=True)
class ChaseConfig:
    """The camera, the land and the panel. `land_m`: east and south extent. `panel_px`: the small map's left, top,
    width, height; `map_px`: its zero point and px a metre; `gauge_px`: left, top, width, height."""

    height_px: int = 192
    width_px: int = 256
    focal_px: float = 205.0
    horizon_px: int = 76
    camera_height_m: float = 2.5
    camera_behind_m: float = 6.2
    near_m: float = 3.0
    far_m: float = 260.0
    land_m: tuple[float, float] = (320.0, 224.0)
    cell_m: float = 0.5
    panorama: int = 1152
    landmarks: int = 105
    kinds: int = 9
    panel_px: tuple[int, int, int, int] = (184, 3, 70, 50)
    map_px: tuple[float, float, float] = (186.0, 5.0, 0.2)
    gauge_px: tuple[int, int, int, int] = (10, 180, 60, 6)
    top_speed: float = 2.2

    @property
    def latent_dim(self) -> int:
        return SCENE_DIM + SLOTS * SLOT_DIM
