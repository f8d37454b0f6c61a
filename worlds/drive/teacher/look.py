"""What weather and hour make of everything in one picture, and the two brushes that all painters share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import art


@dataclass(frozen=True)
class Look:
    """What weather and hour make of everything, for one picture."""

    light: NDArray
    zenith: NDArray
    skyline: NDArray
    haze_per_m: float
    leaves: NDArray
    dark: float
    weather: NDArray
    time: NDArray

    @staticmethod
    def of(weather: NDArray, time: NDArray) -> Look:
        both = np.outer(weather, time)[..., None]
        light, zenith, skyline = ((both * table).sum((0, 1)) for table in (art.LIGHT, art.ZENITH, art.SKYLINE))
        return Look(
            light, zenith, skyline, float(weather @ art.HAZE_PER_M), weather @ art.LEAVES, float(time @ art.DARK),
            weather, time,
        )  # fmt: skip


def soft_step(edge: NDArray, width: NDArray | float) -> NDArray:
    """1 where `edge` is positive, 0 where negative, a ramp of `width` between."""
    return np.clip(edge / width + 0.5, 0, 1)


def hazed(colour: NDArray, ahead: NDArray | float, look: Look) -> NDArray:
    """Colours `(..., 3)` as they look through `ahead` metres of air."""
    part = 1 - np.exp(-np.asarray(ahead) * look.haze_per_m)
    return colour + part[..., None] * (look.skyline - colour)
