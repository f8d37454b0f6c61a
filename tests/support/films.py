"""Videos of a dot that two buttons move, written as people's programs write them, with their tables of actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT_PX, WIDTH_PX, SPEED_PX = 64, 96, 2
Action = tuple[int, int]
Picture = NDArray[np.uint8]


@lru_cache(maxsize=4)
def play(count: int = 320, seed: int = 0, width: int = WIDTH_PX) -> tuple[list[Picture], list[Action]]:
    """Frames, and the action that led into each: (left, right), held for a few frames."""
    rng = np.random.default_rng(seed)
    x, y, left, held = width // 2, HEIGHT_PX // 4, 0, (0, 0)
    frames, actions = [], []
    for number in range(count):
        if left == 0:
            held, left = ((0, 0), (1, 0), (0, 1))[rng.integers(3)], int(rng.integers(2, 9))
        left -= 1
        if number:
            x = int(np.clip(x + SPEED_PX * (held[1] - held[0]), 6, width - 7))
        frame = np.full((HEIGHT_PX, width, 3), 40, np.uint8)
        frame[: HEIGHT_PX // 2] += 30
        frame[y - 4 : y + 5, x - 4 : x + 5] = (250, 220, 40)
        frames.append(frame)
        actions.append(held)
    return frames, actions


def dot(frame: Picture) -> tuple[float, float]:
    """Row and column of the dot's middle, as shares of the picture's sides."""
    lit = np.argwhere((frame[..., 0] > 160) & (frame[..., 2] < 130))
    return float(lit[:, 0].mean() + 0.5) / frame.shape[0], float(lit[:, 1].mean() + 0.5) / frame.shape[1]


def write(
    path: Path,
    frames: Sequence[Picture],
    *,
    rate: Fraction | int = 20,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    pixel_ratio: Fraction | None = None,
) -> None:
    """`times_ms`: when each frame is shown; `rate` is then only what the header says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_ratio is not None:
            stream.codec_context.sample_aspect_ratio = pixel_ratio
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if pixels != "yuv420p":
                picture = picture.reformat(format=pixels)
            if times_ms is not None:
                picture.pts, picture.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Put a display matrix into an mp4: a phone stores what its sensor saw, and says how to hold it."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd")
    at += 4 + 4 + (32 if data[at + 4] else 20) + 16
    a, b, c, d = ((value * 65536) & 0xFFFFFFFF for value in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in values)
    path.write_bytes(bytes(data))


def table(
    path: Path,
    actions: Sequence[Action],
    *,
    video: str = "a.mp4",
    first: int = 0,
    head: str = "video,frame,left,right",
    separator: str = ",",
    encoding: str = "utf-8",
    cell: Callable[[int], str] = str,
    frame: Callable[[int], str] = str,
    line: Callable[[int, str], str] = lambda number, text: text,
    end: str = "\n",
) -> Path:
    lines = [line(-1, head.replace(",", separator))]
    for number, action in enumerate(actions):
        lines.append(line(number, separator.join([video, frame(number + first), *map(cell, action)])))
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=44100)
        for _ in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def image(path: Path) -> None:
    with av.open(str(path), "w", format="image2") as container:
        stream: Any = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = HEIGHT_PX, WIDTH_PX, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(play()[0][0], format="rgb24")))
        container.mux(stream.encode())
