"""How two frames are compared: difference, effect, what is visible, and overlays that only echo what is pressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Frame

Mask: TypeAlias = NDArray[np.bool_]
"""`(height, width)`: True where a pixel is looked at, or, as an overlay, where it is not."""

VISIBLE_LEVELS = 1
"""A pixel differs if a channel is further apart than this: one level is rounding."""
VISIBLE_PX = 4
"""Fewer pixels than this are no picture that changed."""
GRID_CELLS = 12
"""Rows and columns of the coarse picture, in which pixel noise averages out."""
ECHO_LEVELS = 4
"""A display of the controls is there to be seen."""
FADED_SHARE = 0.125
"""An echo is either on or off. What is on its way in or out, such as the tint of a weather, is still there."""
MOST_OVERLAY_SHARE = 0.25
"""What echoes the controls over more of the picture than this is no overlay but the picture."""


def distance(a: Frame, b: Frame) -> NDArray[np.int16]:
    """Largest channel difference of each pixel, `(height, width)`."""
    largest: NDArray[np.int16] = np.abs(a.astype(np.int16) - b.astype(np.int16)).max(axis=2)
    return largest


def differs(a: Frame, b: Frame, *, overlay: Mask | None = None, levels: int = VISIBLE_LEVELS) -> bool:
    """Whether enough pixels outside the overlay are further apart than `levels`."""
    if np.array_equal(a, b):
        return False
    far = distance(a, b) > levels
    return int((far if overlay is None else far & ~overlay).sum()) >= VISIBLE_PX


def effect(a: Frame, b: Frame, overlay: Mask | None = None) -> float:
    """Root mean square over the pixels outside the overlay and all channels, in levels of 0..255."""
    if np.array_equal(a, b):
        return 0.0
    square = (a.astype(np.float32) - b.astype(np.float32)) ** 2
    kept = square if overlay is None else square[~overlay]
    return float(np.sqrt(kept.mean())) if kept.size else 0.0


def coarse(frame: Frame, overlay: Mask | None = None) -> NDArray[np.float32]:
    """Mean colour of each cell of a grid, `(cells, 3)` float32; pixels of the overlay count as their cell's black."""
    height, width = frame.shape[:2]
    rows = np.linspace(0, height, min(GRID_CELLS, height) + 1).astype(int)
    columns = np.linspace(0, width, min(GRID_CELLS, width) + 1).astype(int)
    values = frame.astype(np.float32)
    if overlay is not None:
        values[overlay] = 0
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1], axis=0), columns[:-1], axis=1)
    area = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    means: NDArray[np.float32] = (sums / area[:, :, None]).reshape(-1, 3).astype(np.float32)
    return means


def psnr_db(a: Frame, b: Frame) -> float:
    """Peak signal to noise ratio; 99 for equal frames."""
    mean = float(((a.astype(np.float32) - b.astype(np.float32)) ** 2).mean())
    return 99.0 if mean == 0 else min(99.0, 10 * float(np.log10(255**2 / mean)))


def echo_mask(pairs: Sequence[tuple[Sequence[Frame], Sequence[Frame]]], hold: int, levels: int) -> Mask:
    """Pixels that show whether a control is pressed and nothing else.

    `pairs`: for each of several moments, the frames of a run in which the control is pressed for `hold` ticks and then
    let go, and those of one in which it is not. An echo is on for `hold` frames, a frame more or less and at most two
    frames late, is gone afterwards, and is at the same place in every moment. What the world does with a press is
    elsewhere in another moment, or stays after the release.
    """
    found: Mask | None = None
    for pressed, idle in pairs:
        apart = np.stack([distance(a, b) for a, b in zip(pressed, idle, strict=True)])
        peak = apart.max(axis=0)
        far = apart > np.maximum(levels, peak * FADED_SHARE)
        on = far[: hold + 3].sum(axis=0)
        echoes = (peak > ECHO_LEVELS) & (on >= hold - 1) & (on <= hold + 1) & ~far[hold + 3 :].any(axis=0)
        found = echoes if found is None else found & echoes
    assert found is not None, "at least one moment"
    return found


def as_overlay(mask: Mask) -> Mask | None:
    """The mask one pixel wider, for the soft edges of letters; None if there is none or it is too much for one."""
    if not mask.any():
        return None
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    wider = np.logical_or.reduce(shifted)
    return wider if wider.mean() <= MOST_OVERLAY_SHARE else None
