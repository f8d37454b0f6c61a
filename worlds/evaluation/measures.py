"""Measures on pixels, shared by the evaluation: fidelity, edges, and whether just the right cars show.

Everything works on `(height, width, 3)` uint8 frames and knows nothing about the network that made them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
MOVING_LEVELS = 8
"""A pixel moves when any channel of two true frames in a row differs by more than this."""

K1, K2 = 0.01, 0.03
WINDOW = np.exp(-np.square(np.arange(-5, 6) / 1.5) / 2)
WINDOW /= WINDOW.sum()


def psnr_db(error: NDArray[np.float64]) -> float:
    """Pooled PSNR of squared errors on the 0..1 scale."""
    return float(-10 * np.log10(max(float(np.mean(error)), 1e-10)))


def squared_error(a: Image, b: Image) -> NDArray[np.float64]:
    """`(height, width)`, mean over channels, 0..1 scale."""
    return ((a.astype(np.float64) - b) / 255).__pow__(2).mean(-1)


def ssim(a: Image, b: Image) -> float:
    """Structural similarity of the grey pictures, -1..1, 1 for equal ones: the mean of the map over all whole windows
    (Wang et al. 2004, Image quality assessment, eq. 13: Gaussian window of 11 px, sigma 1.5, K1 = 0.01, K2 = 0.03)."""
    x, y = (image.astype(np.float64).mean(-1) / 255 for image in (a, b))
    mean_x, mean_y = _windowed(x), _windowed(y)
    of_x, of_y = (_windowed(part * part) - mean * mean for part, mean in ((x, mean_x), (y, mean_y)))
    both = _windowed(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    return float((light * (2 * both + K2**2) / (of_x + of_y + K2**2)).mean())


def _windowed(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means under a Gaussian window, `(height - 10, width - 10)`."""
    for axis in (0, 1):
        size = grey.shape[axis] - len(WINDOW) + 1
        grey = sum(w * grey.take(range(k, k + size), axis) for k, w in enumerate(WINDOW))
    return grey


def moving(before: Image, now: Image) -> NDArray[np.bool_]:
    return np.abs(now.astype(np.int16) - before).max(-1) > MOVING_LEVELS


def edge_energy(frame: Image) -> float:
    """Mean squared difference of neighbours, grey, 0..1 scale: what blur loses first."""
    grey = frame.astype(np.float64).mean(-1) / 255
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())


def likeness(frame: Image, real: Image, background: Image, x: float, y: float) -> float:
    """How much what stands before the background at (x, y) looks like the real thing: correlation in a window, -1..1.

    Zero if the two differ in strength by more than a factor of two: a faded car is not a car.
    """
    rows, columns = square_around(frame, x, y)
    drawn, true = (image[rows, columns].astype(np.float64) - background[rows, columns] for image in (frame, real))
    strength, true_strength = float(np.square(drawn).sum()), float(np.square(true).sum())
    if true_strength == 0 or not 0.25 <= strength / true_strength <= 4:
        return 0.0
    return float((drawn * true).sum() / np.sqrt(strength * true_strength))


def strangers(frame: Image, real: Image, known: list[tuple[float, float]], levels: int = 35) -> int:
    """Pixels that differ from the real picture by more than `levels`, away from the known cars: anything else there."""
    differs = np.abs(frame.astype(np.int16) - real).max(-1) > levels
    for x, y in known:
        rows, columns = square_around(frame, x, y)
        differs[rows, columns] = False
    return int(differs.sum())


def square_around(frame: Image, x: float, y: float, size: int = 30) -> tuple[slice, slice]:
    """Rows and columns of the square around (x, y), kept inside the frame."""
    top = min(max(round(y) - size // 2, 0), frame.shape[0] - size)
    left = min(max(round(x) - size // 2, 0), frame.shape[1] - size)
    return slice(top, top + size), slice(left, left + size)


def visible_change(a: Image, b: Image, levels: int = 8) -> int:
    """How many pixels differ by at least `levels`."""
    return int((np.abs(a.astype(np.int16) - b).max(-1) >= levels).sum())
