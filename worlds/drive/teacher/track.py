"""The course and what stands beside it, in metres. Owns geometry; knows no cars, no weather and no colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...curves import closed_curve, evenly

WIDTH_M, HEIGHT_M = 320.0, 224.0
"""The land that is mapped; beyond it the border goes on."""
ROAD_HALF_M = 6.0
KERB_M = 1.0
WALL_M = 13.0
"""Distance from the centre line at which the fence stops the middle of a car."""
CELL_M = 0.5

CONTROL_POINTS = (
    (38, 150), (36, 104), (52, 52), (98, 28), (146, 40), (172, 84), (212, 98), (238, 62), (274, 40), (298, 78),
    (288, 130), (246, 148), (206, 152), (176, 188), (122, 200), (64, 192),
)  # fmt: skip
SAMPLES_PER_SPAN = 60


@dataclass(frozen=True)
class Landmark:
    """Something that stands: `kind` decides its looks, `(x_m, y_m)` its foot."""

    kind: str
    x_m: float
    y_m: float
    width_m: float
    height_m: float


@dataclass(frozen=True)
class Track:
    """`line`: `(n, 2)` m, evenly spaced in driving order. `tangent`: `(n,)` radians. `curvature`: `(n,)` 1/m.

    `nearest`: index into `line` for each cell of `CELL_M` of the land, rows first.
    """

    line: NDArray[np.float64]
    tangent: NDArray[np.float64]
    curvature: NDArray[np.float64]
    length_m: float
    nearest: NDArray[np.int32]
    landmarks: tuple[Landmark, ...]

    @property
    def spacing_m(self) -> float:
        return self.length_m / len(self.line)

    def locate(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Nearest sample of the centre line, distance along the lap (m), and signed distance from the line (m,
        positive: right of travel) of points of any shape."""
        rows, columns = self.nearest.shape
        column = np.clip((x / CELL_M).astype(np.intp), 0, columns - 1)
        row = np.clip((y / CELL_M).astype(np.intp), 0, rows - 1)
        index = self.nearest[row, column]
        angle = self.tangent[index]
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = x - self.line[index, 0], y - self.line[index, 1]
        along = index * self.spacing_m + dx * cos + dy * sin
        return index, along, dy * cos - dx * sin


LANDMARK_SIZES_M = {
    "pine": (7.0, 13.0), "tree": (8.0, 9.0), "palm": (8.0, 11.0), "house": (16.0, 14.0), "tower": (14.0, 34.0),
    "lamp": (4.0, 9.0), "left": (5.0, 4.0), "right": (5.0, 4.0), "stand": (30.0, 10.0),
}  # fmt: skip
"""Width and height of each kind."""


def _landmarks(line: NDArray, tangent: NDArray, curvature: NDArray, nearest: NDArray) -> tuple[Landmark, ...]:
    """Trees, houses, lamps and signs along the course: every quarter has its own, so a place can be recognised."""
    rng = np.random.Generator(np.random.Philox(key=11))
    n = len(line)
    quarter_kinds = (
        ("pine", "pine", "tree"),
        ("house", "tower", "lamp"),
        ("palm", "palm", "tree"),
        ("tree", "house", "pine"),
    )
    found: list[Landmark] = []

    def stand(kind: str, at: int, side_m: float) -> None:
        x, y = line[at] + side_m * np.array((-np.sin(tangent[at]), np.cos(tangent[at])))
        row, column = int(y / CELL_M), int(x / CELL_M)
        inside = 0 <= row < nearest.shape[0] and 0 <= column < nearest.shape[1]
        there = nearest[row, column] if inside else at
        if np.hypot(*(line[there] - (x, y))) < WALL_M + 1.5:
            return  # another stretch of road is there
        width, height = LANDMARK_SIZES_M[kind]
        size = float(rng.uniform(0.85, 1.2)) if kind in {"pine", "tree", "palm"} else 1.0
        found.append(Landmark(kind, float(x), float(y), width * size, height * size))

    at = 20
    while at < n - 10:
        kinds = quarter_kinds[at * 4 // n]
        kind = kinds[int(rng.integers(len(kinds)))]
        side = float(rng.choice([-1, 1]))
        far = rng.uniform(4, 26) if kind not in {"house", "tower"} else rng.uniform(13, 30)
        stand(kind, at, side * (WALL_M + 2.0 + float(far)))
        at += int(rng.integers(14, 34))
    bends = np.flatnonzero((np.abs(curvature) > 0.016) & (np.abs(np.roll(curvature, 1)) <= 0.016))
    for bend in bends:
        turn = np.sign(curvature[bend])
        for k in range(3):
            stand("right" if turn > 0 else "left", int(bend + 14 + 18 * k) % n, -turn * (WALL_M + 1.8))
    for side in (-1, 1):
        stand("stand", 8, side * (WALL_M + 12.0))
    return tuple(found)


@lru_cache(maxsize=1)
def load_track() -> Track:
    """The one course; under a second the first time, then kept."""
    line, length_m = evenly(closed_curve(np.array(CONTROL_POINTS, float), SAMPLES_PER_SPAN))
    ahead = np.roll(line, -4, axis=0) - np.roll(line, 4, axis=0)
    tangent = np.arctan2(ahead[:, 1], ahead[:, 0])
    turn = np.angle(np.exp(1j * (np.roll(tangent, -10) - np.roll(tangent, 10))))
    curvature = turn / (20 * length_m / len(line))
    x, y = np.meshgrid(np.arange(0, WIDTH_M, CELL_M) + CELL_M / 2, np.arange(0, HEIGHT_M, CELL_M) + CELL_M / 2)
    nearest = _nearest(line, x, y)
    return Track(line, tangent, curvature, length_m, nearest, _landmarks(line, tangent, curvature, nearest))


def _nearest(line: NDArray, x: NDArray, y: NDArray) -> NDArray[np.int32]:
    best = np.full(x.shape, np.inf)
    index = np.zeros(x.shape, np.int32)
    for i in range(0, len(line), 2):
        squared = (x - line[i, 0]) ** 2 + (y - line[i, 1]) ** 2
        closer = squared < best
        best[closer] = squared[closer]
        index[closer] = i
    return index
