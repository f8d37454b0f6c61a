"""Single pictures on disk: contact sheets and still images. No half-written file stands under its final name."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import Frame, NextframeError

JPEG_QUALITY = "3"
"""ffmpeg's scale: 2 is best, 31 worst."""


class VideoError(NextframeError):
    """A picture or video that cannot be written."""


def cannot_write(path: Path, error: Exception) -> VideoError:
    return VideoError(f"cannot write {path}: {error}; check that the folder is writable and the disk is not full")


class ContactSheet:
    """A grid of frames from a whole session in one picture, in bounded memory.

    `every_ticks` takes every such frame until `columns * rows` are there. None takes them evenly from a session of
    any length: when the sheet overflows, every other picture goes and the distance doubles.
    """

    def __init__(self, *, every_ticks: int | None = None, columns: int = 6, rows: int = 5, gap_px: int = 2) -> None:
        self._adaptive = every_ticks is None
        self.every_ticks = every_ticks or 1
        self._columns = columns
        self._capacity = columns * rows
        self._gap_px = gap_px
        self._seen = 0
        self._kept: list[Frame] = []

    def add(self, frame: Frame) -> None:
        """Offer the next tick's frame; all must be of one size."""
        if self._seen % self.every_ticks == 0:
            if len(self._kept) == self._capacity and self._adaptive:
                self._kept = self._kept[::2]
                self.every_ticks *= 2
            if len(self._kept) < self._capacity and self._seen % self.every_ticks == 0:
                self._kept.append(frame.copy())
        self._seen += 1

    def picture(self) -> Frame:
        """The sheet as one image. Raises VideoError if no frame was added."""
        if not self._kept:
            raise VideoError("contact sheet: expected at least one frame, got none; run at least one tick")
        height, width, _ = self._kept[0].shape
        columns = min(self._columns, len(self._kept))
        rows = -(-len(self._kept) // columns)
        gap = self._gap_px
        sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 24, np.uint8)
        for index, frame in enumerate(self._kept):
            top = gap + index // columns * (height + gap)
            left = gap + index % columns * (width + gap)
            sheet[top : top + height, left : left + width] = frame
        return sheet

    def write(self, path: Path | str) -> Path:
        return write_still(path, self.picture())


STILLS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".webp": "libwebp"}
"""By suffix: the codec."""


def check_still_name(path: Path, option: str) -> None:
    """VideoError for a name whose suffix is not one that can be written."""
    if path.suffix.lower() not in STILLS:
        raise VideoError(f"{option} {path}: expected a name ending in {', '.join(STILLS)}, got '{path.suffix}'")


def write_still(path: Path | str, image: NDArray[np.uint8]) -> Path:
    """Write a (height, width, 3) uint8 image in the format that its name says, whole or not at all."""
    path = Path(path)
    check_still_name(path, "picture")
    if path.suffix.lower() == ".png":
        return write_png(path, image)
    import av
    import av.error

    height, width, _ = image.shape
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(part), "w", format="image2", options={"update": "1"}) as container:
            stream: Any = container.add_stream(STILLS[path.suffix.lower()])
            webp = path.suffix.lower() == ".webp"
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p" if webp else "yuvj444p"
            stream.options = {"quality": "92"} if webp else {"qmin": JPEG_QUALITY, "qmax": JPEG_QUALITY}
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        os.replace(part, path)
    except (OSError, av.error.FFmpegError) as error:
        raise cannot_write(path, error) from error
    return path


def write_png(path: Path | str, image: NDArray[np.uint8]) -> Path:
    """Write a (height, width, 3) or (height, width, 4) uint8 image as PNG, whole or not at all."""
    path = Path(path)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8 or image.size == 0:
        raise VideoError(
            f"{path}: expected a uint8 image of shape (height, width, 3 or 4), got {image.dtype} of {image.shape}"
        )
    height, width, channels = image.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row starts with its filter type: 0, none
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path
