"""Where the picture is taken from: a camera behind the car that looks along its nose. Plain numbers and projection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 256, 192
FOCAL_PX = 205.0
HORIZON_PX = 76
"""Rows above the horizon: sky."""
CAMERA_HEIGHT_M = 2.5
CAMERA_BEHIND_M = 6.2
NEAR_M = 3.0

MAP_LEFT_PX, MAP_TOP_PX, MAP_SCALE = 186.0, 5.0, 0.2
"""The small map: where its corner is and how many px a metre is."""
GAUGE_PX = (10, 180, 60, 6)
"""The speed gauge: left, top, width and height."""


def ground_points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres ahead of the camera and to its right of what each pixel below the horizon shows, `(rows, width)`."""
    rows = np.arange(HORIZON_PX, HEIGHT_PX) + 0.5 - HORIZON_PX
    columns = np.arange(WIDTH_PX) + 0.5 - WIDTH_PX / 2
    ahead = CAMERA_HEIGHT_M * FOCAL_PX / rows
    return np.repeat(ahead[:, None], WIDTH_PX, 1), ahead[:, None] * columns[None] / FOCAL_PX
