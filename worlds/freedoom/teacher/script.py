"""What is asked of a place, tick by tick: the axes, and scripts of them. Needs no game."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AXES = ("look_x", "move_x", "move_y")


@dataclass(frozen=True)
class Script:
    """`actions`: `(ticks, 3)` of -1..1 in the order of `AXES`, of which the first `context` are true in the dream."""

    actions: NDArray[np.float32]
    context: int


def looks(values: list[float]) -> NDArray[np.float32]:
    """Turning on the spot."""
    actions = np.zeros((len(values), len(AXES)), np.float32)
    actions[:, 0] = values
    return actions
