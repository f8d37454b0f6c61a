"""Data from a folder of videos and a table of actions (`table`): frames resampled to the world's ticks by their times.

A tick shows the newest frame that is due, and is told the actions of all frames since the tick before, joined. Frames
without a row, and pauses in the recording, end an episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError
from . import lag as lags
from .clips import Clips, as_clips
from .films import ALIKE, VIDEO_SUFFIXES, Film, Fitter, Picture, look, pictures
from .table import ActionTable, read_actions

__all__ = ["ActionTable", "Survey", "read_actions", "survey", "video_clips"]

PAUSE_S, PAUSE_FRAMES = 0.5, 5
"""A frame that stays for longer than both is a pause in the recording."""
SURVEYED_VIDEOS, SURVEYED_FRAMES = 6, 600
SAME_RATE = 0.01
"""A video whose own frames come at the ticks' rate to within this is taken frame by frame, at its own."""


@dataclass(frozen=True)
class Survey:
    """What was learned of the videos before any data is made. `ratio`: of the shape that all are brought to. `lag`: by
    how many frames rows come late. `notes`: what the user should be told."""

    films: Mapping[str, Film]
    height_px: int
    width_px: int
    rate_hz: Fraction
    lag: int
    notes: tuple[str, ...]

    @property
    def ratio(self) -> float:
        return self.width_px / self.height_px


def survey(folder: Path, table: ActionTable, *, lag: int | None = None, letterbox: bool = False) -> Survey:
    """Look at every video that the table names; compare actions with motion. `lag`: what the user says of it."""
    films = {name: look(path) for name, path in named(folder, table).items()}
    first = next(iter(films.values()))
    notes = [*table.notes, *_shapes(films, first, letterbox=letterbox)]
    notes += [_lag_of(films, table, lag)]
    for name, film in films.items():
        refuse_rows_beyond(table, name, film.frames, lag or 0)
    rates = sorted(film.rate_hz for film in films.values())
    return Survey(films, first.height_px, first.width_px, rates[len(rates) // 2], lag or 0, tuple(filter(None, notes)))


def named(folder: Path, table: ActionTable) -> dict[str, Path]:
    """The file of each video in the table, which may give a path or leave out the suffix."""
    if not folder.is_dir():
        raise NextframeError(f"--from-video {folder}: expected a folder of videos")
    there = sorted(path for path in folder.iterdir() if path.is_file())
    films = [path for path in there if path.suffix.lower() in VIDEO_SUFFIXES]
    found: dict[str, Path] = {}
    for name in table.rows:
        last = PurePosixPath(name.replace("\\", "/")).name
        fitting = [path for path in there if path.name == last] or [path for path in films if path.stem == last]
        if len(fitting) == 1:
            found[name] = fitting[0]
    missing = sorted(set(table.rows) - set(found))
    if missing:
        raise NextframeError(f"{folder}: expected the videos that the table names, {', '.join(missing[:4])} missing")
    return found


def _shapes(films: Mapping[str, Film], first: Film, *, letterbox: bool) -> list[str]:
    unlike = [film for film in films.values() if abs(film.ratio / first.ratio - 1) >= ALIKE]
    if not unlike:
        return []
    shown = ", ".join(f"{film.path.name} {film.width_px}x{film.height_px}" for film in unlike[:4])
    words = f"{first.path.name} is {first.width_px}x{first.height_px}, but {shown}"
    if not letterbox:
        raise NextframeError(
            f"{first.path.parent}: expected videos of one shape, {words}; leave these out, or give --size WxH to put "
            "bars beside them"
        )
    return [f"unlike shapes: {words}; bars are put beside them"]


# --- the table beside the picture -----------------------------------------------------------------------------------


def refuse_rows_beyond(table: ActionTable, name: str, frames: int, lag: int) -> None:
    """Rows for frames that the video does not have; those that a lag moves over an end are no mistake."""
    beyond = [number for number in table.rows[name] if number - lag >= frames + max(0, -lag)]
    if not beyond:
        return
    first = min(beyond)
    line = table.lines.get(name, {}).get(first)
    hint = "; does it count from 1? give --action-lag 1" if 0 not in table.rows[name] and len(beyond) == 1 else ""
    raise NextframeError(
        f"{table.path}{f':{line}' if line else ''}: expected frames 0 to {frames - 1}, which {name} has, got rows for "
        f"{len(beyond)} more, from {first} on{hint}"
    )


def _lag_of(films: Mapping[str, Film], table: ActionTable, said: int | None) -> str:
    motion, actions = [], []
    for name, film in list(films.items())[:SURVEYED_VIDEOS]:
        moved = lags.Motion()
        for picture, _ in zip(pictures(film.path), range(SURVEYED_FRAMES), strict=False):
            moved.add(picture.image)
        motion.append(moved.features())
        actions.append(_by_row(table, name, len(motion[-1]), said or 0))
    return judged(table, lags.fit(motion, actions), said)


def _by_row(table: ActionTable, name: str, frames: int, lag: int) -> NDArray[np.float32]:
    """The action of each frame, NaN where there is none."""
    rows = np.full((frames, table.controls.condition_dim), np.nan, np.float32)
    for number, action in table.rows[name].items():
        if 0 <= number - lag < frames:
            rows[number - lag] = action
    return rows


def judged(table: ActionTable, fit: lags.Fit | None, said: int | None) -> str:
    """What is to be said of the fit; a table that is off is refused unless the user has said so."""
    if fit is None:
        return ""
    if not fit.told:
        return "actions explain too little of what moves to tell whether they stand beside the right frames"
    shares = f"{100 * fit.best:.0f} % of the motion there, {100 * fit.here:.0f} % where they stand"
    if not fit.off:
        moved = f" moved by --action-lag {said}" if said else " where they stand"
        return f"actions fit the frames{moved} ({100 * fit.here:.0f} % of the motion explained)"
    total = (said or 0) + fit.lag_frames
    way = "too late" if fit.lag_frames > 0 else "too early"
    words = (
        f"the actions stand {abs(fit.lag_frames)} frame{'s' * (abs(fit.lag_frames) > 1)} {way}: they explain {shares}"
    )
    if said is None:
        raise NextframeError(
            f"{table.path}: expected each action beside the frame it led into, but {words}; give --action-lag {total} "
            "to move them, or --action-lag 0 to take them as they are"
        )
    return f"{words}; --action-lag {said} was said"


# --- frames to ticks -------------------------------------------------------------------------------------------------


def video_clips(
    folder: Path,
    table: ActionTable,
    size_px: tuple[int, int],
    repeat: int,
    *,
    looked: Survey | None = None,
    letterbox: bool = False,
) -> Iterator[Clips]:
    """One `Clips` per video that has actions: about every `repeat`-th frame, at the rate that all videos share."""
    looked = looked or survey(folder, table, letterbox=letterbox)
    fitter = Fitter(size_px, looked.ratio, letterbox=letterbox)
    tick_s = repeat / float(looked.rate_hz)
    for name, film in looked.films.items():
        own_s = repeat * film.mean_s
        period_s = own_s if abs(own_s / tick_s - 1) < SAME_RATE else tick_s
        ticks, frames = [], 0
        for picture, times, begins in placed(film, period_s):
            frames = picture.number + 1
            image = fitter(film.path, picture) if times else None
            ticks += [(picture.number, image, begins and nth == 0) for nth in range(times)]
        refuse_rows_beyond(table, name, frames, looked.lag)
        yield as_clips(_episodes(ticks, table, name, looked.lag))


def placed(film: Film, period_s: float) -> Iterator[tuple[Picture, int, bool]]:
    """Every frame with the number of ticks that show it, often none, and whether a recording begins with it."""
    early_s = film.frame_s / 2
    began_s, tick, begins = 0.0, 0, True
    for picture, after in pairwise((*pictures(film.path), None)):
        if picture is None:
            return
        pause = after is not None and after.time_s - picture.time_s > max(PAUSE_S, PAUSE_FRAMES * film.frame_s)
        until_s = picture.time_s + early_s if after is None or pause else after.time_s - early_s
        last = int(np.floor((until_s - began_s) / period_s + 1e-9))
        times = max(0, last - tick + 1)
        yield picture, times, begins
        tick, begins = tick + times, begins and not times
        if pause and after is not None:
            began_s, tick, begins = after.time_s, 0, True


def _episodes(
    ticks: list[tuple[int, Any, bool]], table: ActionTable, name: str, lag: int
) -> Iterator[dict[str, list[Any]]]:
    """Runs of ticks of which each has the actions of all frames since the one before."""
    actions, axes, size = table.rows[name], len(table.controls.space.axes), table.controls.condition_dim
    frames: list[Any] = []
    conditions: list[Any] = []
    before = -1
    for number, image, begins in ticks:
        since = [actions.get(frame + lag) for frame in range(before + 1, number + 1)]
        known = [action for action in since if action is not None]
        if frames and (begins or len(known) < len(since)):
            if len(frames) > 1:
                yield {"frames": frames, "conditions": conditions}
            frames, conditions = [], []
        conditions.append(merged(known if frames else [], axes, size))
        frames.append(image)
        before = number
    if len(frames) > 1:
        yield {"frames": frames, "conditions": conditions}


def merged(actions: list[NDArray[np.float32]], axes: int, size: int) -> NDArray[np.float32]:
    """Actions of several frames as one: an axis by its mean, a button if it was held in any."""
    if not actions:
        return np.zeros(size, np.float32)
    stacked = np.stack(actions)
    return np.concatenate([stacked[:, :axes].mean(0), stacked[:, axes:].max(0)]).astype(np.float32)
