"""Cars as the teacher paints them: from behind, or turned, in a box on the ground before the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera import CAMERA_HEIGHT_M, FOCAL_PX, HEIGHT_PX, HORIZON_PX, WIDTH_PX
from .look import Look, hazed, soft_step
from .simulator import CAR_WIDTH_M

PAINTS = {"player": np.array((0.90, 0.12, 0.10)), "rival": np.array((0.12, 0.36, 0.92))}


@dataclass(frozen=True)
class CarView:
    """A car as the camera has it: metres to the right and ahead, turned against the view (radians), lamps, lean."""

    paint: NDArray
    right_m: float
    ahead_m: float
    turned: float
    braking: float
    lean: float = 0.0
    hazy: bool = False


def draw_car(image: NDArray, look: Look, car: CarView) -> None:
    """Into `image` `(height, width, 3)` in 0..1."""
    scale = FOCAL_PX / car.ahead_m
    facing, aside = math.cos(car.turned), math.sin(car.turned)
    half_m = 0.5 * (CAR_WIDTH_M * abs(facing) + 4.2 * abs(aside))
    middle, base = WIDTH_PX / 2 + car.right_m * scale, HORIZON_PX + CAMERA_HEIGHT_M * scale
    high, half = 1.45 * scale, (half_m + 0.15) * scale
    if high < 1.5:
        return
    left, top = max(int(middle - half * 1.15), 0), max(int(base - high * 1.15), 0)
    right, bottom = min(int(middle + half * 1.15) + 1, WIDTH_PX), min(int(base + 0.22 * scale) + 1, HEIGHT_PX)
    if left >= right or top >= bottom:
        return
    columns, rows = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    u, v = (columns - middle) / scale, (base - rows) / scale  # metres right and up
    v = v - 0.10 * car.lean * u
    colour, alpha = _painted(u / half_m, v, look, car)
    colour = hazed(colour, np.full(alpha.shape, car.ahead_m), look) if car.hazy else colour
    shadow = 0.5 * np.exp(-((u / (half_m + 0.1)) ** 6) - ((v + 0.02) / 0.16) ** 2) * (1 - 0.6 * look.dark)
    part = image[top:bottom, left:right]
    part *= 1 - shadow[..., None]
    part += alpha[..., None] * (colour - part)
    halo = np.exp(-(((np.abs(u / half_m) - 0.68) / 0.3) ** 2) - ((v - 0.62) / 0.3) ** 2)
    halo = halo * (0.32 * car.braking * (0.4 + look.dark) + 0.12 * look.dark) * (facing > 0)
    part += halo[..., None] * np.array((1.0, 0.1, 0.05))


def _painted(u: NDArray, v: NDArray, look: Look, car: CarView) -> tuple[NDArray, NDArray]:
    """Colour and opacity of a car's silhouette; `u` -1..1 across it, `v` metres up."""
    facing, aside, braking = math.cos(car.turned), math.sin(car.turned), car.braking
    soft = 0.07
    body = soft_step(0.86 - v, soft) * soft_step(v - 0.18, soft)
    body = body * soft_step(1.0 - np.abs(u) - 0.05 * np.clip(v - 0.5, 0, 1), 0.06)
    roof_half = 0.78 - 0.42 * np.clip((v - 0.8) / 0.55, 0, 1) * (1 + 0.30 * abs(aside))
    roof = soft_step(1.36 - v, soft) * soft_step(v - 0.78, soft) * soft_step(roof_half - np.abs(u), 0.06)
    outer, inner = (soft_step(0.16 - np.abs(np.abs(u) - at), 0.06) for at in (0.78, 0.55))
    wheels = soft_step(0.42 - v, soft) * soft_step(v - 0.02, soft) * np.maximum(outer, abs(aside) * inner)
    alpha = np.clip(np.maximum(np.maximum(body, roof), wheels), 0, 1)
    shade = (0.80 + 0.22 * np.clip((v - 0.2) / 0.9, 0, 1) - 0.14 * u * aside)[..., None]
    colour = np.broadcast_to(car.paint, (*u.shape, 3)) * shade
    dark = np.array((0.07, 0.07, 0.09))
    colour = colour + (wheels * (v < 0.4) * (1 - body * (v > 0.3)))[..., None] * (dark - colour)
    glass_half = 0.66 - 0.36 * np.clip((v - 0.8) / 0.55, 0, 1)
    glass = soft_step(1.26 - v, soft) * soft_step(v - 0.90, soft)
    glass = glass * soft_step(glass_half - np.abs(u + 0.25 * aside), 0.06)
    colour = colour + (glass * 0.92)[..., None] * (np.array((0.13, 0.17, 0.24)) - colour)
    bumper = soft_step(0.34 - v, soft) * soft_step(v - 0.18, soft) * soft_step(0.9 - np.abs(u), 0.06)
    colour = colour + (bumper * 0.7)[..., None] * (dark * 1.6 - colour)
    plate = soft_step(0.54 - v, soft) * soft_step(v - 0.40, soft) * soft_step(0.24 - np.abs(u), 0.05) * (facing > 0)
    colour = colour + (plate * 0.85)[..., None] * (np.array((0.92, 0.90, 0.80)) - colour)
    colour = colour * (look.light * 0.85 + 0.15 + 0.10 * look.dark)
    lamps = soft_step(0.72 - v, soft) * soft_step(v - 0.54, soft)
    lamps = lamps * soft_step(0.22 - np.abs(np.abs(u) - 0.68), 0.06)
    if facing > 0:
        bright = np.array((1.0, 0.10, 0.07)) * (max(0.45 * look.dark + 0.35, 0.98 * braking) + 0.25 * braking)
    else:
        bright = np.array((1.0, 0.96, 0.8)) * (0.3 + 0.7 * look.dark)
    return colour + (lamps * 0.95)[..., None] * (bright - colour), alpha
