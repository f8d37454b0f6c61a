"""What is on the window: the newest frame under the newest HUD. Part of the composition root."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core import Frame
from .panel import Panel

if TYPE_CHECKING:  # the modules themselves are imported once a window is wanted
    from .gl import GLDisplay
    from .window import Window

REDRAW_NS = 100_000_000
"""The HUD's numbers change this often; drawing text costs more than showing a frame."""


class Screen:
    """What is on the window: the newest frame under the newest HUD, drawn again only when one of them changed."""

    def __init__(self, window: Window, display: GLDisplay, panel: Panel, frame: Frame) -> None:
        self.window, self.display, self.panel = window, display, panel
        self.commands: list[str] = []  # given while loading, to be obeyed once there is a session
        self._frame = frame
        self._overlay: NDArray[np.uint8] | None = None
        self._drawn_ns = 0
        self._size_px = (0, 0)

    def show(self, frame: Frame) -> int:
        """A new frame, now; returns when the window took it, in ns."""
        self._frame = frame
        return self._draw()

    def refresh(self, now: bool = False) -> None:
        """Redraw when the HUD is due or the window has changed its size."""
        if now or time.monotonic_ns() - self._drawn_ns >= REDRAW_NS or self.window.size_px != self._size_px:
            self._draw(overlay_due=True)

    def _draw(self, overlay_due: bool = False) -> int:
        now_ns, size_px = time.monotonic_ns(), self.window.size_px
        if overlay_due or now_ns - self._drawn_ns >= REDRAW_NS or size_px != self._size_px:
            self._overlay = self.panel.overlay(size_px, self.window.text_being_typed)
            self._drawn_ns, self._size_px = now_ns, size_px
        return self.display.present_with_overlay(self._frame, self._overlay)
