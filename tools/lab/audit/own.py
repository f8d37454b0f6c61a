"""The short audit of our own world for CI: does the next frame of circuit change with the input?

`added_delay_frames` is the negative control: a check that cannot fail proves nothing. Only the next-frame test is made;
`nextframe audit circuit` makes the whole audit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....runtime.core import IDLE, Action, ActionSpace, Clock, ManualClock, World
from ...audit.questions.next_frame import next_frame_test
from ...audit.questions.options import AuditOptions
from ...audit.targets.contract import Shown
from ...audit.targets.local import WorldTarget
from ...audit.targets.player import Player

FRAMES_ALLOWED = 1
MOMENTS = 5
"""The fewest that a permutation test can tell from chance at 1 %."""


@dataclass(frozen=True)
class OwnResponse:
    """`holds`: an input changes the very next frame. `sentence` says so, or what was found instead."""

    holds: bool
    sentence: str


class DelayedWorld(WorldTarget):
    """A world behind a queue of actions: what one stage or one queued frame too many would do to it. A white box."""

    def __init__(self, world: World, clock: Clock, delay_frames: int) -> None:
        super().__init__(world, clock, denoise_steps=world.info.ladder[0])
        self._delay_frames = delay_frames
        self._waiting: tuple[Action, ...] = ()

    def start(self, seed: int) -> Shown:
        self._waiting = (IDLE,) * self._delay_frames
        return super().start(seed)

    def step(self, action: Action) -> Shown:
        now, *later = (*self._waiting, action)
        self._waiting = tuple(later)
        return super().step(now)

    def snapshot(self) -> object:
        return self._waiting, super().snapshot()

    def restore(self, snapshot: object) -> None:
        assert isinstance(snapshot, tuple)
        self._waiting, inner = snapshot
        super().restore(inner)


def next_frame_holds(
    make_world: Callable[[ManualClock], World], *, axes: Sequence[str] = (), added_delay_frames: int = 0
) -> OwnResponse:
    """The next-frame test on a world, on a clock that stands still: frames are counted, nothing is timed.

    `axes`: only these are tried, in both directions; all controls if not given. Ticks take the lowest rung of the
    ladder: it is the fastest, and when an input shows does not depend on quality.
    """
    clock = ManualClock()
    target = DelayedWorld(make_world(clock), clock, added_delay_frames)
    if axes:
        target.actions = ActionSpace(axes=tuple(axes))
    try:
        options = AuditOptions(quick=True, clock=clock, repeats=MOMENTS)
        seen = next_frame_test(Player(target, clock), options, lambda text: None).evidence
    finally:
        target.close()
    if not seen.changes or seen.response_frames is None:
        return OwnResponse(False, f"no input changed the picture: {seen.reason}")
    late = [
        f"{response.control} in frame {response.first_changed_frame}"
        for response in seen.per_action
        if response.changes and (response.first_changed_frame or 0) > FRAMES_ALLOWED
    ]
    if late:
        return OwnResponse(False, "later than the next frame: " + ", ".join(late))
    return OwnResponse(True, f"every input that shows at all shows in the next frame ({seen.repeats} moments)")
