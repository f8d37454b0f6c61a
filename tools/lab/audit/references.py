"""Three targets from one generator: batch, streaming and interactive. What the audit must be able to tell apart.

The audit is held against these, not made from them. All three are black boxes, and all three play the very same world.

Time: every target stamps its frames with its clock. On a `ManualClock` a tick costs `tick_cost_ns` of simulated time,
so that twenty seeds of everything take seconds; on a real clock a tick costs what it costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from ....runtime.core import IDLE, Action, Clock, Frame, ManualClock, MonotonicClock, TickPlan, World
from ...audit.targets.contract import Shown

SEGMENT_TICKS = 20
"""A streamer at 20 Hz plays one second while it makes the next: a control waits one to two seconds."""

CLIP_TICKS = 240
"""Twelve seconds at 20 Hz, about what a clip service makes in one go; longer than the audit waits for an answer."""


class Maker:
    """A world as a source of frames: one action in, one frame out, at top quality, for a known cost.

    `tick_cost_ns` is charged on a `ManualClock` only.
    """

    def __init__(self, world: World, clock: Clock, tick_cost_ns: int = 0) -> None:
        self.world, self.clock = world, clock
        self._tick_cost_ns = tick_cost_ns

    def start(self, seed: int) -> Frame:
        return self.world.reset(seed)

    @property
    def simulated(self) -> bool:
        return isinstance(self.clock, ManualClock)

    def tick(self, action: Action, *, charged: bool = True) -> Frame:
        result = self.world.advance(replace(action, reset=False), TickPlan(self.world.info.ladder[-1], deadline_ns=0))
        frame = result.frames[-1]
        result.commit()
        if charged:
            self.charge(1)
        return frame

    def charge(self, ticks: int) -> None:
        """Let the time of so many ticks pass, on a clock that is simulated."""
        if isinstance(self.clock, ManualClock):
            self.clock.advance_ns(ticks * self._tick_cost_ns)


class ReferenceTarget:
    """What the references share: a name, the world's controls and rate, frames stamped when they are shown."""

    def __init__(self, maker: Maker, name: str) -> None:
        self.name = name
        self.actions = maker.world.info.actions
        self.tick_hz: float | None = float(maker.world.info.tick_hz)
        self._maker = maker

    def start(self, seed: int) -> Shown:
        return self._show(self._first(seed))

    def step(self, action: Action) -> Shown:
        return self._show(self._next(action))

    def close(self) -> None:
        self._maker.world.close()

    def _show(self, frame: Frame) -> Shown:
        return Shown(frame, self._maker.clock.now_ns())

    def _first(self, seed: int) -> Frame:
        raise NotImplementedError

    def _next(self, action: Action) -> Frame:
        raise NotImplementedError


class InteractiveTarget(ReferenceTarget):
    """Live: the control decides the frame that comes back. The only kind with a deadline for every frame."""

    def _first(self, seed: int) -> Frame:
        return self._maker.start(seed)

    def _next(self, action: Action) -> Frame:
        return self._maker.tick(action)


class StreamingTarget(ReferenceTarget):
    """Plays segments made ahead: while one plays the next is made, for the control held when its making began.

    State is carried from segment to segment and playback never stops, so it looks live to a viewer who does not steer.
    A control shows after one to two segments. A short press between two segments is lost, as in such services; a new
    prompt is kept until a segment takes it.
    """

    def __init__(self, maker: Maker, name: str = "streaming", segment_ticks: int = SEGMENT_TICKS) -> None:
        super().__init__(maker, name)
        self._segment_ticks = segment_ticks
        self._ahead: deque[Frame] = deque()
        self._begin(IDLE)

    def _begin(self, held: Action) -> None:
        self._held, self._made = held, 0
        self._prompt: str | None = None

    def _first(self, seed: int) -> Frame:
        first = self._maker.start(seed)
        self._ahead = deque(self._maker.tick(IDLE) for _ in range(self._segment_ticks))
        self._begin(IDLE)
        return first

    def _next(self, action: Action) -> Frame:
        self._prompt = action.prompt if action.prompt is not None else self._prompt
        if self._made % self._segment_ticks == 0:
            self._begin(replace(action, prompt=self._prompt))
        self._ahead.append(self._maker.tick(self._held if self._made == 0 else replace(self._held, prompt=None)))
        self._made += 1
        return self._ahead.popleft()


class BatchTarget(ReferenceTarget):
    """Takes a request, makes the whole clip, then shows it. The next request is read when the clip is over.

    Nothing is carried from clip to clip: each begins anew, as with a service that has no session. On a simulated clock
    the time of the whole clip passes at the request and the frames are made as they are shown: the same frames at the
    same times, less those that are never shown.
    """

    def __init__(self, maker: Maker, name: str = "batch", clip_ticks: int = CLIP_TICKS) -> None:
        super().__init__(maker, name)
        self._clip_ticks = clip_ticks
        self._clip: Iterator[Frame] = iter(())
        self._seed = 0

    def _first(self, seed: int) -> Frame:
        self._seed = seed
        self._request(IDLE)
        return next(self._clip)

    def _next(self, action: Action) -> Frame:
        frame = next(self._clip, None)
        if frame is not None:
            return frame
        self._request(action)
        return next(self._clip)

    def _request(self, request: Action) -> None:
        frames = self._frames(request)
        self._maker.charge(self._clip_ticks - 1)
        self._clip = frames if self._maker.simulated else iter(list(frames))

    def _frames(self, request: Action) -> Iterator[Frame]:
        """The first shows the world as it begins, the second what was asked for."""
        yield self._maker.start(self._seed)
        yield self._maker.tick(request, charged=False)
        for _ in range(self._clip_ticks - 2):
            yield self._maker.tick(replace(request, prompt=None), charged=False)


def interactive(world: World, clock: Clock | None = None, tick_cost_ns: int = 0) -> InteractiveTarget:
    """The live reference; `clock` is the auditor's, its own monotonic one when not given."""
    return InteractiveTarget(Maker(world, clock or MonotonicClock(), tick_cost_ns), "interactive")


def streaming(world: World, clock: Clock | None = None, tick_cost_ns: int = 0) -> StreamingTarget:
    return StreamingTarget(Maker(world, clock or MonotonicClock(), tick_cost_ns))


def batch(world: World, clock: Clock | None = None, tick_cost_ns: int = 0) -> BatchTarget:
    return BatchTarget(Maker(world, clock or MonotonicClock(), tick_cost_ns))
