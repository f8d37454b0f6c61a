"""What can be measured of a picture of the track: road, bends, kerbs, edges. The same for the game and the network.

Frames are `(n, 64, 64, 3)` uint8 unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..teacher.driver import VIEW_ROWS, road_mask
from ..teacher.game import Frame

Frames = NDArray[np.uint8]
FAR_ROW, NEAR_ROW = 12, 36
EDGE_ROWS = 52


def edge_energy(frames: Frames) -> float:
    """Mean squared difference of neighbouring pixels, in grey levels squared, above the gauges. Squared, because the
    sum of absolute differences across an edge is the same however blurred the edge is."""
    grey = frames[..., :EDGE_ROWS, :, :].astype(np.float64).mean(-1)
    return float(np.square(np.diff(grey, axis=-1)).mean() + np.square(np.diff(grey, axis=-2)).mean())


def bend(frame: Frame) -> float | None:
    """By how many pixels a straight line through the road's middle at two rows misses it at a third one between; left
    and right have signs. None where the road is not in view at all three."""
    road = road_mask(frame)
    middles = []
    for row in (NEAR_ROW, (NEAR_ROW + FAR_ROW) // 2, FAR_ROW):
        columns = np.flatnonzero(road[row - 1 : row + 2].any(0))
        if len(columns) < 3 or columns[0] == 0 or columns[-1] == road.shape[1] - 1:
            return None
        middles.append(columns.mean())
    return float(middles[1] - (middles[0] + middles[2]) / 2)


def kerb_share(frames: Frames) -> float:
    """Share of frames with red and white of a kerb: eight saturated red pixels or more away from the car."""
    view = frames[:, :VIEW_ROWS].astype(np.int16)
    red = (view[..., 0] > 150) & (view[..., 1] < 110) & (view[..., 2] < 110)
    red[:, 40:54, 26:38] = False
    return float((red.sum((1, 2)) >= 4).mean())


def bend_spread(frames: Frames) -> float:
    """Standard deviation of `bend`, pixels."""
    bends = [found for frame in frames if (found := bend(frame)) is not None]
    return float(np.std(bends)) if len(bends) > 1 else 0.0


def psnr(frames: Frames, truth: Frames) -> float:
    """Pooled over all, dB."""
    error = (frames.astype(np.float64) - truth.astype(np.float64)) / 255
    return float(-10 * np.log10(max(np.square(error).mean(), 1e-10)))
