"""Videos as they are meant to be seen: frames with their times, turned and mirrored as the file says, in their shape.

Times are the file's own timestamps, from its first frame on; what a header says of the rate is not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError
from .clips import Resizer

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".gif", ".m4v", ".ts", ".flv", ".ogv")
MAX_FRAMES = 400_000
ALIKE = 0.02
"""Shapes whose sides' ratio differs by less are the same shape."""
NOT_VIDEOS = ("image2", "tty", "hls", "concat", "sdp")
FIXED_POINT = 1 << 16
USUAL_RATES = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001))


@dataclass(frozen=True)
class Film:
    """What a video is, looked at without decoding it all. `ratio`: width to height as shown. `rate_hz`: frames a second
    by their timestamps, as it is meant; `mean_s`: between two of them, as it is. `frame_s`: the time most frames are
    shown. `frames`: how many packets of pictures it has."""

    path: Path
    height_px: int
    width_px: int
    rate_hz: Fraction
    mean_s: float
    frame_s: float
    frames: int

    @property
    def ratio(self) -> float:
        return self.width_px / self.height_px


@dataclass(frozen=True)
class Picture:
    """`image`: turned upright. `ratio`: of its sides, as shown. `time_s`: from the first frame on."""

    number: int
    time_s: float
    image: NDArray[np.uint8]
    ratio: float


def look(path: Path) -> Film:
    """NextframeError, in one line, for what is no video."""
    with opened(path) as (container, stream):
        times = sorted(
            packet.pts * packet.time_base
            for packet in container.demux(stream)
            if packet.pts is not None and packet.size and not packet.is_discard
        )
        said = Fraction(stream.average_rate or 20)
    first = next(pictures(path), None)
    if first is None:
        raise NextframeError(f"{path}: expected a video, got a file without a single picture")
    height, width = first.image.shape[:2]
    width = round(height * first.ratio)
    steps = np.diff(np.array([float(time) for time in times]))
    steps = steps[steps > 0]
    if not len(steps) or times[-1] <= times[0]:
        return Film(path, height, width, said, float(1 / said), float(1 / said), max(1, len(times)))
    mean_s = (times[-1] - times[0]) / (len(times) - 1)
    return Film(path, height, width, usual(1 / mean_s), float(mean_s), float(np.median(steps)), len(times))


def usual(rate: Fraction) -> Fraction:
    """The rate that is meant: containers round their timestamps."""
    near = min((Fraction(round(rate)), *USUAL_RATES, rate.limit_denominator(4)), key=lambda one: abs(one - rate))
    return near or rate.limit_denominator(1000)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its stream of pictures."""
    try:
        with av.open(str(path)) as container:
            kind = container.format.name
            if kind.endswith("_pipe") or kind in NOT_VIDEOS:
                raise NextframeError(f"{path}: expected a video, got a file of the kind {kind.removesuffix('_pipe')}")
            covers = getattr(av.stream.Disposition, "attached_pic", 0)
            streams = [one for one in container.streams.video if not one.disposition & covers]
            if not streams:
                kinds = sorted({str(one.type) for one in container.streams}) or ["nothing"]
                raise NextframeError(f"{path}: expected a video, got a file without pictures ({', '.join(kinds)} only)")
            streams[0].thread_type = "AUTO"
            yield container, streams[0]
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise NextframeError(f"{path}: expected a video that can be read to its end: {_plain(error)}") from error


def pictures(path: Path) -> Iterator[Picture]:
    """Every frame in the order of its time. Damaged ones, and times that run backward, are refused."""
    with opened(path) as (container, stream):
        said = Fraction(stream.average_rate or 20)
        pixel_ratio = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        began: Fraction | None = None
        last_s = -1.0
        for number, frame in enumerate(container.decode(stream)):
            if number >= MAX_FRAMES:
                raise NextframeError(f"{path}: expected at most {MAX_FRAMES} frames; cut the video")
            if frame.is_corrupt:
                raise NextframeError(f"{path}: expected a video that can be read to its end, frame {number} is damaged")
            time = number / said if frame.pts is None else frame.pts * frame.time_base
            began = time if began is None else began
            time_s = float(time - began)
            if time_s < last_s:
                raise NextframeError(
                    f"{path}: expected times that run on, got frame {number} at {time_s:.2f} s after {last_s:.2f} s; "
                    "the video was joined of several: cut it, or write it anew"
                )
            last_s = time_s
            yield _upright(path, Picture(number, time_s, frame.to_ndarray(format="rgb24"), 0.0), frame, pixel_ratio)


def _upright(path: Path, picture: Picture, frame: Any, pixel_ratio: Fraction) -> Picture:
    """Turned and mirrored by the display matrix: x' = a x + c y, y' = b x + d y."""
    a, b, c, d = _display_matrix(frame)
    image, ratio = picture.image, pixel_ratio
    if min(abs(a), abs(b)) > 0.01 * FIXED_POINT:
        raise NextframeError(f"{path}: expected a video turned by quarters, got one aslant; write it upright")
    if abs(a) >= abs(b):
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    else:
        image = image.transpose(1, 0, 2)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
        ratio = 1 / pixel_ratio
    height, width = image.shape[:2]
    return Picture(picture.number, picture.time_s, image, float(width * ratio / height))


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return FIXED_POINT, 0, 0, FIXED_POINT
    numbers = np.frombuffer(bytes(data), np.int32)
    return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])


class Fitter:
    """Frames to `size_px` (height, width), which stands for pictures of `ratio`; others get bars, or are refused."""

    def __init__(self, size_px: tuple[int, int], ratio: float, *, letterbox: bool) -> None:
        self._size_px, self._ratio, self._letterbox = size_px, ratio, letterbox
        self._resizers: dict[tuple[int, int], Resizer] = {}

    def __call__(self, path: Path, picture: Picture) -> NDArray[np.uint8]:
        height, width = self._size_px
        wider = picture.ratio / self._ratio
        if abs(wider - 1) < ALIKE:
            return self._resized(picture.image, height, width)
        if not self._letterbox:
            raise NextframeError(
                f"{path}: expected pictures of one shape, got {picture.ratio:.2f} times as wide as high in frame "
                f"{picture.number}, others {self._ratio:.2f}; leave it out, or give --size WxH to put bars beside it"
            )
        inner_height = max(1, round(height / wider)) if wider > 1 else height
        inner_width = max(1, round(width * wider)) if wider < 1 else width
        framed = np.zeros((height, width, 3), np.uint8)
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        framed[top : top + inner_height, left : left + inner_width] = self._resized(
            picture.image, inner_height, inner_width
        )
        return framed

    def _resized(self, image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        return self._resizers.setdefault((height, width), Resizer(height, width))(image)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
