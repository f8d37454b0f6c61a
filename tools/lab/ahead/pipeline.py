"""Run-ahead of a pipeline of stages in simulated time: what is gained while input holds, what a wrong guess costs.

Guesses, memory and rollbacks are real (`RunAhead` over a world); only the time a stage takes is stated instead of
measured.

Three ways to drive the same stages. `serial`: a tick enters once the one before is shown; every picture has the newest
input. `queued`: a tick enters as soon as it can, with the input of that moment, so pictures already under way do not
show a new input. `ahead`: a tick enters as soon as it can on guessed input, and is shown when the input, read at that
very moment, is the guessed one; else all that is under way is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....runtime.ahead.run_ahead import RunAhead
from ....runtime.core import Action, ManualClock, TickPlan, World

Way = Literal["serial", "queued", "ahead"]
WAYS: tuple[Way, ...] = ("serial", "queued", "ahead")


@dataclass(frozen=True)
class Pipeline:
    """`stage_ns`: what each stage takes for one tick. `open_after`: the stage a tick must have left before the next may
    enter: 0 where histories are of the same noise level, the last denoise stage where only finished frames are
    remembered. `rollback_ns`: to restore the memory after a wrong guess."""

    name: str
    stage_ns: tuple[int, ...]
    open_after: int = 0
    rollback_ns: int = 0

    @property
    def depth(self) -> int:
        """Ticks in flight at most: with more, work would only wait."""
        return -(-sum(self.stage_ns) // self.rate_ns)

    @property
    def rate_ns(self) -> int:
        """From picture to picture when nothing stops the flow."""
        return max(*self.stage_ns, sum(self.stage_ns[: self.open_after + 1]))

    @property
    def break_even(self) -> float:
        """The share of right guesses above which running ahead shows more pictures than the serial way.

        A tick costs the rate; a wrong guess adds a whole tick and the rollback to it.
        """
        whole_ns = sum(self.stage_ns)
        return 1 - (whole_ns - self.rate_ns) / (whole_ns + self.rollback_ns)


@dataclass(frozen=True)
class Drive:
    """One run. `response_ms`: from reading the input of a tick to its picture. `stale_frames`: pictures shown after an
    input is given that do not show it yet. `dropped`: ticks thrown away."""

    pipeline: str
    way: Way
    input: str
    ticks: int
    fps: float
    response_p50_ms: float
    response_p95_ms: float
    response_mean_ms: float
    stale_frames: int
    hit_rate: float
    dropped: int


class Stages:
    """When each stage is free, on integers."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._free_ns = [0] * len(pipeline.stage_ns)
        self._open_ns = 0

    def enter(self, now_ns: int) -> int:
        """A tick enters at once or as soon as it may; returns when its picture is ready."""
        done_ns = max(now_ns, self._open_ns)
        for stage, cost_ns in enumerate(self._pipeline.stage_ns):
            done_ns = max(done_ns, self._free_ns[stage]) + cost_ns
            self._free_ns[stage] = done_ns
            if stage == self._pipeline.open_after:
                self._open_ns = done_ns
        return done_ns

    def flush(self, now_ns: int) -> None:
        """Everything under way is dropped; a piece of work that has begun is let go at once."""
        self._free_ns = [now_ns] * len(self._free_ns)
        self._open_ns = now_ns


class Timeline:
    """When the pictures of one drive are shown. Each method shows the next one; returns when its input was read."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._stages = pipeline, Stages(pipeline)
        self._ready_ns: deque[int] = deque()
        self.clock = ManualClock()

    def serial(self) -> int:
        read_ns = self.clock.now_ns()
        self.clock.sleep_until(self._stages.enter(read_ns))
        return read_ns

    def queued(self) -> int:
        self._fill()
        shown_ns = self._ready_ns.popleft()
        self.clock.sleep_until(shown_ns)
        return shown_ns - sum(self._pipeline.stage_ns)

    def guessed(self) -> int:
        """The guess was right: the input is read when the picture is ready."""
        self.clock.sleep_until(self._ready_ns.popleft())
        self._fill()
        return self.clock.now_ns()

    def mistaken(self) -> int:
        """The guess was wrong, which is seen when its picture is ready; or there was none yet."""
        rollback_ns = 0
        if self._ready_ns:
            self.clock.sleep_until(self._ready_ns.popleft())
            self._ready_ns.clear()
            rollback_ns = self._pipeline.rollback_ns
        read_ns = self.clock.now_ns()
        self._stages.flush(read_ns + rollback_ns)
        shown_ns = self._stages.enter(read_ns)
        self._fill()
        self.clock.sleep_until(shown_ns)
        self._fill()
        return read_ns

    def _fill(self) -> None:
        while len(self._ready_ns) < self._pipeline.depth:
            self._ready_ns.append(self._stages.enter(self.clock.now_ns()))


def drive(
    pipeline: Pipeline, way: Way, actions: Sequence[Action], make_world: Callable[[], World], name: str = ""
) -> tuple[Drive, list[int]]:
    """Play the actions, one per tick; also returns each tick's checksum of the world."""
    timeline, inner = Timeline(pipeline), make_world()
    runner = RunAhead(inner, pipeline.depth, timeline.clock) if way == "ahead" else None
    world = runner or inner
    plan = TickPlan(world.info.ladder[-1], 0)
    shown_ns, response_ns, checksums = [], [], []
    hits = dropped = 0
    for action in actions:
        waiting = 0 if runner is None else runner.ticks_ahead
        world.advance(action, plan).commit()
        checksums.append(world.checksum())
        if runner is None:
            read_ns = timeline.serial() if way == "serial" else timeline.queued()
        else:
            hit = runner.guess().outcome == "hit"
            read_ns = timeline.guessed() if hit else timeline.mistaken()
            hits, dropped = hits + hit, dropped + (0 if hit else waiting)
            while runner.ticks_ahead < pipeline.depth:
                runner.make_ahead()
        shown_ns.append(timeline.clock.now_ns())
        response_ns.append(shown_ns[-1] - read_ns)
    response_ms = np.array(response_ns) / 1e6
    result = Drive(
        pipeline=pipeline.name,
        way=way,
        input=name,
        ticks=len(actions),
        fps=(len(actions) - 1) * 1e9 / (shown_ns[-1] - shown_ns[0]),
        response_p50_ms=float(np.percentile(response_ms, 50)),
        response_p95_ms=float(np.percentile(response_ms, 95)),
        response_mean_ms=float(response_ms.mean()),
        stale_frames=pipeline.depth - 1 if way == "queued" else 0,
        hit_rate=hits / len(actions),
        dropped=dropped,
    )
    return result, checksums
