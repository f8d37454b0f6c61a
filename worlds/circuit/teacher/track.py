"""The course: centre line, widths, the bridge and the tunnel, as numbers and as fields over the frame.

Owns geometry in pixels of the 256x192 frame, y down. Knows nothing about cars, weather or pixels' colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...curves import closed_curve, evenly

WIDTH_PX, HEIGHT_PX = 256, 192
ROAD_HALF_PX = 11.5
"""Half the width of the asphalt."""
WALL_PX = 15.0
"""Distance from the centre line at which the barrier stops the middle of a car."""
COVER_WALL_PX = 8.0
"""The same under the bridge and in the tunnel, where side walls guide the car."""

CONTROL_POINTS = (
    (60, 165), (120, 167), (180, 165), (219, 151), (231, 112), (225, 64), (202, 32), (166, 27), (140, 44),
    (134, 80), (122, 107), (100, 110), (86, 90), (81, 54), (60, 29), (36, 32), (24, 60), (24, 105), (30, 146),
)  # fmt: skip
SAMPLES_PER_SPAN = 40


@dataclass(frozen=True)
class Cover:
    """A stretch of the course that is roofed: `start` and `stop` are fractions of the lap."""

    name: str
    start: float
    stop: float

    def contains(self, lap: float) -> bool:
        return self.start <= lap % 1.0 <= self.stop


@dataclass(frozen=True)
class Track:
    """`line`: `(n, 2)` px, evenly spaced along the lap. `tangent`: `(n,)` radians. `curvature`: `(n,)` 1/px.

    `length_px`: lap length. `nearest`: `(height, width)` index into `line` for the middle of each pixel of the frame.
    """

    line: NDArray[np.float64]
    tangent: NDArray[np.float64]
    curvature: NDArray[np.float64]
    length_px: float
    nearest: NDArray[np.int32]
    covers: tuple[Cover, ...]

    def locate(self, x: float, y: float) -> tuple[int, float]:
        """The nearest sample of the centre line and the signed distance from it (positive: right of travel)."""
        column = min(max(int(x), 0), WIDTH_PX - 1)
        row = min(max(int(y), 0), HEIGHT_PX - 1)
        index = int(self.nearest[row, column])
        angle = self.tangent[index]
        dx, dy = x - self.line[index, 0], y - self.line[index, 1]
        return index, float(-np.sin(angle) * dx + np.cos(angle) * dy)

    def lap(self, index: int) -> float:
        return index / len(self.line)

    def cover_at(self, index: int) -> Cover | None:
        lap = self.lap(index)
        return next((cover for cover in self.covers if cover.contains(lap)), None)


def distance_field(
    line: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray, NDArray]:
    """Nearest index into `line` and distance to it, for each point of the grids `x`, `y`."""
    best = np.full(x.shape, np.inf)
    index = np.zeros(x.shape, np.int32)
    for i, (px, py) in enumerate(line):
        squared = (x - px) ** 2 + (y - py) ** 2
        closer = squared < best
        best[closer] = squared[closer]
        index[closer] = i
    return index, np.sqrt(best)


@lru_cache(maxsize=1)
def load_track() -> Track:
    """The one course. About 0.3 s the first time, then kept."""
    line, length_px = evenly(closed_curve(np.array(CONTROL_POINTS, float), SAMPLES_PER_SPAN))
    ahead = np.roll(line, -3, axis=0) - np.roll(line, 3, axis=0)
    tangent = np.arctan2(ahead[:, 1], ahead[:, 0])
    turn = np.angle(np.exp(1j * (np.roll(tangent, -6) - np.roll(tangent, 6))))
    curvature = turn / (12 * length_px / len(line))
    columns, rows = np.meshgrid(np.arange(WIDTH_PX) + 0.5, np.arange(HEIGHT_PX) + 0.5)
    coarse = line[::2]
    nearest = distance_field(coarse, columns, rows)[0] * 2
    covers = (
        _cover("bridge", line, (126, 172), axis=0, near=(148, 166)),
        _cover("tunnel", line, (48, 126), axis=1, near=(24, 90)),
    )
    return Track(line, tangent, curvature, length_px, nearest.astype(np.int32), covers)


def _cover(
    name: str, line: NDArray[np.float64], span_px: tuple[float, float], axis: int, near: tuple[float, float]
) -> Cover:
    inside = (line[:, axis] > span_px[0]) & (line[:, axis] < span_px[1])
    inside &= np.hypot(line[:, 0] - near[0], line[:, 1] - near[1]) < 50
    where = np.flatnonzero(inside)
    return Cover(name, float(where.min() / len(line)), float(where.max() / len(line)))
