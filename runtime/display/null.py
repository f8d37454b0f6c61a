"""The display of a headless session: nothing is shown, and neither GL nor a window library is imported."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core import Clock, DisplayError, Frame


class NullDisplay:
    """Shows nothing and costs nothing; remembers the last frame by reference. Overlays are ignored."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: Frame | None = None

    def present(self, frame: Frame) -> int:
        self._last = frame
        return self._clock.now_ns()

    def present_with_overlay(self, frame: Frame, overlay_rgba: NDArray[np.uint8] | None) -> int:
        return self.present(frame)

    def read(self) -> Frame:
        """The last frame presented. Raises DisplayError before the first."""
        if self._last is None:
            raise DisplayError("nothing to read: expected a presented frame, got none; call present first")
        return self._last

    def close(self) -> None:
        self._last = None
