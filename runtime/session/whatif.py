"""What if: a recording played as it was and, beside it, under another quality or with other weights.

It leaves a per-tick difference report and a side-by-side video. Such a run is never called verified: its right half is
not what was recorded, and its report says so.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Frame, ReplayError, World, WorldInfo
from ..display.video import VideoWriter
from ..loop import NullRecorder
from ..recording.format import Replay
from ..recording.playback import Playback, ReplayVerifier, Span, go_to_start, restore
from .outcome import write_report
from .startup import OpenWorld
from .terminal import Signals, progress_bar

SCHEMA = "nextframe.whatif/1"
DEFINITION = (
    "psnr_db: 10 log10(255^2 / mean squared error over all pixels of the tick's frames), null where they are equal; "
    "psnr_mean_db: mean over the ticks that differ"
)


@dataclass
class TickDifferences:
    """How far apart the two sides were, tick by tick."""

    first_tick: int
    psnr_db: list[float | None] = field(default_factory=list)

    def add(self, recorded: Sequence[Frame], what_if: Sequence[Frame]) -> None:
        self.psnr_db.append(psnr_db(np.stack(recorded), np.stack(what_if)))

    def report(self) -> dict[str, Any]:
        apart = [(self.first_tick + n, value) for n, value in enumerate(self.psnr_db) if value is not None]
        return {
            "ticks": len(self.psnr_db),
            "first_tick": self.first_tick,
            "identical_ticks": len(self.psnr_db) - len(apart),
            "first_differing_tick": apart[0][0] if apart else None,
            "psnr_mean_db": sum(value for _, value in apart) / len(apart) if apart else None,
            "psnr_min_db": min(value for _, value in apart) if apart else None,
            "psnr_db": self.psnr_db,
            "definition": DEFINITION,
        }


def psnr_db(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float | None:
    """Peak signal-to-noise ratio of two uint8 images, or stacks of them, of one shape; None when they are equal."""
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return None if error == 0 else 10 * math.log10(255**2 / float(error))


@dataclass(frozen=True)
class WhatIf:
    """`quality`: denoise steps of every tick on the right side, as recorded when None."""

    path: Path
    quality: int | None
    video: Path
    report: Path


def run_what_if(asked: WhatIf, replay: Replay, span: Span, left: OpenWorld, right: OpenWorld) -> bool:
    """Play both sides and write report and video; whether the span was played to its end.

    Raises `ReplayError` when the right side cannot play this session.
    """
    check_can_play(replay, left.info, right.info, asked.quality)
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        advance = stack.enter_context(progress_bar("comparing", span.ticks, span.ticks / 50))
        size_px = (2 * left.info.width_px, left.info.height_px)
        scale = max(1, round(1024 / max(size_px)))
        video = VideoWriter(asked.video, replay.header.tick_hz, size_px, scale=scale)
        stack.callback(video.close)
        both = TwoSides(asked, replay, span, left.world, right.world)
        while both.tick < span.last and not signals.received:
            for pair in both.advance():
                video.add(pair)
            advance()
        video.close()
        report = _report(asked, both, right.info)
        written = write_report(asked.report, report)
        print(f"what if, not a playback: {summary(report)}")
        print(f"video, as recorded on the left: {video.path}\nreport: {written}")
        return both.tick == span.last


class TwoSides:
    """The recording as it was, and from the span's first tick on the same session under other conditions.

    Where that is not the session's beginning, the right side starts from the left side's state.
    """

    def __init__(self, asked: WhatIf, replay: Replay, span: Span, left: World, right: World) -> None:
        self.verifier = ReplayVerifier(replay, span.start, span.last)
        self.differences = TickDifferences(span.first)
        self._source = f"{asked.path}: tick {span.first}"
        self._span, self._worlds = span, (left, right)
        go_to_start(left, replay, span, asked.path)
        self._left = Playback(replay, left, self.verifier, span.start)
        self._right = Playback(replay, right, NullRecorder(), span.first, steps=asked.quality)

    @property
    def tick(self) -> int:
        return self._left.tick

    def advance(self) -> list[Frame]:
        """One tick; its frames side by side, none while the left side is still on its way to the first."""
        left, right = self._worlds
        if self.tick == self._span.first and (self._span.start < self.tick or self._span.snapshot is not None):
            restore(right, left.snapshot(), self._source)
        tick = self.tick
        recorded = self._left.advance()
        if tick < self._span.first:
            return []
        what_if = self._right.advance()
        self.differences.add(recorded, what_if)
        return [np.concatenate(pair, axis=1) for pair in zip(recorded, what_if, strict=True)]


def check_can_play(replay: Replay, recorded: WorldInfo, info: WorldInfo, quality: int | None) -> None:
    """Raises `ReplayError` unless this world can be given the recorded actions and the quality to be forced."""
    for name in ("tick_hz", "width_px", "height_px"):
        _check_equal(info, name, getattr(recorded, name), getattr(info, name))
    for name in ("buttons", "axes"):
        _check_equal(info, name, getattr(recorded.actions, name), getattr(info.actions, name))
    wanted = {tick.steps_applied for tick in replay.ticks} if quality is None else {quality}
    if missing := sorted(wanted - {*info.ladder}):
        raise ReplayError(
            f"what if: expected denoise steps of {', '.join(map(str, info.ladder))}, which {info.name} was trained "
            f"for, got {missing[0]}; choose one of them with --quality"
        )


def _check_equal(info: WorldInfo, name: str, recorded: object, here: object) -> None:
    if recorded != here:
        raise ReplayError(f"what if: {info.name} cannot play this session: {name}: recorded {recorded}, here {here}")


def _report(asked: WhatIf, both: TwoSides, right: WorldInfo) -> dict[str, Any]:
    first = both.verifier.first_difference
    return {
        "schema": SCHEMA,
        "recording": os.fspath(asked.path),
        "what_if": {"steps": asked.quality, "world": right.name, "weights_sha256": right.weights_sha256},
        "as_recorded": {
            "checksums_compared": both.verifier.checksums_compared,
            "first_difference": None if first is None else str(first),
        },
        **both.differences.report(),
    }


def summary(report: dict[str, Any]) -> str:
    """One line: where the two part, and how far."""
    ticks, first = report["ticks"], report["first_differing_tick"]
    left = report["as_recorded"]["first_difference"]
    warning = "" if left is None else f"; the left side is not what was recorded either: {left}"
    if first is None:
        return f"no pixel differs in {ticks} ticks{warning}"
    mean, least = report["psnr_mean_db"], report["psnr_min_db"]
    return f"differs from tick {first} on, PSNR {mean:.1f} dB mean, {least:.1f} dB at worst, {ticks} ticks{warning}"
