"""Animated pictures for pages: `.gif` with a palette of its own, or `.webp`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from ..core import Frame
from .encoder import palette_of, write_images
from .formats import ANIMATIONS, enlarge
from .stills import VideoError, cannot_write


def write_animation(path: Path | str, frames: Iterable[Frame], fps: Fraction, *, scale: int = 2) -> Path:
    """Write an endlessly repeating animated picture for a README: `.gif` (own palette) or `.webp`.

    GIF counts in hundredths of a second and viewers slow down anything above 50 fps. Holds all frames in memory.
    """
    path, fps = Path(path), Fraction(fps)
    suffix = path.suffix.lower()
    if suffix not in ANIMATIONS:
        raise VideoError(f"{path}: expected a name ending in .gif or .webp, got '{path.suffix}'")
    pictures = [enlarge(frame, scale) for frame in frames]
    if not pictures:
        raise VideoError(f"{path}: expected at least one frame to animate, got none")
    height, width, _ = pictures[0].shape
    part = path.with_name(path.stem + ".part" + suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        palette = palette_of(_images(pictures, fps), width, height, fps) if suffix == ".gif" else None
        write_images(part, _images(pictures, fps), fps, (width, height), palette=palette)
        os.replace(part, path)
    except (OSError, av.error.FFmpegError) as error:
        raise cannot_write(path, error) from error
    return path


def _images(pictures: list[Frame], fps: Fraction) -> Iterable[av.VideoFrame]:
    for number, picture in enumerate(pictures):
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        image.pts, image.time_base = number, 1 / fps
        yield image
