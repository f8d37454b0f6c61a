"""What the loop measured in one tick, for governors and observers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core import NO_MISHAPS, Mishaps, TickPlan
from .guess import NO_GUESS, Guess
from .probe import NO_USE, HostUse


@dataclass(frozen=True)
class TickRecord:
    """Everything measured in one tick; times are on the loop's clock.

    `start_ns`: when the loop was free for this tick (its release, or the end of the tick before if that was later).
    `emit_ns`: pixels ready. `present_ns`: first frame handed to the display; response is `present_ns - release_ns`.
    `paced_ns`: time waited between the frames of one tick. `stage_ns`: the world's stages, plus `present` and
    `commit`. `lost_slots`: whole periods of dilation that this tick made full. `held_frames`: frame
    periods for which the previous frame stayed on the screen past the deadline. `resumed`: first tick after a start
    or a pause, so the time since the frame before says nothing. `input_event_ns`: earliest input in the action.
    `host`: what the machine did from poll to present. `ahead`: what of the tick was made before its release; `stage_ns`
    and `step_ns` hold all it cost, whenever that was. `mishaps`: what went wrong in it and was survived; the
    frames of a discarded tick are held ones. `stopped_ns`: of the time from release to present, how much was a clock
    gap, in which the process did not run; it makes no tick late. `gap_ns`: all such time since the tick before.
    """

    tick: int
    release_ns: int
    start_ns: int
    poll_ns: int
    plan: TickPlan
    emit_ns: int
    present_ns: int
    paced_ns: int
    commit_end_ns: int
    deadline_ns: int
    stage_ns: Mapping[str, int]
    step_ns: tuple[int, ...]
    steps_applied: int
    frames: int
    missed: bool
    lost_slots: int
    held_frames: int
    clock_gap: bool
    resumed: bool
    input_event_ns: int | None
    reason: str
    host: HostUse = NO_USE
    ahead: Guess = NO_GUESS
    mishaps: Mishaps = NO_MISHAPS
    stopped_ns: int = 0
    gap_ns: int = 0

    @property
    def late_ns(self) -> int:
        """Past the deadline, less the time in which the process did not run."""
        return max(0, self.present_ns - self.deadline_ns - self.stopped_ns)

    @property
    def response_ns(self) -> int:
        return self.present_ns - self.release_ns
