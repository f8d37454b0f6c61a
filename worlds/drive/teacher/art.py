"""Colours and textures of the teacher: palettes by weather and hour, and what landmarks look like.

Owns looks only. Painted in code, no image files. Colours are RGB in 0..1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# --- palettes, one row per weather (clear, rain, snow, fog) ---------------------------------------------------------

GRASS_A = np.array(((0.30, 0.58, 0.22), (0.22, 0.40, 0.22), (0.88, 0.91, 0.95), (0.42, 0.52, 0.40)))
GRASS_B = np.array(((0.36, 0.66, 0.26), (0.26, 0.45, 0.25), (0.94, 0.96, 0.98), (0.47, 0.57, 0.44)))
SAND = np.array(((0.80, 0.68, 0.44), (0.52, 0.46, 0.34), (0.90, 0.90, 0.90), (0.68, 0.64, 0.54)))
ROAD = np.array(((0.36, 0.37, 0.40), (0.22, 0.25, 0.30), (0.66, 0.69, 0.74), (0.42, 0.43, 0.45)))
PAINT = np.array(((0.95, 0.95, 0.93), (0.80, 0.82, 0.84), (0.97, 0.97, 0.98), (0.86, 0.86, 0.86)))
KERB = np.array(((0.85, 0.13, 0.12), (0.66, 0.12, 0.13), (0.85, 0.35, 0.35), (0.74, 0.26, 0.25)))
FENCE = np.array(((0.84, 0.86, 0.90), (0.60, 0.64, 0.70), (0.86, 0.88, 0.92), (0.76, 0.78, 0.80)))
HAZE_PER_M = np.array((0.0012, 0.0042, 0.0050, 0.0170))
LEAVES = np.array(((1.0, 1.0, 1.0), (0.74, 0.78, 0.82), (1.35, 1.40, 1.50), (0.95, 0.97, 0.97)))
"""What weather does to the colour of things that stand."""

# --- the sky, by weather and hour -----------------------------------------------------------------------------------

ZENITH = np.array((
    ((0.20, 0.48, 0.90), (0.28, 0.16, 0.44), (0.02, 0.03, 0.11)),
    ((0.42, 0.48, 0.55), (0.30, 0.24, 0.36), (0.04, 0.05, 0.09)),
    ((0.68, 0.74, 0.82), (0.48, 0.38, 0.50), (0.09, 0.11, 0.19)),
    ((0.72, 0.75, 0.78), (0.52, 0.43, 0.48), (0.11, 0.13, 0.18)),
))  # fmt: skip
SKYLINE = np.array((
    ((0.76, 0.88, 0.97), (1.00, 0.52, 0.32), (0.09, 0.11, 0.26)),
    ((0.62, 0.67, 0.71), (0.56, 0.42, 0.46), (0.09, 0.11, 0.16)),
    ((0.86, 0.89, 0.93), (0.82, 0.60, 0.60), (0.17, 0.20, 0.30)),
    ((0.80, 0.82, 0.84), (0.74, 0.58, 0.56), (0.17, 0.19, 0.25)),
))  # fmt: skip
LIGHT = np.array((
    ((1.00, 1.00, 1.00), (0.92, 0.62, 0.56), (0.17, 0.20, 0.36)),
    ((0.86, 0.88, 0.92), (0.66, 0.52, 0.56), (0.15, 0.17, 0.27)),
    ((0.96, 0.97, 1.00), (0.86, 0.66, 0.70), (0.22, 0.25, 0.40)),
    ((0.94, 0.95, 0.96), (0.78, 0.62, 0.62), (0.20, 0.22, 0.32)),
))  # fmt: skip
DARK = np.array((0.0, 0.35, 1.0))
"""How much lamps matter at each hour."""

TEXTURE_PX = 64


def _shape(inside: NDArray) -> NDArray:
    """A mask painted at four times the size, averaged down."""
    n = TEXTURE_PX
    return inside.reshape(n, 4, n, 4).mean((1, 3))


def _grid() -> tuple[NDArray, NDArray]:
    """x across -1..1, y up 0..1 of a texture at four times its size."""
    n = TEXTURE_PX * 4
    across, down = np.meshgrid((np.arange(n) + 0.5) / n * 2 - 1, (np.arange(n) + 0.5) / n)
    return across, 1 - down


Layer: TypeAlias = tuple[NDArray[np.bool_], tuple[float, float, float], float, float]
"""What is covered, its colour, its own light at night, and how far weather tints it."""


@lru_cache(maxsize=1)
def textures() -> dict[str, NDArray[np.float64]]:
    """Per kind `(64, 64, 6)`: colour, opacity, light of its own at night, and whether weather tints it."""
    x, y = _grid()
    painted = {
        "pine": _pine(x, y), "tree": _tree(x, y), "palm": _palm(x, y), "lamp": _lamp(x, y), "stand": _stand(x, y),
        "house": _building(x, y, (6, 4), (0.72, 0.46, 0.32)), "tower": _building(x, y, (5, 10), (0.50, 0.57, 0.68)),
        "left": _sign(x, y, -1), "right": _sign(x, y, 1),
    }  # fmt: skip
    return {kind: _painted(layers) for kind, layers in painted.items()}


def _painted(layers: list[Layer]) -> NDArray[np.float64]:
    texture = np.zeros((TEXTURE_PX, TEXTURE_PX, 6))
    for mask, colour, glow, tinted in layers:
        m = _shape(mask.astype(float))[..., None]
        texture = texture * (1 - m) + np.array((*colour, 1.0, glow, tinted)) * m
    alpha = np.maximum(texture[..., 3:4], 1e-6)
    texture[..., :3] /= alpha
    texture[..., 4:] /= alpha
    return texture


def _pine(x: NDArray, y: NDArray) -> list[Layer]:
    trunk = (np.abs(x) < 0.09) & (y < 0.3)
    cones = np.zeros_like(x, bool)
    shade = np.zeros_like(x, bool)
    for bottom, top, wide in ((0.14, 0.56, 0.86), (0.36, 0.78, 0.66), (0.58, 0.99, 0.48)):
        cone = (y > bottom) & (y < top) & (np.abs(x) < wide * (top - y) / (top - bottom))
        cones |= cone
        shade |= cone & (x > 0.1)
    return [(trunk, (0.36, 0.24, 0.15), 0, 1), (cones, (0.12, 0.40, 0.24), 0, 1), (shade, (0.08, 0.30, 0.19), 0, 1)]


def _tree(x: NDArray, y: NDArray) -> list[Layer]:
    crown = np.zeros_like(x, bool)
    bright = np.zeros_like(x, bool)
    for cx, cy, r in ((-0.4, 0.55, 0.5), (0.42, 0.58, 0.48), (0.0, 0.72, 0.55), (0.0, 0.5, 0.5)):
        crown |= ((x - cx) / r) ** 2 + ((y - cy) / (r * 0.55)) ** 2 < 1
        bright |= ((x - cx + 0.12) / (r * 0.6)) ** 2 + ((y - cy - 0.08) / (r * 0.3)) ** 2 < 1
    trunk = (np.abs(x) < 0.08) & (y < 0.4)
    return [
        (trunk, (0.42, 0.28, 0.17), 0, 1),
        (crown, (0.24, 0.50, 0.17), 0, 1),
        (bright & crown, (0.32, 0.60, 0.22), 0, 1),
    ]


def _palm(x: NDArray, y: NDArray) -> list[Layer]:
    bend = 0.12 * np.sin(y * 2.2)
    leaves = np.zeros_like(x, bool)
    for side, drop in ((-1, 0.55), (1, 0.55), (-1, 0.1), (1, 0.1), (-1, -0.35), (1, -0.35)):
        u = (x - 0.12 * np.sin(0.82 * 2.2)) * side
        v = (y - 0.82) + drop * 0.35 * u + 0.32 * u * u
        leaves |= (u > 0) & (u < 0.85) & (np.abs(v) < 0.055 * (1.05 - u))
    trunk = (np.abs(x - bend) < 0.05) & (y < 0.84)
    return [(trunk, (0.52, 0.38, 0.22), 0, 1), (leaves, (0.16, 0.52, 0.22), 0, 1)]


def _building(x: NDArray, y: NDArray, panes: tuple[int, int], wall: tuple[float, float, float]) -> list[Layer]:
    columns, rows = panes
    body = (np.abs(x) < 0.94) & (y < 0.98)
    u, v = (x * 0.5 + 0.5) * columns % 1, y * rows % 1
    windows = body & (np.abs(u - 0.5) < 0.26) & (np.abs(v - 0.5) < 0.25) & (y > 0.9 / rows)
    lit = windows & ((np.floor((x * 0.5 + 0.5) * columns) * 7 + np.floor(y * rows) * 5) % 3 < 1.5)
    door = (np.abs(x) < 0.3) & (y < 0.16)
    side = (wall[0] * 0.82, wall[1] * 0.82, wall[2] * 0.82)
    return [
        (body, wall, 0, 0.3), (body & (x > 0.6), side, 0, 0.3), (windows, (0.30, 0.38, 0.48), 0, 0),
        (lit, (1.0, 0.84, 0.52), 0.9, 0), (body & (y > 0.93), (0.40, 0.28, 0.26), 0, 0.6),
        (door, (0.92, 0.34, 0.52), 0.6, 0),
    ]  # fmt: skip


def _lamp(x: NDArray, y: NDArray) -> list[Layer]:
    pole = (np.abs(x - 0.5) < 0.07) & (y < 0.97)
    arm = (y > 0.93) & (y < 0.97) & (x > -0.6) & (x < 0.55)
    head = (np.abs(x + 0.55) < 0.3) & (y > 0.87) & (y < 0.93)
    return [(pole | arm, (0.45, 0.47, 0.52), 0, 0.2), (head, (1.0, 0.92, 0.70), 1.0, 0)]


def _sign(x: NDArray, y: NDArray, side: int) -> list[Layer]:
    """Three chevrons that point to `side`."""
    board = (np.abs(x) < 0.95) & (y > 0.35)
    legs = (np.abs(np.abs(x) - 0.6) < 0.07) & (y < 0.4)
    chevron = np.zeros_like(x, bool)
    for start in (-0.75, -0.2, 0.35):
        w = x * side - start - 0.35 + 1.1 * np.abs(y - 0.675)
        chevron |= (np.abs(w) < 0.13) & (np.abs(y - 0.675) < 0.25)
    return [
        (legs, (0.4, 0.4, 0.42), 0, 0),
        (board, (0.08, 0.10, 0.30), 0, 0),
        (chevron & board, (0.98, 0.98, 0.95), 0.55, 0),
    ]


def _stand(x: NDArray, y: NDArray) -> list[Layer]:
    seats = (np.abs(x) < 0.97) & (y < 0.72)
    crowd = seats & (y > 0.15) & ((np.floor(x * 24) * 5 + np.floor(y * 16) * 3) % 4 < 2)
    red = seats & (y > 0.15) & ((np.floor(x * 24) * 3 + np.floor(y * 16) * 7) % 5 < 1)
    awning = (np.abs(x) < 0.99) & (y > 0.84)
    posts = (np.abs(np.abs(x) - 0.9) < 0.03) & (y < 0.9)
    return [
        (posts, (0.5, 0.5, 0.55), 0, 0), (seats, (0.55, 0.57, 0.62), 0, 0.2), (crowd, (0.92, 0.80, 0.30), 0, 0),
        (red, (0.85, 0.25, 0.25), 0, 0), (awning, (0.85, 0.15, 0.15), 0, 0.4),
        (awning & (np.floor(x * 8) % 2 < 1), (0.95, 0.95, 0.95), 0.2, 0.4),
    ]  # fmt: skip
