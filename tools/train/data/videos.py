"""Data from a folder of videos and a table of actions.

The table is CSV with a head line `video,frame,NAME,...`: the action that led into that frame of that video, one line a
frame. A column of only 0 and 1 is a button, any other an axis from -1 to 1. Frames without a line end an episode.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ....runtime.core import AXIS_LEVELS, ActionSpace, NextframeError, quantise_axis
from .clips import Clips, Resizer, as_clips
from .controls import Controls, unique_names

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".gif")
MAX_FRAMES = 400_000


@dataclass(frozen=True)
class ActionTable:
    """`rows`: video name -> frame number -> values, in the order of `names` (axes, then buttons)."""

    controls: Controls
    rows: dict[str, dict[int, NDArray[np.float32]]]


def read_actions(path: Path) -> ActionTable:
    """Raises `NextframeError` with file and line."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NextframeError(f"{path}: expected a table of actions as CSV: {error}") from error
    head = [cell.strip() for cell in lines[0]] if lines else []
    if len(head) < 3 or head[:2] != ["video", "frame"]:
        raise NextframeError(f"{path}:1: expected a head line such as video,frame,left,right, got {','.join(head)!r}")
    keys: list[tuple[str, int]] = []
    values: list[list[float]] = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            numbers = [float(cell) for cell in line[2:]]
            keys.append((line[0].strip(), int(line[1])))
        except (ValueError, IndexError) as error:
            raise NextframeError(f"{path}:{number}: expected video, frame and numbers: {error}") from error
        if len(numbers) != len(head) - 2 or not all(-1 <= value <= 1 for value in numbers):
            raise NextframeError(f"{path}:{number}: expected {len(head) - 2} values in -1..1, got {','.join(line[2:])}")
        values.append(numbers)
    if not values:
        raise NextframeError(f"{path}: expected a line for each frame, got only the head")
    return _table(head[2:], keys, np.array(values))


def _table(names: list[str], keys: list[tuple[str, int]], values: NDArray[Any]) -> ActionTable:
    clean = unique_names(names)
    button = [bool(np.isin(column, (0.0, 1.0)).all()) for column in values.T]
    axes = [at for at, pressed in enumerate(button) if not pressed]
    order = [*axes, *(at for at, pressed in enumerate(button) if pressed)]
    space = ActionSpace(tuple(clean[at] for at in order[len(axes) :]), tuple(clean[at] for at in axes))
    rows: dict[str, dict[int, NDArray[np.float32]]] = {}
    for (video, frame), value in zip(keys, values, strict=True):
        levels = [quantise_axis(float(value[at])) / AXIS_LEVELS for at in axes]
        picked = [float(value[at]) for at in order[len(axes) :]]
        rows.setdefault(video, {})[frame] = np.array([*levels, *picked], np.float32)
    return ActionTable(Controls("recorded", space), rows)


def first_size(folder: Path) -> tuple[int, int, Fraction]:
    """Height, width and rate of the first video."""
    for path in _videos(folder):
        with _opened(path) as container:
            stream = container.streams.video[0]
            return stream.height, stream.width, Fraction(stream.average_rate or 20)
    raise NextframeError(f"{folder}: expected videos ({', '.join(VIDEO_SUFFIXES)}), found none")


def video_clips(folder: Path, table: ActionTable, size_px: tuple[int, int], repeat: int) -> Iterator[Clips]:
    """One `Clips` per video that has actions. Every `repeat`-th frame is kept; the actions between them are joined: an
    axis by its mean, a button if it was held in any."""
    known = {path.name: path for path in _videos(folder)}
    missing = sorted(set(table.rows) - set(known))
    if missing:
        raise NextframeError(f"{folder}: expected the videos that the table names, {', '.join(missing[:4])} missing")
    resize, axes = Resizer(*size_px), len(table.controls.space.axes)
    for name, actions in table.rows.items():
        episodes: list[dict[str, list[Any]]] = []
        frames: list[Any] = []
        conditions: list[Any] = []
        between: list[NDArray[np.float32]] = []
        for number, picture in enumerate(_frames(known[name])):
            action = actions.get(number)
            if action is None and frames:
                episodes.append({"frames": frames, "conditions": conditions})
                frames, conditions, between = [], [], []
            if action is not None and frames:
                between.append(action)
            if not frames or len(between) == repeat:
                conditions.append(merged(between, axes, table.controls.condition_dim))
                frames.append(resize(picture))
                between = []
        episodes.append({"frames": frames, "conditions": conditions})
        yield as_clips(episode for episode in episodes if len(episode["frames"]) > 1)


def merged(actions: list[NDArray[np.float32]], axes: int, size: int) -> NDArray[np.float32]:
    if not actions:
        return np.zeros(size, np.float32)
    stacked = np.stack(actions)
    return np.concatenate([stacked[:, :axes].mean(0), stacked[:, axes:].max(0)]).astype(np.float32)


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NextframeError(f"--from-video {folder}: expected a folder of videos")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)


def _opened(path: Path) -> Any:
    try:
        return av.open(str(path))
    except (OSError, av.error.FFmpegError) as error:
        raise NextframeError(f"{path}: expected a video that can be read: {error}") from error


def _frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    with _opened(path) as container:
        try:
            for number, frame in enumerate(container.decode(video=0)):
                if number >= MAX_FRAMES:
                    raise NextframeError(f"{path}: expected at most {MAX_FRAMES} frames; cut the video")
                yield frame.to_ndarray(format="rgb24")
        except av.error.FFmpegError as error:
            raise NextframeError(f"{path}: the video cannot be read to its end: {error}") from error
