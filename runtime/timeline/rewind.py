"""Going back in time while a key is held: a frame of the past for every frame shown, at a bounded cost.

The past is played again forward, from snapshot to snapshot, and shown backward. One piece between two snapshots (a
stretch) is played once, its frames kept; while it is shown, the one below is played, evenly over the frames until then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..core import Frame, PlayedTick, Snapshot, World
from ..recording.plain import held_bytes
from .line import RewindPlan, Timeline, go_to, play_again

TICKS_PER_FRAME = 5
"""Simulated at most for one shown frame, and at most to land."""
CACHE_BYTES = 64 << 20
DOUBLE_AFTER_FRAMES = 10
FASTEST_TICKS = 16


class RewoundFrame(NamedTuple):
    """A frame of the past. `tick`: landing here gives the state at this tick; the frame is that of the tick before.

    `ticks_back`: the speed, in ticks per shown frame. `at_end`: there is nothing older.
    """

    frame: Frame
    tick: int
    ticks_back: int
    at_end: bool


@dataclass(frozen=True)
class Landing:
    """Where play goes on. `future`: what had been played from there on, oldest first; the timeline has forgotten it."""

    tick: int
    future: tuple[PlayedTick, ...]


def ticks_back(held_frames: int) -> int:
    """Speed after a key was held for so many shown frames: 1 tick per frame, doubled every 10, up to 16."""
    return min(FASTEST_TICKS, 1 << min(held_frames // DOUBLE_AFTER_FRAMES, FASTEST_TICKS))


@dataclass
class _Stretch:
    """A piece of the past between two snapshots, as far as it has been played again.

    `frames`: by the tick of the state they show, every `stride`-th. `keyframes`: states made on the way, oldest first.
    """

    plan: RewindPlan
    stride: int
    keyframe_ticks: int
    frames: dict[int, Frame] = field(default_factory=dict)
    keyframes: list[tuple[int, Snapshot]] = field(default_factory=list)
    built_to: int = 0

    @property
    def first(self) -> int:
        return self.plan.snapshot_tick + 1

    @property
    def last(self) -> int:
        return self.plan.tick

    def newest_frame(self, tick: int) -> tuple[int, Frame] | None:
        """The newest frame at or before `tick` that is ready, and its tick."""
        ready = [at for at in self.frames if at <= tick]
        return (max(ready), self.frames[max(ready)]) if ready else None

    def keyframe(self, tick: int) -> tuple[int, Snapshot]:
        return max(((at, state) for at, state in self.keyframes if at <= tick), key=lambda one: one[0])


class Rewinder:
    """One journey back from the present of a timeline. Between calls nothing else may use the world.

    Each `step_back` plays at most `ticks_per_frame` ticks, and so does `land`, if the timeline's interval is no longer
    and states fit the cache. `cache_bytes` bounds frames and states kept: where a stretch has too many, every second,
    third ... frame is kept, and so shown.
    """

    def __init__(
        self,
        world: World,
        timeline: Timeline,
        *,
        ticks_per_frame: int = TICKS_PER_FRAME,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if ticks_per_frame < 1 or cache_bytes < 1:
            raise ValueError(f"rewinder: expected at least 1 tick and 1 byte, got {ticks_per_frame} and {cache_bytes}")
        self.ticks_simulated = 0
        self._world, self._timeline = world, timeline
        self._ticks_per_frame, self._cache_bytes = ticks_per_frame, cache_bytes
        self._frame_bytes = world.info.width_px * world.info.height_px * 3
        self._lowest = min(timeline.oldest_tick + 1, timeline.tick)
        self._wanted = timeline.tick
        self._held_frames = 0
        self._shown: tuple[int, Frame] | None = None
        self._current: _Stretch | None = None
        self._ahead: _Stretch | None = None
        self._at: tuple[_Stretch, int] | None = None  # the stretch whose state the world is in, and the tick of it

    @property
    def tick(self) -> int:
        """Where `land` would land."""
        return self._timeline.tick if self._shown is None else self._shown[0]

    @property
    def bytes(self) -> int:
        """Held by frames and states of the stretches in use."""
        stretches = [one for one in (self._current, self._ahead) if one is not None]
        frames = sum(frame.nbytes for one in stretches for frame in one.frames.values())
        return frames + sum(held_bytes(state) for one in stretches for _, state in one.keyframes[1:])

    def step_back(self) -> RewoundFrame | None:
        """The frame to show next; call it once per shown frame while the key is held. None: there is no past at all.

        If the wanted frame is not ready the nearest one is shown, and never one newer than the last.
        Raises `TimelineError` if the past comes out different.
        """
        if self._timeline.tick == self._timeline.oldest_tick:
            return None
        speed = ticks_back(self._held_frames)
        self._held_frames += 1
        self._wanted = max(self._lowest, self._wanted - speed)
        budget = self._ticks_per_frame
        if self._shown is None or self._wanted < self._shown[0]:
            stretch = self._stretch_with(self._wanted)
            budget -= self._build(stretch, self._wanted, budget)
            self._show_nearest(stretch)
        self._work_ahead(budget, speed)
        assert self._shown is not None, "the first tick of a stretch is always ready"
        tick, frame = self._shown
        return RewoundFrame(frame, tick, speed, at_end=tick <= self._lowest)

    def slow_down(self) -> None:
        """The key was let go: the next press begins at one tick per frame, from the frame on screen."""
        self._held_frames, self._wanted = 0, self.tick

    def land(self) -> Landing:
        """Bring the world to the state of the frame on screen, from where play goes on; what came after is returned."""
        tick = self.tick
        if self._shown is None or self._current is None:
            self.cancel()
            return Landing(tick, ())
        stretch = self._current
        at, state = stretch.keyframe(tick)
        first = stretch.plan.snapshot_tick
        plan = RewindPlan(state, at, stretch.plan.inputs[at - first : tick - first])
        go_to(self._world, plan)
        self.ticks_simulated += len(plan.inputs)
        future = self._timeline.inputs_from(tick)
        self._timeline.truncate(tick)
        for made_at, made in stretch.keyframes:
            if made_at <= tick:
                self._timeline.keep(made_at, made)
        self._forget()
        return Landing(tick, future)

    def cancel(self) -> None:
        """Bring the world back to the present, as if it had never left it."""
        plan = self._timeline.rewind_to(self._timeline.tick)
        go_to(self._world, plan)
        self.ticks_simulated += len(plan.inputs)
        self._forget()

    # --- inside ---

    def _forget(self) -> None:
        self._current = self._ahead = self._shown = self._at = None
        self._lowest = min(self._timeline.oldest_tick + 1, self._timeline.tick)
        self.slow_down()

    def _stretch_with(self, tick: int) -> _Stretch:
        for stretch in (self._current, self._ahead):
            if stretch is not None and stretch.first <= tick <= stretch.last:
                return stretch
        self._ahead = self._new_stretch(tick)
        return self._ahead

    def _new_stretch(self, tick: int) -> _Stretch:
        """Frames and states of a stretch get a quarter of the cache each: two stretches are held at a time."""
        plan = self._timeline.stretch_below(tick)
        share, ticks = self._cache_bytes // 4, len(plan.inputs)
        stride = max(1, -(-ticks * self._frame_bytes // max(1, share)))
        keyframe_ticks = max(self._ticks_per_frame, -(-ticks * held_bytes(plan.snapshot) // max(1, share)))
        start = (plan.snapshot_tick, plan.snapshot)
        return _Stretch(plan, stride, keyframe_ticks, keyframes=[start], built_to=plan.snapshot_tick)

    def _build(self, stretch: _Stretch, tick: int, budget: int) -> int:
        """Play the stretch on up to the state at `tick`, at most `budget` ticks; returns how many were played."""
        goal = min(tick, stretch.last, stretch.built_to + budget)
        if budget < 1 or stretch.built_to >= goal:
            return 0
        if self._at is None or self._at[0] is not stretch:
            stretch.built_to, state = stretch.keyframes[-1]
            self._world.restore(state)
            goal = min(goal, stretch.built_to + budget)
        played = goal - stretch.built_to
        for at in range(stretch.built_to, goal):
            frames = play_again(self._world, stretch.plan.inputs[at - stretch.plan.snapshot_tick], at)
            done = at + 1 - stretch.plan.snapshot_tick
            if (done - 1) % stretch.stride == 0:
                stretch.frames[at + 1] = frames[-1]
            if done % stretch.keyframe_ticks == 0 and at + 1 < stretch.last:
                stretch.keyframes.append((at + 1, self._world.snapshot()))
            stretch.built_to = at + 1
        self._at = (stretch, goal)
        self.ticks_simulated += played
        return played

    def _show_nearest(self, stretch: _Stretch) -> None:
        """Of what is shown and what is ready in the stretch, the frame nearer to the wanted tick."""
        ready = stretch.newest_frame(self._wanted)
        if ready is None:
            return
        if self._shown is None or (
            ready[0] < self._shown[0] and self._wanted - ready[0] <= self._shown[0] - self._wanted
        ):
            self._shown = ready
            if stretch is not self._current:
                self._current, self._ahead = stretch, None

    def _work_ahead(self, budget: int, speed: int) -> None:
        """Play the stretch that comes next, evenly over the frames until it does: no faster than it must be ready."""
        current = self._current
        if current is None or current.first <= self._lowest:
            return
        goal, frames_left = self._wanted, 0
        if self._wanted >= current.first:
            goal = max(self._lowest, min(self._wanted - speed, current.first - 1))
            frames_left = (self._wanted - current.first) // speed
        stretch = self._stretch_with(goal)
        self._build(stretch, goal, min(budget, -(-(goal - stretch.built_to) // (frames_left + 1))))
