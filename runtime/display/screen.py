"""The desktop window as a `Surface`: the newest frame under the newest HUD, drawn when one of them changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core import Frame
from .gl import GLDisplay
from .hud import Hud
from .painter import HudPainter
from .window import Window


class Screen:
    """`frame`: what is shown until the first one comes. The window and the display stay their maker's to close."""

    def __init__(self, window: Window, display: GLDisplay, frame: Frame) -> None:
        self._window, self._display, self._frame = window, display, frame
        self._painter = HudPainter()
        self._overlay: NDArray[np.uint8] | None = None

    @property
    def size_px(self) -> tuple[int, int]:
        return self._window.size_px

    @property
    def text_being_typed(self) -> str | None:
        return self._window.text_being_typed

    def pump(self) -> list[str]:
        return self._window.pump()

    def take_notices(self) -> list[str]:
        return self._window.take_notices()

    def show(self, frame: Frame) -> int:
        self._frame = frame
        return self._display.present_with_overlay(frame, self._overlay)

    def show_hud(self, hud: Hud, *, now: bool) -> None:
        self._overlay = self._painter.render(hud, self.size_px)
        if now:
            self._display.present_with_overlay(self._frame, self._overlay)

    def screenshot(self) -> Frame:
        return self._display.screenshot(with_overlay=False)

    def capture_mouse(self, captured: bool) -> None:
        self._window.capture_mouse(captured)
