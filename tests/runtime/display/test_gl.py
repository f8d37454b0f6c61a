"""Claims about drawing: where the frame lies, that its pixels are exact, and that no size is too odd to draw."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nextframe.runtime.core import DisplayError, Frame, ManualClock
from nextframe.runtime.display.gl import EGLDisplay, FrameBlitter, GLDisplay, Viewport, letterbox
from nextframe.runtime.display.null import NullDisplay
from nextframe.runtime.tick.latch import InputLatch
from tests.support.paths import ROOT as REPOSITORY
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures


def noise_frame(width_px: int, height_px: int, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def upscaled(frame: Frame, scale: int) -> Frame:
    return frame.repeat(scale, axis=0).repeat(scale, axis=1)


def crop(picture: Frame, view: Viewport) -> Frame:
    """The viewport's part of a picture whose row 0 is at the top (a viewport counts from the bottom)."""
    top = picture.shape[0] - view.y - view.height
    return picture[top : top + view.height, view.x : view.x + view.width]


# --- letterbox -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "integer", "view"),
    [
        ((256, 192), True, (0, 0, 256, 192)),
        ((300, 200), True, (22, 4, 256, 192)),
        ((300, 200), False, (17, 0, 266, 200)),
        ((200, 300), False, (0, 75, 200, 150)),
        ((64, 60), True, (0, 6, 64, 48)),  # smaller than the frame: no whole scale fits
        ((1, 1), True, (0, 0, 1, 1)),
        ((0, 0), True, (0, 0, 0, 0)),
        ((0, 500), False, (0, 0, 0, 0)),
    ],
)
def test_letterbox(window: tuple[int, int], integer: bool, view: tuple[int, int, int, int]) -> None:
    assert letterbox(window, (128, 96), integer) == view


def test_a_letterbox_always_lies_inside_the_window_and_is_never_empty() -> None:
    for width in range(1, 400, 7):
        for height in range(1, 400, 7):
            for integer in (False, True):
                view = letterbox((width, height), (128, 96), integer)
                assert view.x >= 0
                assert view.y >= 0
                assert 0 < view.width <= width - view.x
                assert 0 < view.height <= height - view.y


# --- offscreen -------------------------------------------------------------------------------------------------


@pytest.fixture
def egl() -> Iterator[EGLDisplay]:
    display = EGLDisplay((300, 200), (32, 24), ManualClock())
    yield display
    display.close()


def test_a_crisp_frame_is_exact_to_the_pixel_and_the_rest_is_black(egl: EGLDisplay) -> None:
    frame = noise_frame(32, 24)
    egl.present(frame)
    view = letterbox((300, 200), (32, 24), True)
    picture = egl.read()
    assert np.array_equal(crop(picture, view), upscaled(frame, 8))
    assert picture.astype(np.int64).sum() == upscaled(frame, 8).astype(np.int64).sum(), "the border must be black"


def test_the_right_way_up(egl: EGLDisplay) -> None:
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[0, 0] = (255, 0, 0)
    egl.present(frame)
    view = letterbox((300, 200), (32, 24), True)
    assert tuple(crop(egl.read(), view)[0, 0]) == (255, 0, 0)


def test_every_frame_of_a_run_is_its_own_though_buffers_are_reused(egl: EGLDisplay) -> None:
    view = letterbox((300, 200), (32, 24), True)
    for seed in range(10):
        egl.present(noise_frame(32, 24, seed))
        assert np.array_equal(crop(egl.read(), view), upscaled(noise_frame(32, 24, seed), 8))


def test_odd_widths_are_not_sheared() -> None:
    display = EGLDisplay((33, 17), (33, 17), ManualClock())
    display.present(noise_frame(33, 17))
    assert np.array_equal(display.read(), noise_frame(33, 17))
    display.close()


def test_a_frame_that_is_a_view_is_shown_as_it_looks(egl: EGLDisplay) -> None:
    mirrored = noise_frame(32, 24)[:, ::-1]
    egl.present(mirrored)
    view = letterbox((300, 200), (32, 24), True)
    assert np.array_equal(crop(egl.read(), view), upscaled(mirrored, 8))


def test_smooth_blends_neighbours_and_crisp_does_not() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[:, 1] = 255
    shades = {}
    for name in ("crisp", "smooth"):
        display = EGLDisplay((64, 64), (2, 2), ManualClock(), filter=name)  # type: ignore[arg-type]
        display.present(frame)
        shades[name] = len(np.unique(display.read()))
        display.close()
    assert shades["crisp"] == 2
    assert shades["smooth"] > 10


def test_an_overlay_is_blended_over_the_whole_window(egl: EGLDisplay) -> None:
    overlay = np.zeros((200, 300, 4), np.uint8)
    overlay[0, 0] = (255, 255, 255, 255)
    overlay[100, 150] = (200, 100, 0, 128)
    frame = np.full((24, 32, 3), 100, np.uint8)
    egl.present_with_overlay(frame, overlay)
    picture = egl.read()
    assert tuple(picture[0, 0]) == (255, 255, 255), "over the black border too, row 0 at the top"
    assert np.abs(picture[100, 150].astype(int) - (150, 100, 50)).max() <= 1
    assert tuple(picture[100, 151]) == (100, 100, 100), "where it is transparent the frame is untouched"
    egl.present(frame)
    assert tuple(egl.read()[0, 0]) == (0, 0, 0), "without an overlay it is gone"


def test_a_new_overlay_of_another_size_replaces_the_old(egl: EGLDisplay) -> None:
    frame = np.zeros((24, 32, 3), np.uint8)
    egl.present_with_overlay(frame, np.full((200, 300, 4), 255, np.uint8))
    egl.present_with_overlay(frame, np.full((100, 150, 4), (0, 0, 255, 255), np.uint8))
    assert np.array_equal(np.unique(egl.read().reshape(-1, 3), axis=0), [[0, 0, 255]])


@pytest.mark.parametrize(
    "frame", [np.zeros((24, 31, 3), np.uint8), np.zeros((24, 32, 4), np.uint8), np.zeros((24, 32, 3), np.float32)]
)
def test_a_frame_of_another_shape_is_refused_in_one_line(egl: EGLDisplay, frame: Frame) -> None:
    with pytest.raises(DisplayError, match=r"expected uint8 of shape \(24, 32, 3\), got .* of shape") as caught:
        egl.present(frame)
    assert "\n" not in str(caught.value)


def test_an_overlay_without_alpha_is_refused(egl: EGLDisplay) -> None:
    with pytest.raises(DisplayError, match=r"expected uint8 of shape \(height, width, 4\)"):
        egl.present_with_overlay(noise_frame(32, 24), np.zeros((200, 300, 3), np.uint8))


def test_drawing_into_no_window_does_nothing(egl: EGLDisplay) -> None:
    with egl._ctx:
        blitter = FrameBlitter(egl._ctx, (32, 24))
        blitter.upload(noise_frame(32, 24))
        for size in ((0, 0), (0, 7), (7, 0)):
            blitter.draw(size, np.zeros((1, 1, 4), np.uint8))
        blitter.release()


def test_two_offscreen_displays_do_not_disturb_each_other() -> None:
    first, second = (EGLDisplay((8, 8), (8, 8), ManualClock()) for _ in range(2))
    first.present(noise_frame(8, 8, 1))
    second.present(noise_frame(8, 8, 2))
    assert np.array_equal(first.read(), noise_frame(8, 8, 1))
    assert np.array_equal(second.read(), noise_frame(8, 8, 2))
    first.close()
    assert np.array_equal(second.read(), noise_frame(8, 8, 2))
    second.close()


# --- in a window -----------------------------------------------------------------------------------------------


def test_the_window_shows_exactly_the_frame_and_survives_any_size(xvfb: str) -> None:  # noqa: F811
    from nextframe.runtime.display.window import Window

    frame = noise_frame(32, 24)
    with Window("test", (32, 24), latch=InputLatch(), commands={}, scale=4) as window:
        display = GLDisplay(window, ManualClock(), (32, 24))
        display.present(frame)
        assert np.array_equal(display.screenshot(), upscaled(frame, 4))
        sized = ResizedWindow(window)
        display._window = sized
        for size in ((300, 200), (33, 25), (7, 3), (1, 1), (0, 0), (1000, 10)):
            sized.size_px = size
            display.present_with_overlay(frame, np.zeros((5, 5, 4), np.uint8))
            picture = display.screenshot()
            assert picture.shape == (max(1, size[1]), max(1, size[0]), 3)
            if size == (300, 200):
                assert np.array_equal(crop(picture, letterbox(size, (32, 24), True)), upscaled(frame, 8))
        display.close()
        display.close()


class ResizedWindow:
    """A window that claims another size, as one does between a resize and the next event."""

    def __init__(self, window: object) -> None:
        self._window = window
        self.size_px = (0, 0)

    def flip(self) -> None:
        self._window.flip()  # type: ignore[attr-defined]


def test_what_is_really_on_the_screen_is_the_frame(xvfb: str, tmp_path: Path) -> None:  # noqa: F811
    """Read back by the X server, not by us: the front buffer holds the picture, flipped the right way."""
    import shutil

    from nextframe.runtime.display.window import Window, pygame

    if shutil.which("import") is None:
        pytest.skip("imagemagick is not installed: it reads the X screen (apt-get install imagemagick)")
    frame = noise_frame(32, 24)
    with Window("nextframe-shot", (32, 24), latch=InputLatch(), commands={}, scale=4) as window:
        display = GLDisplay(window, ManualClock(), (32, 24))
        for _ in range(3):
            window.pump()
            display.present(frame)
            pygame.time.wait(20)
        command = ["import", "-window", "nextframe-shot", "-depth", "8", "rgb:-"]
        shot = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
        display.close()
    assert np.array_equal(np.frombuffer(shot, np.uint8).reshape(96, 128, 3), upscaled(frame, 4))


# --- without GL ------------------------------------------------------------------------------------------------


def test_no_gl_is_one_clear_line() -> None:
    program = (
        "from nextframe.runtime.core import DisplayError, FixedClock\n"
        "from nextframe.runtime.display.gl import EGLDisplay\n"
        "try:\n    EGLDisplay((8, 8), (8, 8), FixedClock())\nexcept DisplayError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "GLCONTEXT_LINUX_LIBEGL": "no-such-library.so"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("no OpenGL: expected offscreen OpenGL 3.3 through EGL, got 'no-such-library.so")
    assert run.stdout.count("\n") == 1


def test_a_closed_display_says_so(egl: EGLDisplay) -> None:
    egl.close()
    with pytest.raises(DisplayError, match="closed"):
        egl.present(noise_frame(32, 24))


def test_the_null_display_has_nothing_to_read_before_the_first_frame() -> None:
    with pytest.raises(DisplayError, match="call present first"):
        NullDisplay(ManualClock()).read()
