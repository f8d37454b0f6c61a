"""Where a player is: the contract that a window fulfils, and a browser can.

A surface gives commands and typed text, and shows frames with a HUD over them, which it is given as data. One thread
uses it, the one that made it.
"""

from __future__ import annotations

from typing import Protocol

from ..core import Frame
from .hud import Hud


class Surface(Protocol):
    """Control input goes to the input latch that the surface was made with; `pump` is when."""

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of what can be drawn on, now."""
        ...

    @property
    def text_being_typed(self) -> str | None:
        """What stands in the prompt line, None while it is closed."""
        ...

    def pump(self) -> list[str]:
        """Take the input that has arrived. Returns the commands that were given, in order: "quit", "pause",
        "release:rewind", "prompt:rainy night"."""
        ...

    def take_notices(self) -> list[str]:
        """What the player should be told about devices, oldest first; each once."""
        ...

    def show(self, frame: Frame) -> int:
        """A new frame, under the last HUD. Returns when it was handed to the screen, in ns."""
        ...

    def show_hud(self, hud: Hud, *, now: bool) -> None:
        """The HUD from here on. `now`: draw it over the last frame at once; else the next frame brings it."""
        ...

    def screenshot(self) -> Frame:
        """The picture as it is shown, at the surface's size, without the HUD."""
        ...

    def capture_mouse(self, captured: bool) -> None:
        """Hold the pointer, so that relative motion never runs into an edge."""
        ...


class Drawable(Protocol):
    """What the GL display needs of a window: its size, and the moment its picture is shown."""

    @property
    def size_px(self) -> tuple[int, int]: ...

    def flip(self) -> None: ...
