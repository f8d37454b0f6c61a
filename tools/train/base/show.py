"""What a training run shows while it runs: a bar per part with the time left and the loss, or lines in a log.

Where stderr is no terminal a line is printed every so often instead. Film strips: real over made.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....runtime.display.formats import enlarge
from ....runtime.display.stills import write_png

LINE_EVERY_S = 20.0
GAP_PX = 2


class Bar:
    """One part of a run. `update(done)` in the units of `total`; the note stands beside the bar."""

    def __init__(self, title: str, total: float, *, every_s: float = LINE_EVERY_S) -> None:
        self.title, self.total = title, total
        self._every_s, self._said_s = every_s, -1e9
        self._began_s, self._first = time.monotonic(), 0.0

    def update(self, done: float, note: str = "") -> None:
        """A line in the log, if it is time for one."""
        now_s = time.monotonic()
        if now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            share = min(1.0, done / self.total) if self.total else 1.0
            gone = done - self._first
            left_s = (now_s - self._began_s) * (self.total - done) / gone if gone > 0 else None
            eta = "" if left_s is None else f", {clock(left_s)} left"
            print(f"{self.title}: {100 * share:.0f} %{eta}{'; ' if note else ''}{note}", file=sys.stderr, flush=True)

    def begin(self, done: float) -> None:
        """Where a resumed part stands: what was done before says nothing of how fast this goes."""
        self._first = done


class RichBar(Bar):
    def __init__(self, title: str, total: float, progress: object, task: object) -> None:
        super().__init__(title, total)
        self._progress, self._task = progress, task

    def update(self, done: float, note: str = "") -> None:
        self._progress.update(self._task, completed=done, note=note)  # type: ignore[attr-defined]


@contextmanager
def bar(title: str, total: float, done: float = 0.0) -> Iterator[Bar]:
    if not sys.stderr.isatty():
        plain = Bar(title, total)
        plain.begin(done)
        yield plain
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description:10}"), bars.BarColumn(), bars.TaskProgressColumn(), bars.TimeElapsedColumn(),
        bars.TextColumn("left"), bars.TimeRemainingColumn(), bars.TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with bars.Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as progress:
        task = progress.add_task(title, total=total, note="")
        progress.update(task, completed=done)
        yield RichBar(title, total, progress, task)


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def film_strip(path: Path, real: NDArray[np.uint8], made: NDArray[np.uint8], *, most: int = 10) -> Path:
    """`real`, `made`: `(clips, ticks, height, width, 3)`. Per clip a row of real frames over a row of made ones."""
    ticks = np.linspace(0, real.shape[1] - 1, min(most, real.shape[1])).astype(int)
    rows = []
    for true, free in zip(real, made, strict=True):
        rows += [_row(true[ticks]), _row(free[ticks]), np.full((3 * GAP_PX, 1, 3), 255, np.uint8)]
    width = max(row.shape[1] for row in rows)
    padded = [row if row.shape[1] == width else row.repeat(width, 1) for row in rows[:-1]]
    sheet = np.concatenate(padded)
    write_png(path, np.ascontiguousarray(enlarge(sheet, max(1, round(900 / width)))))
    return path


def _row(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = np.full((frames.shape[1], GAP_PX, 3), 255, np.uint8)
    parts = [part for frame in frames for part in (frame, gap)]
    row = np.concatenate(parts[:-1], 1)
    return np.concatenate([row, np.full((GAP_PX, row.shape[1], 3), 255, np.uint8)])
