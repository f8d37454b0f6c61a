"""The past of a running session, kept in memory: what was played each tick, and the state now and then.

When room runs out, snapshots are dropped, so that older ones lie further apart, and at last the oldest ticks. A tick of
the past is played again from the nearest snapshot before it, and checked.

"The state at tick t" is the one before tick t is played: t ticks have been played, and the newest frame is that of
tick t - 1.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..core import Frame, NextframeError, PlayedTick, Snapshot, World
from ..recording.plain import held_bytes
from ..tick.again import again
from ..tick.events import events_to_text

BUDGET_BYTES = 64 << 20
EVERY_TICKS = 5
"""Any tick of the near past is at most this many simulated ticks from a snapshot."""
LONGEST_GAP_TICKS = 60
"""Between the snapshots of the far past. Beyond it, the far end is given up instead."""
AGE_PER_GAP = 8
"""A snapshot may be dropped when what is left has gaps of at most an eighth of its age: spacing grows with age."""
PLAYED_BYTES, ACTION_BYTES, EVENT_BYTES, CHAR_BYTES = 256, 1024, 256, 4
"""What one noted tick holds at most: itself, its action if it is not that of the tick before, each event and text
character."""


class TimelineError(NextframeError):
    """A tick that cannot be gone back to, or that came out different when it was played again."""


@dataclass(frozen=True)
class RewindPlan:
    """How to reach a state: restore `snapshot`, which is the state at `snapshot_tick`, then play `inputs` again."""

    snapshot: Snapshot
    snapshot_tick: int
    inputs: tuple[PlayedTick, ...]

    @property
    def tick(self) -> int:
        """The state that this leads to."""
        return self.snapshot_tick + len(self.inputs)


@dataclass(frozen=True, slots=True)
class _Kept:
    tick: int
    snapshot: Snapshot
    bytes: int


# --- playing again -------------------------------------------------------------------------------------------------


def play_again(world: World, played: PlayedTick, tick: int) -> list[Frame]:
    """One tick with the input and the quality it had; its frames, copied. Its checksum is compared where one is known.

    Raises `TimelineError` if it came out different.
    """
    found, frames = again(world, played)
    if found.steps_applied != played.steps_applied:
        raise TimelineError(
            f"tick {tick}: expected {played.steps_applied} denoise steps when played again, got {found.steps_applied}"
        )
    if played.checksum is not None and (checksum := world.checksum()) != played.checksum:
        raise TimelineError(
            f"tick {tick}: came out different when played again (checksum {checksum:#010x}, was "
            f"{played.checksum:#010x}); `nextframe synctest` finds the part of the state that differs"
        )
    return frames


def go_to(world: World, plan: RewindPlan) -> list[Frame]:
    """Bring the world to the plan's state; the frames of the last tick played, none where none had to be."""
    frames: list[Frame] = []
    for frames in frames_again(world, plan):  # noqa: B007 - the last ones are wanted
        pass
    return frames


def frames_again(world: World, plan: RewindPlan) -> Iterator[list[Frame]]:
    """Restore, then play the inputs one by one, with the frames of each."""
    world.restore(plan.snapshot)
    for tick, played in enumerate(plan.inputs, start=plan.snapshot_tick):
        yield play_again(world, played, tick)


# --- the timeline --------------------------------------------------------------------------------------------------


class Timeline:
    """Snapshots every `every_ticks`, thinned with age to fit `budget_bytes`, and all inputs since the oldest.

    Thinning keeps gaps of at most an eighth of a snapshot's age and never beyond `longest_gap_ticks`; when that is not
    enough, the oldest goes. The newest is never dropped. `bytes` and `reach_ticks` are plain numbers that another
    thread may read; everything else belongs to the thread that ticks.
    """

    def __init__(
        self,
        budget_bytes: int = BUDGET_BYTES,
        every_ticks: int = EVERY_TICKS,
        *,
        longest_gap_ticks: int = LONGEST_GAP_TICKS,
    ) -> None:
        if budget_bytes < 1 or every_ticks < 1 or longest_gap_ticks < every_ticks:
            raise ValueError(
                "timeline: expected a budget and an interval of at least 1 and a longest gap of at least the interval, "
                f"got {budget_bytes} bytes, {every_ticks} and {longest_gap_ticks} ticks"
            )
        self.budget_bytes, self.every_ticks, self.longest_gap_ticks = budget_bytes, every_ticks, longest_gap_ticks
        self.bytes = 0
        self.reach_ticks = 0
        self._kept: list[_Kept] = []
        self._played: list[PlayedTick] = []
        self._played_bytes: list[int] = []

    @property
    def oldest_tick(self) -> int:
        return self._started()[0].tick

    @property
    def tick(self) -> int:
        """The present: the tick that is played next."""
        return self._started()[0].tick + len(self._played)

    def begin(self, tick: int, snapshot: Snapshot) -> None:
        """Forget everything; the state at `tick` is this. Call it before the first tick and after loading a save."""
        self._kept, self._played, self._played_bytes, self.bytes = [], [], [], 0
        self._insert(tick, snapshot)
        self._settle()

    def wants_snapshot(self, tick: int) -> bool:
        """Whether `note` of this tick should bring the state after it."""
        return tick + 1 - self._started()[-1].tick >= self.every_ticks

    def note(self, tick: int, played: PlayedTick, snapshot: Snapshot | None = None) -> None:
        """Add one tick, after its commit. `snapshot`: the state at `tick + 1`. Raises `TimelineError` for a hole."""
        if tick != self.tick:
            raise TimelineError(
                f"timeline: expected tick {self.tick} next, got {tick}; truncate or begin anew when the session jumps"
            )
        before = self._played[-1].action if self._played else None
        if played.action == before:  # held keys: one object for all
            played = replace(played, action=before)
        self._played.append(played)
        self._played_bytes.append(_bytes_of(played, shared=played.action is before))
        self.bytes += self._played_bytes[-1]
        if snapshot is not None:
            self._insert(tick + 1, snapshot)
        self._settle()

    def rewind_to(self, tick: int) -> RewindPlan:
        """The way to the state at `tick`, from the nearest snapshot at or before it. Raises `TimelineError`."""
        kept = self._started()
        if not self.oldest_tick <= tick <= self.tick:
            raise TimelineError(f"rewind: expected a tick from {self.oldest_tick} to {self.tick}, got {tick}")
        return self._plan(kept[bisect_right(kept, tick, key=_tick_of) - 1], tick)

    def stretch_below(self, tick: int) -> RewindPlan:
        """The way from the nearest snapshot before `tick` to the next one, or the present: a piece to go back through.

        Raises `TimelineError` at the oldest tick, below which there is nothing.
        """
        kept = self._started()
        if not self.oldest_tick < tick <= self.tick:
            raise TimelineError(f"rewind: expected a tick from {self.oldest_tick + 1} to {self.tick}, got {tick}")
        index = bisect_left(kept, tick, key=_tick_of)
        return self._plan(kept[index - 1], kept[index].tick if index < len(kept) else self.tick)

    def inputs_from(self, tick: int) -> tuple[PlayedTick, ...]:
        """What was played from `tick` to the present: the future of that moment, and one side of a branch."""
        self.rewind_to(tick)
        return tuple(self._played[tick - self.oldest_tick :])

    def truncate(self, tick: int) -> None:
        """The session goes on from `tick`: what came after never was. Raises `TimelineError`."""
        self.rewind_to(tick)
        at = tick - self.oldest_tick
        gone = [one for one in self._kept if one.tick > tick]
        self.bytes -= sum(self._played_bytes[at:]) + sum(one.bytes for one in gone)
        del self._played[at:], self._played_bytes[at:], self._kept[len(self._kept) - len(gone) :]
        self._settle()

    def keep(self, tick: int, snapshot: Snapshot) -> None:
        """Add a snapshot that was made on the way, so that going back here again is cheap; thinned like the others."""
        self.rewind_to(tick)
        self._insert(tick, snapshot)
        self._settle()

    # --- inside ---

    def _started(self) -> list[_Kept]:
        if not self._kept:
            raise TimelineError("timeline: expected a first snapshot, got none; call begin before the first tick")
        return self._kept

    def _plan(self, start: _Kept, tick: int) -> RewindPlan:
        first = start.tick - self.oldest_tick
        return RewindPlan(start.snapshot, start.tick, tuple(self._played[first : tick - self.oldest_tick]))

    def _insert(self, tick: int, snapshot: Snapshot) -> None:
        index = bisect_left(self._kept, tick, key=_tick_of)
        if index < len(self._kept) and self._kept[index].tick == tick:
            return
        self._kept.insert(index, _Kept(tick, snapshot, held_bytes(snapshot)))
        self.bytes += self._kept[index].bytes

    def _settle(self) -> None:
        while self.bytes > self.budget_bytes and len(self._kept) > 1:
            index = self._droppable()
            if index is None:
                self._drop_oldest()
            else:
                self.bytes -= self._kept.pop(index).bytes
        self.reach_ticks = len(self._played)

    def _droppable(self) -> int | None:
        """The snapshot between the two ends whose loss leaves the smallest gap for its age; None if none may go."""
        if len(self._kept) < 3:
            return None
        ticks = np.array([one.tick for one in self._kept])
        gaps, ages = ticks[2:] - ticks[:-2], self.tick - ticks[1:-1]
        allowed = np.minimum(ages // AGE_PER_GAP, self.longest_gap_ticks)
        scores = np.where(gaps <= allowed, gaps / ages, np.inf)
        index = int(scores.argmin())
        return index + 1 if np.isfinite(scores[index]) else None

    def _drop_oldest(self) -> None:
        gone = self._kept.pop(0)
        ticks = self._kept[0].tick - gone.tick
        self.bytes -= gone.bytes + sum(self._played_bytes[:ticks])
        del self._played[:ticks], self._played_bytes[:ticks]


class TimelineRecorder:
    """A `nextframe.runtime.loop.Recorder` that fills a timeline: the loop tells it of every tick, after the commit."""

    problem = ""

    def __init__(self, timeline: Timeline, world: World) -> None:
        self._timeline, self._world = timeline, world

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        self._timeline.note(tick, played, self._world.snapshot() if self._timeline.wants_snapshot(tick) else None)

    def close(self) -> None:
        """What was kept stays kept."""


def _tick_of(one: _Kept) -> int:
    return one.tick


def _bytes_of(played: PlayedTick, *, shared: bool) -> int:
    text = len(events_to_text(played.events) or "") + (0 if shared else len(played.action.prompt or ""))
    return PLAYED_BYTES + EVENT_BYTES * len(played.events) + (0 if shared else ACTION_BYTES) + CHAR_BYTES * text


def described(timeline: Timeline, tick_hz: float) -> str:
    """For the HUD: how far back one can go, and what that holds."""
    return f"rewind: {timeline.reach_ticks / tick_hz:.0f} s, {timeline.bytes / 1e6:.0f} MB"
