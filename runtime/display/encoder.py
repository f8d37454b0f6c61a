"""The encoder's process: raw frames in on stdin, a video file out. Run by `video.VideoWriter`, one process a file.

A process of its own, because encoding in a thread takes the interpreter lock from the tick: with circuit the present
stage rose from 0.06 to 1.75 ms at the median. Input: one JSON line (`Order`), then per frame a byte `F`, its number as
little-endian u32 and `height * width * 3` bytes; `E` ends the file. When the input ends without `E` the parent is gone:
what came is written out and left under the name that the parent gave.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import av.error
import av.filter
import numpy as np

from ..core import Frame
from .formats import ANIMATIONS, CONTAINERS, END, FRAME, NUMBER, Order, enlarge

BT709 = 1
"""The number of this colour standard in H.264; without a tag, players guess by picture size."""
MPEG_RANGE = 1
NICENESS = 5
"""The tick goes first where both want one core."""


class Encoder:
    """One growing video file of frames (height, width, 3) uint8, each enlarged `scale` times."""

    def __init__(self, order: Order) -> None:
        fps, kind = Fraction(order.fps), CONTAINERS[order.suffix]
        self._scale = order.scale
        self._container = av.open(order.part, "w", format=kind.form, options=kind.options)
        self._stream = cast(av.VideoStream, self._container.add_stream(kind.codec, rate=fps))
        # Even sides: in yuv420p one colour sample covers 2x2 pixels.
        sides = [side * order.scale for side in (order.width_px, order.height_px)]
        self._stream.width, self._stream.height = (side + side % 2 for side in sides)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = dict[str, object](codec_options(kind.codec, order.crf))
        context = self._stream.codec_context
        context.gop_size = max(1, round(fps))  # a fragment ends at each key frame
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = MPEG_RANGE
        context.time_base = 1 / fps

    def add(self, number: int, frame: Frame) -> None:
        picture = enlarge(frame, self._scale)
        odd = ((0, self._stream.height - picture.shape[0]), (0, self._stream.width - picture.shape[1]), (0, 0))
        if odd != ((0, 0), (0, 0), (0, 0)):
            picture = np.pad(picture, odd, mode="edge")
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        image = image.reformat(format="yuv420p", dst_colorspace="ITU709")
        image.pts, image.time_base = number, self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(image))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def codec_options(codec: str, crf: int) -> dict[str, str]:
    """Without look-ahead, so a kill loses no frames held inside the encoder; one thread: the cores are
    the network's."""
    if codec == "libvpx-vp9":
        speed = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        return {"crf": str(min(63, crf + 12)), "b": "0", "threads": "1", **speed}
    return {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


def frames_from(stream: BinaryIO, order: Order) -> Iterator[tuple[int, Frame] | None]:
    """Each numbered frame; None where the parent said that this is all. Ends without it where the input is cut off."""
    shape = (order.height_px, order.width_px, 3)
    size_bytes = shape[0] * shape[1] * 3
    while (kind := stream.read(1)) == FRAME:
        head, body = stream.read(NUMBER.size), stream.read(size_bytes)
        if len(head) < NUMBER.size or len(body) < size_bytes:
            return
        yield NUMBER.unpack(head)[0], np.frombuffer(body, np.uint8).reshape(shape)
    if kind == END:
        yield None


def encode(stream: BinaryIO, order: Order) -> bool:
    """Write the file; whether the parent said that it is whole."""
    encoder, whole = Encoder(order), False
    for item in frames_from(stream, order):
        if item is None:
            whole = True
            break
        encoder.add(*item)
    encoder.close()
    return whole


def animate(path: Path, film: Path, fps: Fraction) -> None:
    """The frames of the video `film` as an endlessly repeating `.gif` or `.webp`, decoded twice, never all held."""
    with av.open(str(film)) as container:
        video = container.streams.video[0]
        width, height = video.width, video.height
    palette = palette_of(_decoded(film), width, height, fps) if path.suffix == ".gif" else None
    write_images(path, _decoded(film), fps, (width, height), palette=palette)


def write_images(
    path: Path,
    images: Iterable[av.VideoFrame],
    fps: Fraction,
    size_px: tuple[int, int],
    *,
    palette: av.VideoFrame | None,
) -> None:
    """Mux rgb24 images. `palette`: as `palette_of` made it from the same images, for GIF."""
    form, codec, pixels = ANIMATIONS[path.suffix.lower()]
    with av.open(str(path), "w", format=form, options={"loop": "0"}) as container:
        stream: Any = container.add_stream(codec, rate=fps)  # typed by codec name only for names PyAV lists
        (stream.width, stream.height), stream.pix_fmt = size_px, pixels
        if codec == "libwebp_anim":
            stream.options = {"quality": "80", "compression_level": "6"}
        for image in images if palette is None else _with_palette(images, palette, size_px, fps):
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def _decoded(film: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(film)) as container:
        for image in container.decode(video=0):
            time_base, number = image.time_base, image.pts
            picture = image.reformat(format="rgb24")
            picture.pts, picture.time_base = number, time_base
            yield picture


def _pull(sink: Any) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield cast(av.VideoFrame, sink.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def palette_of(images: Iterable[av.VideoFrame], width: int, height: int, fps: Fraction) -> av.VideoFrame:
    """One palette of 256 colours for all the images."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / fps)
    palette, sink = graph.add("palettegen", "stats_mode=full:reserve_transparent=0"), graph.add("buffersink")
    source.link_to(palette)
    palette.link_to(sink)
    graph.configure()
    for image in images:
        source.push(image)
    source.push(None)
    (found,) = _pull(sink)
    return found


def _with_palette(
    images: Iterable[av.VideoFrame], palette: av.VideoFrame, size_px: tuple[int, int], fps: Fraction
) -> Iterator[av.VideoFrame]:
    """Reduce to the palette; only the changed rectangle is dithered."""
    graph = av.filter.Graph()
    (width, height), form = size_px, av.VideoFormat("rgb24")
    source = graph.add_buffer(width=width, height=height, format=form, time_base=1 / fps)
    colours = graph.add_buffer(width=palette.width, height=palette.height, format=palette.format, time_base=1 / fps)
    use, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle"), graph.add("buffersink")
    source.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    palette.pts, palette.time_base = 0, 1 / fps
    colours.push(palette)
    colours.push(None)
    for image in images:
        source.push(image)
        yield from _pull(sink)
    source.push(None)
    yield from _pull(sink)


def main() -> int:
    """0: whole; 3: the input was cut off; 1: it cannot be written, and stderr says why."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends the file
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    stream = sys.stdin.buffer
    order = Order(**json.loads(stream.readline()))
    try:
        whole = encode(stream, order)
        if whole and CONTAINERS[order.suffix].converted:
            film = Path(order.part)
            made = film.with_suffix(order.suffix)  # x.part.mp4 becomes x.part.gif
            animate(made, film, Fraction(order.fps))
            film.unlink()
    except (OSError, ValueError, av.error.FFmpegError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if whole else 3


if __name__ == "__main__":
    sys.exit(main())
