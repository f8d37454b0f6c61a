"""What the teacher's pictures are like, in numbers: the band that a world's pictures must stay in.

A band is the middle 98 % of the same numbers on the teacher's own sessions under the same prompt, a little wider, so
that no session fails for a grey level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....worlds.evaluation.players import Player, Prompted, Turns, Wanderer, masher
from ....worlds.evaluation.subjects import Frames, Pair, Subject, play

Numbers: TypeAlias = NDArray[np.float64]

CHUNK_TICKS = 16
STATISTICS = ("red", "green", "blue", "contrast", "edges", "motion")
COLOUR_LEVELS = 2.0
EDGE_FACTOR = 1.25
MOTION_FACTOR = 2.0
MOTION_LEVELS = 0.02
"""Less motion than this, in mean grey levels a tick, is none: a still picture may shimmer by so much."""
SETTLE_TICKS = 32
"""After a start or a new prompt nothing is judged for so long."""


def statistics(before: Frames, now: Frames) -> Numbers:
    """Of two pictures in a row, `(rows, 6)`: mean colour, contrast, edge energy, and motion in mean grey levels."""
    picture = now.astype(np.float32)
    grey = picture.mean(-1)
    edges = np.square(np.diff(grey, axis=1)).mean((1, 2)) + np.square(np.diff(grey, axis=2)).mean((1, 2))
    motion = np.abs(picture - before).mean((1, 2, 3))
    parts = [picture.mean((1, 2)), picture.std((1, 2, 3))[:, None], edges[:, None], motion[:, None]]
    return np.concatenate(parts, 1).astype(np.float64)


@dataclass(frozen=True)
class Bands:
    """`low`, `high`: for each mood `(6,)`, in the order of `STATISTICS`."""

    low: Mapping[str, Numbers]
    high: Mapping[str, Numbers]

    def outside(self, found: Numbers, mood: str) -> list[str]:
        """The statistics of one chunk, `(6,)`, that are out of the band; no number at all is out of every band."""
        inside = (found >= self.low[mood]) & (found <= self.high[mood])
        return [name for name, fine in zip(STATISTICS, inside, strict=True) if not fine]

    def middle(self, mood: str, statistic: str) -> float:
        at = STATISTICS.index(statistic)
        return float(self.low[mood][at] + self.high[mood][at]) / 2


def bands_of(samples: Mapping[str, Sequence[Numbers]]) -> Bands:
    """From the teacher's statistics by mood."""
    low, high = {}, {}
    for mood, rows in samples.items():
        a, b = np.quantile(np.array(rows), [0.01, 0.99], axis=0)
        a[:4], b[:4] = a[:4] - COLOUR_LEVELS, b[:4] + COLOUR_LEVELS
        a[4], b[4] = a[4] / EDGE_FACTOR, b[4] * EDGE_FACTOR
        a[5], b[5] = a[5] / MOTION_FACTOR - MOTION_LEVELS, b[5] * MOTION_FACTOR + MOTION_LEVELS
        low[mood], high[mood] = a, b
    return Bands(low, high)


def real_bands(pair: Pair, sessions: int, ticks: int, *, first_seed: int = 80_000) -> Bands:
    """The teacher under every prompt, played by the best player, by wanderers and by mashers in turn."""
    samples: dict[str, list[Numbers]] = {}
    for at, mood in enumerate(pair.palette.moods()):
        seeds = [first_seed + 1000 * at + k for k in range(sessions)]
        player = Prompted(free_player(pair, pair.teacher, seeds), [[mood]] * sessions, ticks + 1)
        samples[mood] = [row for chunk in chunks(pair.teacher, seeds, player, ticks) for row in chunk]
    return bands_of(samples)


def free_player(pair: Pair, subject: Subject, seeds: Sequence[int]) -> Player:
    """Even sessions are played by the best player; of the odd ones every other wanders, and every other mashes."""
    wanderer, mashing = Wanderer(pair.palette, seeds), masher(pair.palette, seeds)
    return Turns((pair.player(subject, seeds), wanderer, pair.player(subject, seeds), mashing))


def chunks(subject: Subject, seeds: Sequence[int], player: Player, ticks: int) -> list[Numbers]:
    """The statistics `(rows, 6)` at the end of every chunk after the settling."""
    found: list[Numbers] = []
    before: list[Frames] = []

    def see(tick: int) -> None:
        if tick >= SETTLE_TICKS and tick % CHUNK_TICKS == CHUNK_TICKS - 1:
            before[:] = [subject.frames()]
        if tick > SETTLE_TICKS and tick % CHUNK_TICKS == 0:
            found.append(statistics(before[0], subject.frames()))

    play(subject, seeds, player, ticks, see)
    return found
