"""Pictures on disk: H.264 video, contact sheets, PNG files and animated pictures.

Owns encoding, and that no half-written file stands under its final name. Knows nothing about worlds, ticks or GL.
Enlarging repeats pixels (nearest neighbour), so that what is seen is what the network made.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
import zlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
import av.filter
import numpy as np
from numpy.typing import NDArray

from ..core import Frame, NextframeError

QUEUE_FRAMES = 16
"""Frames that may wait for the encoder. Few, because a killed process loses them."""
BT709 = 1
"""The number of this colour standard in H.264; without a tag, players guess by picture size."""
MPEG_RANGE = 1


class VideoError(NextframeError):
    """A picture or video that cannot be written."""


def enlarge(frame: Frame, scale: int) -> Frame:
    """Every pixel repeated `scale` times in both directions."""
    return frame if scale == 1 else frame.repeat(scale, axis=0).repeat(scale, axis=1)


class VideoWriter:
    """Writes frames of `frame_size_px` (width, height) to an H.264 MP4 at `fps`, on its own thread.

    The file grows as `<name>.part.mp4` in fragments of a second, so a killed process leaves one that plays;
    `close` gives it its name. `live=False`: `add` waits for the encoder. `live=True`: `add` never waits; when the
    encoder is behind, the frame is dropped and counted, and the one before stays on screen for its time.
    `crf` is x264's quality, 0 (lossless) to 51.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction,
        frame_size_px: tuple[int, int],
        *,
        scale: int = 3,
        crf: int = 18,
        live: bool = False,
    ) -> None:
        self.path = Path(path)
        self.part_path = self.path.with_suffix(".part.mp4")
        self.frames_added = 0
        self.dropped = 0
        self._frame_shape = (frame_size_px[1], frame_size_px[0], 3)
        self._scale = scale
        self._live = live
        self._error: Exception | None = None
        self._closed = False
        self._queue: queue.Queue[tuple[int, Frame] | None] = queue.Queue(QUEUE_FRAMES)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open(Fraction(fps), frame_size_px, crf)
        except (OSError, av.error.FFmpegError) as error:
            raise _cannot_write(self.path, error) from error
        self._thread = threading.Thread(target=self._encode, name="video-writer", daemon=True)
        self._thread.start()

    def _open(self, fps: Fraction, frame_size_px: tuple[int, int], crf: int) -> None:
        # Even sides: in yuv420p one colour sample covers 2x2 pixels.
        width, height = (side * self._scale + side * self._scale % 2 for side in frame_size_px)
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container = av.open(str(self.part_path), "w", format="mp4", options=options)
        self._stream = self._container.add_stream("libx264", rate=fps)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        # zerolatency: no look-ahead, so a kill loses no frames held inside the encoder. One thread: the cores are
        # the network's.
        self._stream.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        context = self._stream.codec_context
        context.gop_size = max(1, round(fps))  # a fragment ends at each key frame
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = MPEG_RANGE
        context.time_base = 1 / fps

    def add(self, frame: Frame) -> None:
        """Write the next frame. Raises VideoError for a frame of another size, or if the file cannot be written."""
        if frame.shape != self._frame_shape or frame.dtype != np.uint8:
            raise VideoError(
                f"frame does not fit the video {self.path}: expected uint8 of shape {self._frame_shape}, "
                f"got {frame.dtype} of shape {frame.shape}; open the video with the world's frame size"
            )
        if self._closed:
            raise VideoError(f"video {self.path}: expected an open file, got one already closed; open a new one")
        self._raise_failure()
        item = (self.frames_added, frame.copy())
        self.frames_added += 1
        if self._live:
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                self.dropped += 1
        else:
            self._queue.put(item)

    def close(self) -> Path | None:
        """Finish the file under its final name and return it; None, and no file, if there was no frame."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._raise_failure()
            if self.frames_added == 0:
                self.part_path.unlink(missing_ok=True)
            else:
                os.replace(self.part_path, self.path)
        return self.path if self.frames_added else None

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise _cannot_write(self.path, self._error) from self._error

    def _encode(self) -> None:
        """The thread: encodes until the None that `close` sends. After a failure it only empties the queue."""
        item: tuple[int, Frame] | None = None
        try:
            while (item := self._queue.get()) is not None:
                self._encode_one(*item)
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
        except Exception as error:  # noqa: BLE001 - nothing may end this thread in silence: `add` would wait forever
            self._error = error  # raised by the next `add`, and by `close`
            while item is not None:
                item = self._queue.get()

    def _encode_one(self, number: int, frame: Frame) -> None:
        picture = enlarge(frame, self._scale)
        odd = ((0, self._stream.height - picture.shape[0]), (0, self._stream.width - picture.shape[1]), (0, 0))
        if odd != ((0, 0), (0, 0), (0, 0)):
            picture = np.pad(picture, odd, mode="edge")
        image = av.VideoFrame.from_ndarray(picture, format="rgb24")
        image = image.reformat(format="yuv420p", dst_colorspace="ITU709")
        image.pts = number
        image.time_base = self._stream.codec_context.time_base
        for packet in self._stream.encode(image):
            self._container.mux(packet)


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
        return write_png(path, self.picture())


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
        raise _cannot_write(path, error) from error
    return path


ANIMATIONS = {".gif": ("gif", "gif", "pal8"), ".webp": ("webp", "libwebp_anim", "yuv420p")}
"""By suffix: container, codec, pixel format. GIF plays everywhere, WebP is several times smaller."""


def write_animation(path: Path | str, frames: Iterable[Frame], fps: Fraction, *, scale: int = 2) -> Path:
    """Write an endlessly repeating animated picture for a README: `.gif` (own palette) or `.webp`.

    GIF counts in hundredths of a second and viewers slow down anything above 50 fps. Holds all frames in memory.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in ANIMATIONS:
        raise VideoError(f"{path}: expected a name ending in .gif or .webp, got '{path.suffix}'")
    pictures = [enlarge(frame, scale) for frame in frames]
    if not pictures:
        raise VideoError(f"{path}: expected at least one frame to animate, got none")
    part = path.with_name(path.stem + ".part" + suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode_animation(part, pictures, Fraction(fps))
        os.replace(part, path)
    except (OSError, av.error.FFmpegError) as error:
        raise _cannot_write(path, error) from error
    return path


def _encode_animation(path: Path, pictures: list[Frame], fps: Fraction) -> None:
    form, codec, pixels = ANIMATIONS[path.suffix.lower()]
    height, width, _ = pictures[0].shape
    with av.open(str(path), "w", format=form, options={"loop": "0"}) as container:
        stream: Any = container.add_stream(codec, rate=fps)  # typed by codec name only for names PyAV lists
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if codec == "libwebp_anim":
            stream.options = {"quality": "80", "compression_level": "6"}
        images = _images(pictures, fps)
        for image in _with_palette(images, width, height, fps) if pixels == "pal8" else images:
            for packet in stream.encode(image):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _images(pictures: list[Frame], fps: Fraction) -> Iterable[av.VideoFrame]:
    for number, picture in enumerate(pictures):
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        image.pts, image.time_base = number, 1 / fps
        yield image


def _with_palette(images: Iterable[av.VideoFrame], width: int, height: int, fps: Fraction) -> Iterable[av.VideoFrame]:
    """Reduce to one palette of 256 colours chosen from all the frames; only the changed rectangle is dithered."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / fps)
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=full:reserve_transparent=0")
    use, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for image in images:
        source.push(image)
    source.push(None)
    while True:
        try:
            yield cast(av.VideoFrame, sink.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _cannot_write(path: Path, error: Exception) -> VideoError:
    return VideoError(f"cannot write {path}: {error}; check that the folder is writable and the disk is not full")
