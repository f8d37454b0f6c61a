"""Measures on pixels, shared by the evaluation: fidelity, edges, and finding the player's car by its paint.

Everything works on `(height, width, 3)` uint8 frames and knows nothing about the network that made them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
MOVING_LEVELS = 8
"""A pixel moves when any channel of two true frames in a row differs by more than this."""


def psnr_db(error: NDArray[np.float64]) -> float:
    """Pooled PSNR of squared errors on the 0..1 scale."""
    return float(-10 * np.log10(max(float(np.mean(error)), 1e-10)))


def squared_error(a: Image, b: Image) -> NDArray[np.float64]:
    """`(height, width)`, mean over channels, 0..1 scale."""
    return ((a.astype(np.float64) - b) / 255).__pow__(2).mean(-1)


def moving(before: Image, now: Image) -> NDArray[np.bool_]:
    return np.abs(now.astype(np.int16) - before).max(-1) > MOVING_LEVELS


def edge_energy(frame: Image) -> float:
    """Mean squared difference of neighbours, grey, 0..1 scale: what blur loses first."""
    grey = frame.astype(np.float64).mean(-1) / 255
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())


@dataclass(frozen=True)
class Paint:
    """Red paint found in a frame: how many pixels, and how many of them lie within a car's length of the middle."""

    pixels: int
    compact_share: float
    x: float
    y: float


def find_paint(frame: Image, background: Image, light: float) -> Paint:
    """The player's paint against the same scene without cars. `light`: brightness of red paint here, 0..1."""
    change = (frame.astype(np.float32) - background) / 255
    own = frame.astype(np.float32) / 255
    red = (own[..., 0] - own[..., 1:].max(-1) > 0.30 * light) & (np.abs(change).max(-1) > 0.12 * light)
    rows, columns = np.nonzero(red)
    if len(rows) == 0:
        return Paint(0, 0.0, np.nan, np.nan)
    x, y = float(np.median(columns)), float(np.median(rows))
    near = (np.hypot(columns - x, rows - y) < 13).mean()
    return Paint(len(rows), float(near), x, y)


def same_car(dreamt: Paint, real: Paint) -> bool:
    """One car where one should be: as much paint as the real one to a factor, in one place; none where none."""
    if real.pixels < 12:
        return dreamt.pixels < 30
    return 0.5 <= dreamt.pixels / real.pixels <= 1.7 and dreamt.compact_share > 0.85


def visible_change(a: Image, b: Image, levels: int = 8) -> int:
    """How many pixels differ by at least `levels`."""
    return int((np.abs(a.astype(np.int16) - b).max(-1) >= levels).sum())
