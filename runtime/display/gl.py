"""Frames through OpenGL: in a window, or offscreen through EGL. Both show the same pixels as the null display does:
at a whole scale, exactly the frame's.

GPU textures, scaling and the blending of an overlay. Whatever runs headless imports `null` instead, and no GL.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import moderngl
import numpy as np
from numpy.typing import NDArray

from ..core import Clock, DisplayError, Frame
from .surface import Drawable

Filter = Literal["crisp", "smooth"]
"""`crisp`: square pixels at a whole scale where one fits. `smooth`: linear, as large as fits."""

UPLOAD_BUFFERS = 3
"""Pixel buffers taken in turn, so that a new frame never waits for the GPU to finish reading the last one."""

VERTEX_SHADER = """
#version 330 core
out vec2 uv;
void main() {  // one triangle that covers the viewport; row 0 of a texture is the top of the picture
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
    uv = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}
"""
FRAGMENT_SHADER = """
#version 330 core
uniform sampler2D picture;
in vec2 uv;
out vec4 colour;
void main() { colour = texture(picture, uv); }
"""


class Viewport(NamedTuple):
    """Where the frame lies in the window, in pixels; `x`, `y` of the lower left corner, as OpenGL counts."""

    x: int
    y: int
    width: int
    height: int


def letterbox(window_size_px: tuple[int, int], frame_size_px: tuple[int, int], integer: bool) -> Viewport:
    """The largest centred rectangle of the frame's shape. `integer`: at a whole scale, if scale 1 fits at all."""
    window_width, window_height = window_size_px
    frame_width, frame_height = frame_size_px
    if min(window_size_px) <= 0:
        return Viewport(0, 0, 0, 0)
    whole = min(window_width // frame_width, window_height // frame_height)
    if integer and whole >= 1:
        width, height = frame_width * whole, frame_height * whole
    elif window_width * frame_height <= window_height * frame_width:
        width, height = window_width, max(1, window_width * frame_height // frame_width)
    else:
        width, height = max(1, window_height * frame_width // frame_height), window_height
    return Viewport((window_width - width) // 2, (window_height - height) // 2, width, height)


class FrameBlitter:
    """Draws frames, and an overlay above them, into the bound framebuffer. Everything is allocated beforehand.

    `frame_size_px` is (width, height) and fixed; the window's size may change between any two draws.
    """

    def __init__(self, ctx: moderngl.Context, frame_size_px: tuple[int, int], *, filter: Filter = "crisp") -> None:
        self._ctx: Any = ctx  # moderngl types its properties as they read; they accept more when written
        self._frame_size_px = frame_size_px
        self._integer = filter == "crisp"
        self._program = ctx.program(vertex_shader=VERTEX_SHADER, fragment_shader=FRAGMENT_SHADER)
        self._triangle = ctx.vertex_array(self._program, [])
        width, height = frame_size_px
        self._frame_texture = ctx.texture(frame_size_px, 3, alignment=1)
        mode = moderngl.NEAREST if self._integer else moderngl.LINEAR
        self._frame_texture.filter = (mode, mode)
        self._frame_texture.repeat_x = self._frame_texture.repeat_y = False
        self._buffers = [ctx.buffer(reserve=width * height * 3, dynamic=True) for _ in range(UPLOAD_BUFFERS)]
        self._next_buffer = 0
        self._overlay: NDArray[np.uint8] | None = None
        self._overlay_texture: Any = None

    def upload(self, frame: Frame) -> None:
        """Copy the frame to the GPU. Raises DisplayError if it has another size or type than promised."""
        width, height = self._frame_size_px
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise DisplayError(
                f"frame does not fit the display: expected uint8 of shape {(height, width, 3)}, "
                f"got {frame.dtype} of shape {frame.shape}; open the display with the world's frame size"
            )
        buffer = self._buffers[self._next_buffer]
        self._next_buffer = (self._next_buffer + 1) % UPLOAD_BUFFERS
        buffer.orphan()
        buffer.write(np.ascontiguousarray(frame))
        self._frame_texture.write(buffer, alignment=1)

    def draw(self, window_size_px: tuple[int, int], overlay: NDArray[np.uint8] | None = None) -> None:
        """Draw the last uploaded frame, letterboxed on black, and `overlay` (RGBA, straight alpha) over the window.

        An overlay is uploaded when it is another array than last time: change it by making a new one. An overlay
        made for another window size is stretched for the moment until the next one.
        """
        if min(window_size_px) <= 0:  # minimised: there is nothing to draw on
            return
        self._ctx.disable(moderngl.BLEND)
        self._ctx.viewport = (0, 0, *window_size_px)
        self._ctx.clear(0.0, 0.0, 0.0, 1.0)
        self._ctx.viewport = tuple(letterbox(window_size_px, self._frame_size_px, self._integer))
        self._frame_texture.use(0)
        self._triangle.render(moderngl.TRIANGLES, vertices=3)
        if overlay is None:
            return
        self._upload_overlay(overlay)
        self._ctx.viewport = (0, 0, *window_size_px)
        self._ctx.enable(moderngl.BLEND)
        self._ctx.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA, moderngl.ONE, moderngl.ONE
        self._overlay_texture.use(0)
        self._triangle.render(moderngl.TRIANGLES, vertices=3)

    def _upload_overlay(self, overlay: NDArray[np.uint8]) -> None:
        if overlay is self._overlay:
            return
        if overlay.ndim != 3 or overlay.shape[2] != 4 or overlay.dtype != np.uint8:
            raise DisplayError(
                f"overlay: expected uint8 of shape (height, width, 4), got {overlay.dtype} of shape {overlay.shape}; "
                "paint it with nextframe.runtime.display.painter"
            )
        size_px = (overlay.shape[1], overlay.shape[0])
        if self._overlay_texture is None or self._overlay_texture.size != size_px:
            if self._overlay_texture is not None:
                self._overlay_texture.release()
            self._overlay_texture = self._ctx.texture(size_px, 4, alignment=1)
            self._overlay_texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._overlay_texture.write(np.ascontiguousarray(overlay), alignment=1)
        self._overlay = overlay

    def release(self) -> None:
        """Give the GPU memory back."""
        textures = [t for t in (self._frame_texture, self._overlay_texture) if t is not None]
        for resource in (*textures, *self._buffers, self._triangle, self._program):
            resource.release()


class GLDisplay:
    """Shows frames in a window whose OpenGL context is current on this thread. Closing it leaves the window open."""

    def __init__(
        self,
        window: Drawable,
        clock: Clock,
        frame_size_px: tuple[int, int],
        *,
        filter: Filter = "crisp",
    ) -> None:
        self._window = window
        self._clock = clock
        self._ctx = _create_context(standalone=False)
        self._blitter: FrameBlitter | None = FrameBlitter(self._ctx, frame_size_px, filter=filter)
        self._overlay: NDArray[np.uint8] | None = None

    def present(self, frame: Frame) -> int:
        """Show the frame without an overlay; returns the time at which the window took it, in ns."""
        return self.present_with_overlay(frame, None)

    def present_with_overlay(self, frame: Frame, overlay_rgba: NDArray[np.uint8] | None) -> int:
        """Show the frame with an RGBA overlay of the window's size above it (see `FrameBlitter.draw`)."""
        blitter = self._open_blitter()
        blitter.upload(frame)
        self._overlay = overlay_rgba
        self._ctx.screen.use()
        blitter.draw(self._window.size_px, overlay_rgba)
        self._window.flip()
        return self._clock.now_ns()

    def screenshot(self, *, with_overlay: bool = True) -> Frame:
        """The window's picture as last presented, at the window's size (at least 1x1)."""
        blitter = self._open_blitter()
        width, height = self._window.size_px
        target = self._ctx.simple_framebuffer((max(1, width), max(1, height)), 4)
        try:
            target.use()  # drawn again: after a flip, what the back buffer holds is undefined
            blitter.draw(target.size, self._overlay if with_overlay else None)
            return _read(target)
        finally:
            self._ctx.screen.use()
            target.release()

    def _open_blitter(self) -> FrameBlitter:
        if self._blitter is None:
            raise DisplayError("the display is closed: expected an open one; make a new GLDisplay")
        return self._blitter

    def close(self) -> None:
        """Release the GPU objects; call before closing the window. A second call does nothing."""
        if self._blitter is not None:
            self._blitter.release()
            self._blitter = None


class EGLDisplay:
    """Draws offscreen, as a window of `size_px` (width, height) would: for machines without a desktop, and tests."""

    def __init__(
        self,
        size_px: tuple[int, int],
        frame_size_px: tuple[int, int],
        clock: Clock,
        *,
        filter: Filter = "crisp",
    ) -> None:
        self._clock = clock
        self._ctx: Any = _create_context(standalone=True)
        with self._ctx:
            self._target = self._ctx.simple_framebuffer(size_px, 4)
            self._blitter = FrameBlitter(self._ctx, frame_size_px, filter=filter)

    def present(self, frame: Frame) -> int:
        """Draw the frame and wait for the GPU; returns the time it was done, in ns."""
        return self.present_with_overlay(frame, None)

    def present_with_overlay(self, frame: Frame, overlay_rgba: NDArray[np.uint8] | None) -> int:
        with self._open_context():
            self._target.use()
            self._blitter.upload(frame)
            self._blitter.draw(self._target.size, overlay_rgba)
            self._ctx.finish()
        return self._clock.now_ns()

    def read(self) -> Frame:
        """The picture as last presented, (height, width, 3)."""
        with self._open_context():
            return _read(self._target)

    def _open_context(self) -> Any:
        if self._ctx is None:
            raise DisplayError("the display is closed: expected an open one; make a new EGLDisplay")
        return self._ctx

    def close(self) -> None:
        """Release the GPU objects. A second call does nothing."""
        if self._ctx is not None:
            with self._ctx:
                self._blitter.release()
                self._target.release()
            self._ctx.release()
            self._ctx = None


def _create_context(*, standalone: bool) -> moderngl.Context:
    """The window's current context, or a new one through EGL. Raises DisplayError if there is no OpenGL 3.3."""
    settings: dict[str, Any] = {"standalone": True, "backend": "egl"} if standalone else {}
    try:
        return moderngl.create_context(require=330, **settings)
    except Exception as error:  # glcontext raises the bare class Exception, nothing narrower
        kind = "offscreen OpenGL 3.3 through EGL" if standalone else "OpenGL 3.3 in the window"
        raise DisplayError(
            f"no OpenGL: expected {kind}, got '{' '.join(str(error).split())}'; install a graphics driver "
            "(or Mesa's software one), or run without pictures with `nextframe run`"
        ) from error


def _read(target: Any) -> Frame:
    """A framebuffer's RGB as a frame, row 0 at the top."""
    width, height = target.size
    pixels = np.frombuffer(target.read(components=3, alignment=1), dtype=np.uint8)
    return np.ascontiguousarray(pixels.reshape(height, width, 3)[::-1])
