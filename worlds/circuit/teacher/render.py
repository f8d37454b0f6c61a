"""Pictures of simulator states: the blended background, two cars with shadows, and their headlights.

Owns how a `State` looks, `(192, 256, 3)` uint8. Works on small patches around the cars, so a frame costs well under
a millisecond. Knows nothing about physics.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .art import Art, load_art
from .simulator import TIMES, Car, State
from .track import HEIGHT_PX, WIDTH_PX

SPRITE_SCALE = 8
CAR_LENGTH_PX, CAR_WIDTH_PX = 19.0, 10.0
PATCH_PX = 28
CONE_PX = 64
PAINTS = {"player": (0.93, 0.10, 0.08), "rival": (0.10, 0.34, 0.95)}


class Renderer:
    """`draw(state) -> frame`. Paints the art once on construction (a few seconds), then only copies and blends."""

    def __init__(self, art: Art | None = None) -> None:
        self.art = art or load_art()
        self._sprites = {name: _sprite(paint) for name, paint in PAINTS.items()}
        self._flat = self.art.backgrounds.reshape(-1, HEIGHT_PX, WIDTH_PX, 3)

    def background(self, state: State) -> NDArray[np.uint8]:
        """The scene without cars, `(192, 256, 3)` uint8."""
        weights = np.outer(state.weather, state.time).ravel()
        used = np.flatnonzero(weights > 1e-6)
        if len(used) == 1:
            return self._flat[used[0]].copy()
        scaled = np.rint(weights[used] * 256).astype(np.uint32)
        total = sum(
            (int(w) * self._flat[k].astype(np.uint32) for k, w in zip(used, scaled, strict=True)), np.uint32(128)
        )
        return np.minimum(total >> 8, 255).astype(np.uint8)

    def draw(self, state: State) -> NDArray[np.uint8]:
        frame = self.background(state)
        dark = state.time[TIMES.index("night")] + 0.35 * state.time[TIMES.index("dusk")]
        weights = np.outer(state.weather, state.time)
        cars = (("rival", state.rival), ("player", state.player))
        if dark > 0.01:
            for _, car in cars:
                self._headlights(frame, car, weights, dark)
        tint = np.tensordot(weights, self.art.tint, 2) + 0.22 * dark
        haze = np.tensordot(weights, self.art.haze, 2)
        for name, car in cars:
            self._car(frame, name, car, tint, haze, dark)
        return frame

    def visible(self, car: Car) -> float:
        """The part of the car that no roof hides, 0 to 1."""
        _, _, alpha, _ = self._sample("player", car)
        patch = self._window(car.x, car.y, PATCH_PX)
        rows, columns = patch
        open_sky = 1 - self.art.cover[rows, columns]
        inside = alpha[: open_sky.shape[0], : open_sky.shape[1]] if alpha.shape != open_sky.shape else alpha
        return float((inside * open_sky).sum() / max(alpha.sum(), 1e-6))

    # --- parts ------------------------------------------------------------------------------------------------

    def _window(self, x: float, y: float, size: int) -> tuple[slice, slice]:
        left, top = int(x) - size // 2, int(y) - size // 2
        left, top = min(max(left, 0), WIDTH_PX - size), min(max(top, 0), HEIGHT_PX - size)
        return slice(top, top + size), slice(left, left + size)

    def _local(self, car: Car, rows: slice, columns: slice, samples: int) -> tuple[NDArray, NDArray]:
        """Coordinates along and across the car for each sample of the window, px."""
        offsets = (np.arange(samples) + 0.5) / samples
        x = (np.arange(columns.start, columns.stop)[:, None] + offsets).ravel() - car.x
        y = (np.arange(rows.start, rows.stop)[:, None] + offsets).ravel() - car.y
        c, s = math.cos(car.heading), math.sin(car.heading)
        return x[None, :] * c + y[:, None] * s, -x[None, :] * s + y[:, None] * c

    def _sample(self, name: str, car: Car) -> tuple[slice, slice, NDArray, NDArray]:
        rows, columns = self._window(car.x, car.y, PATCH_PX)
        along, across = self._local(car, rows, columns, 2)
        texture = self._sprites[name]
        # The sprite's border is empty, so clamping reads transparency outside it.
        v = np.clip((across + 7) * SPRITE_SCALE, 0, texture.shape[0] - 1).astype(np.intp)
        u = np.clip((along + 12) * SPRITE_SCALE, 0, texture.shape[1] - 1).astype(np.intp)
        colour = texture.reshape(-1, 5).take(v * texture.shape[1] + u, axis=0)
        colour = colour.reshape(PATCH_PX, 2, PATCH_PX, 2, 5).mean(axis=(1, 3))
        return rows, columns, colour[..., 3], colour

    def _car(  # noqa: PLR0917 - where, who, and three facts of the light
        self, frame: NDArray[np.uint8], name: str, car: Car, tint: NDArray, haze: NDArray, dark: float
    ) -> None:
        rows, columns, alpha, colour = self._sample(name, car)
        open_sky = 1 - self.art.cover[rows, columns]
        patch = frame[rows, columns].astype(np.float32) / 255
        along, across = self._local(car, rows, columns, 1)
        lift = 1.6 * (1 - dark)
        c, s = math.cos(car.heading), math.sin(car.heading)
        shifted_u, shifted_v = along - lift * (c + s), across - lift * (c - s)
        shadow = np.clip(1.35 - (np.abs(shifted_u / 11.0) ** 4 + np.abs(shifted_v / 6.2) ** 4), 0, 1) * 0.42
        patch *= 1 - (shadow * open_sky)[..., None]
        body = colour[..., :3] * tint
        lamp = colour[..., 4]
        glow = np.where(along[..., None] < 0, (1.0, 0.10, 0.06), (1.0, 0.96, 0.80))
        strength = np.where(along < 0, np.maximum(0.55 * dark, 0.95 * car.braking), 0.15 + 0.85 * dark)
        body += (lamp * strength)[..., None] * glow
        body += haze[:3] * alpha[..., None] * haze[3] * 0.6 - body * haze[3] * 0.6
        patch = patch * (1 - (alpha * open_sky)[..., None]) + body * open_sky[..., None]
        halo = np.exp(-(((along + 10) / 4.0) ** 2 + (across / 6.0) ** 2)) * (
            0.10 * dark + 0.30 * car.braking * (0.4 + 0.6 * dark)
        )
        patch += (halo * open_sky)[..., None] * np.array((1.0, 0.12, 0.06))
        frame[rows, columns] = np.rint(np.clip(patch, 0, 1) * 255).astype(np.uint8)

    def _headlights(self, frame: NDArray[np.uint8], car: Car, weights: NDArray, dark: float) -> None:
        reach = 22.0
        cx, cy = car.x + reach * math.cos(car.heading), car.y + reach * math.sin(car.heading)
        rows, columns = self._window(cx, cy, CONE_PX)
        along, across = self._local(car, rows, columns, 1)
        ahead = along - 8.0
        spread = 3.5 + 0.42 * np.maximum(ahead, 0)
        cone = np.exp(-((across / spread) ** 2)) * np.clip(ahead / 5, 0, 1) * np.exp(-np.maximum(ahead, 0) / 17.0)
        near = self.visible(car)
        cone = cone * (1 - self.art.cover[rows, columns]) * (dark * near)
        ground = np.zeros((CONE_PX, CONE_PX, 3), np.float32)
        for i, j in np.argwhere(weights > 1e-3):
            ground += weights[i, j] * self.art.glow[i, j, rows, columns]
        patch = frame[rows, columns].astype(np.float32)
        patch += (cone[..., None] * ground) * np.array((255.0, 235.0, 190.0))
        frame[rows, columns] = np.rint(np.minimum(patch, 255)).astype(np.uint8)


def _sprite(paint: tuple[float, float, float]) -> NDArray[np.float32]:
    """A car from above at `SPRITE_SCALE`, nose to the right: RGB premultiplied, alpha, lamp mask."""
    h, w = 14 * SPRITE_SCALE, 24 * SPRITE_SCALE
    x = (np.arange(w) + 0.5) / SPRITE_SCALE - 12
    y = (np.arange(h) + 0.5) / SPRITE_SCALE - 7
    u, v = np.meshgrid(x, y)

    def box(cx: float, cy: float, length: float, width: float, corner: float) -> NDArray[np.bool_]:
        dx, dy = np.abs(u - cx) - length / 2 + corner, np.abs(v - cy) - width / 2 + corner
        return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) < corner

    rgb, alpha, lamp = np.zeros((h, w, 3)), np.zeros((h, w)), np.zeros((h, w))

    def paint_on(mask: NDArray[np.bool_], colour: tuple[float, ...]) -> None:
        rgb[mask], alpha[mask] = colour, 1.0

    half_length, half_width = CAR_LENGTH_PX / 2, CAR_WIDTH_PX / 2
    for cx in (-5.6, 5.4):
        for cy in (-half_width + 0.5, half_width - 0.5):
            paint_on(box(cx, cy, 4.2, 2.0, 0.5), (0.09, 0.09, 0.10))
    paint_on(box(0, 0, CAR_LENGTH_PX, CAR_WIDTH_PX - 1.2, 2.6), paint)
    rgb[box(0, 0, CAR_LENGTH_PX, CAR_WIDTH_PX - 1.2, 2.6) & (v > 2.9)] = tuple(0.72 * c for c in paint)
    paint_on(box(3.0, 0, 3.0, 7.0, 1.0), (0.10, 0.14, 0.20))
    paint_on(box(-1.6, 0, 6.4, 6.4, 1.2), tuple(min(1.0, 0.80 * c + 0.10) for c in paint))
    paint_on(box(-5.6, 0, 1.8, 6.2, 0.6), (0.12, 0.16, 0.22))
    paint_on(box(-1.6, 0, 6.4, 1.7, 0.2), (0.96, 0.96, 0.94))
    paint_on(box(6.9, 0, 4.0, 1.7, 0.2), (0.96, 0.96, 0.94))
    paint_on(box(-half_length + 0.9, 0, 1.6, CAR_WIDTH_PX - 0.6, 0.4), (0.13, 0.13, 0.15))
    for cy in (-3.0, 3.0):
        lamp[box(half_length - 1.0, cy, 1.6, 1.8, 0.4)] = 1.0
        lamp[box(-half_length + 0.6, cy, 1.4, 2.4, 0.3)] = 1.0
    front = (lamp > 0) & (u > 0)
    rgb[front] = (0.95, 0.93, 0.80)
    back = (lamp > 0) & (u < 0)
    rgb[back] = (0.45, 0.05, 0.05)
    texture = np.dstack([rgb * alpha[..., None], alpha, lamp])
    # Two samples a pixel follow, so each must already be the mean of its half pixel.
    half = SPRITE_SCALE // 2
    for axis in (0, 1):
        shifted = [np.roll(texture, k - half // 2, axis) for k in range(half)]
        texture = sum(shifted[1:], shifted[0]) / half
    return texture.astype(np.float32)
