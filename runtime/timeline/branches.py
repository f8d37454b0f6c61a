"""Two futures of one moment: what was played from there, and what is tried instead; and both side by side."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from ..core import Frame, NextframeError, PlayedTick, Snapshot, World
from .line import RewindPlan, play_again

MAX_BRANCH_TICKS = 36_000
"""Half an hour at 20 Hz. A branch is an attempt, not a recording."""
DIVIDER_PX = 2
DIVIDER_COLOUR = (255, 255, 255)


class BranchError(NextframeError):
    """A branch that does not exist, or two worlds that cannot stand side by side."""


@dataclass(frozen=True)
class Branch:
    """A named future: the state at `tick`, and what was played from there."""

    name: str
    tick: int
    snapshot: Snapshot
    played: tuple[PlayedTick, ...] = ()

    def plan(self) -> RewindPlan:
        """The way to its end, to go on from there; see `nextframe.runtime.timeline.line.go_to`."""
        return RewindPlan(self.snapshot, self.tick, self.played)


class Branches:
    """A, what was played, and B, what is tried instead from the same moment. Notes go to B."""

    def __init__(self, max_ticks: int = MAX_BRANCH_TICKS) -> None:
        self._max_ticks = max_ticks
        self._a: Branch | None = None
        self._b: list[PlayedTick] = []

    @property
    def split_tick(self) -> int | None:
        """Where the two part; None before the first split."""
        return None if self._a is None else self._a.tick

    @property
    def full(self) -> bool:
        """B has reached its longest: what is played now is not in it any more."""
        return len(self._b) >= self._max_ticks

    @property
    def a(self) -> Branch:
        return self._split()

    @property
    def b(self) -> Branch:
        return replace(self._split(), name="B", played=tuple(self._b))

    def split(self, tick: int, snapshot: Snapshot, future: Sequence[PlayedTick]) -> None:
        """Try again from here. `future`: what was played from `tick` on (see
        `nextframe.runtime.timeline.rewind.Landing`)."""
        self._a = Branch("A", tick, snapshot, tuple(future)[: self._max_ticks])
        self._b = []

    def note(self, tick: int, played: PlayedTick) -> None:
        """One tick of B, after its commit. Raises `BranchError` for a hole."""
        if self.full:
            return
        expected = self._split().tick + len(self._b)
        if tick != expected:
            raise BranchError(f"branch B: expected tick {expected} next, got {tick}; rewind it, or split anew")
        self._b.append(played)

    def rewind(self, tick: int) -> bool:
        """B goes on from an earlier tick; False if that lies before the split, where there are no branches yet."""
        if self._a is None or tick < self._a.tick:
            self._a, self._b = None, []
            return False
        del self._b[tick - self._a.tick :]
        return True

    def _split(self) -> Branch:
        if self._a is None:
            raise BranchError("branches: expected a split, got none; go back and try again from there first")
        return self._a


# --- side by side --------------------------------------------------------------------------------------------------


def joined(left: Frame, right: Frame, divider_px: int = DIVIDER_PX) -> Frame:
    """Two frames of one size and a divider between them, `(height, 2 * width + divider_px, 3)`."""
    if left.shape != right.shape:
        raise BranchError(f"split view: expected two frames of one size, got {left.shape} and {right.shape}")
    divider = np.empty((left.shape[0], divider_px, 3), np.uint8)
    divider[:] = DIVIDER_COLOUR
    return np.concatenate([left, divider, right], axis=1)


def ab_frames(
    left: Branch, right: Branch, world: World, other: World | None = None, *, divider_px: int = DIVIDER_PX
) -> Generator[Frame, None, None]:
    """Play both branches again from their beginnings, tick by tick, each with its own inputs; their frames joined.

    One world has two states and changes between them every tick; `other` saves that. The shorter branch stands still
    at its end (black if nothing was played in it). Worlds are left as they were found.
    Raises `TimelineError` if a branch comes out different.
    """
    before = [(one, one.snapshot()) for one in (world, other) if one is not None]
    try:
        sides = [_Side(left, world, alone=other is not None), _Side(right, other or world, alone=other is not None)]
        for index in range(max(len(left.played), len(right.played))):
            frames = [side.frames_of(index) for side in sides]
            for pair in zip_longest(*frames):
                shown = [frame if frame is not None else side.last for frame, side in zip(pair, sides, strict=True)]
                yield joined(shown[0], shown[1], divider_px)
    finally:
        for one, state in before:
            one.restore(state)


class _Side:
    """One branch in the split view. `alone`: no other branch uses its world, so its state may stay there."""

    def __init__(self, branch: Branch, world: World, *, alone: bool) -> None:
        self._branch, self._world, self._alone = branch, world, alone
        self._state: Snapshot | None = branch.snapshot
        self.last = np.zeros((world.info.height_px, world.info.width_px, 3), np.uint8)

    def frames_of(self, index: int) -> list[Frame]:
        """The frames of its tick of that number; the last one again after its end."""
        if index >= len(self._branch.played):
            return [self.last]
        if self._state is not None:
            self._world.restore(self._state)
        frames = play_again(self._world, self._branch.played[index], self._branch.tick + index)
        self._state = None if self._alone else self._world.snapshot()
        self.last = frames[-1]
        return frames
