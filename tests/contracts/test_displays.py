"""The contract of every display: frames go in, the clock's time comes out, and all show the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from zlib import crc32

import numpy as np
import pytest

from nextframe.runtime.core import Display, Frame, ManualClock
from nextframe.runtime.display.gl import EGLDisplay, GLDisplay
from nextframe.runtime.display.null import NullDisplay
from nextframe.runtime.tick.latch import InputLatch
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures

WIDTH_PX, HEIGHT_PX = 40, 30
Opened = tuple[Display, ManualClock, Callable[[], Frame]]


@pytest.fixture(params=["null", "egl", "window"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """A display, its clock, and a function that reads back what it shows."""
    clock = ManualClock()
    with ExitStack() as stack:
        if request.param == "null":
            null = NullDisplay(clock)
            yield null, clock, null.read
        elif request.param == "egl":
            egl = EGLDisplay((WIDTH_PX, HEIGHT_PX), (WIDTH_PX, HEIGHT_PX), clock)
            yield egl, clock, egl.read
            egl.close()
        else:
            request.getfixturevalue("xvfb")
            from nextframe.runtime.display.window import Window

            size_px = (WIDTH_PX, HEIGHT_PX)
            window = stack.enter_context(Window("contract", size_px, latch=InputLatch(), commands={}, scale=1))
            gl = GLDisplay(window, clock, size_px)
            yield gl, clock, gl.screenshot
            gl.close()


def frames() -> list[Frame]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8) for _ in range(5)]


def test_present_returns_the_clocks_time(opened: Opened) -> None:
    display, clock, _ = opened
    for frame in frames():
        clock.advance_ns(50_000_000)
        assert display.present(frame) == clock.now_ns()


def test_every_display_shows_the_same_pixels(opened: Opened) -> None:
    display, _, read = opened
    for frame in frames():
        display.present(frame)
        assert crc32(read().tobytes()) == crc32(frame.tobytes())


def test_presenting_does_not_change_the_frame(opened: Opened) -> None:
    display, _, _ = opened
    frame = frames()[0]
    frame.setflags(write=False)
    display.present(frame)
    assert np.array_equal(frame, frames()[0])


def test_close_can_be_called_twice(opened: Opened) -> None:
    display, _, _ = opened
    display.present(frames()[0])
    display.close()
    display.close()
