"""One whole tick outside the loop, and a tick of the past played again.

Everything that plays the past goes through `again`: recordings, rewind, branches, SyncTest, and coming back after the
death of a worker.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from ..core import Action, DriftAction, Frame, PlayedTick, ReplayError, Reset, TickPlan, World
from .events import events_to_text, gathered


class Replayed(NamedTuple):
    """`played`: the tick as it came out this time, without a checksum. `frames`: copies of its frames, in order."""

    played: PlayedTick
    frames: list[Frame]


@runtime_checkable
class MendableWorld(Protocol):
    """A world that can be changed when it drifts."""

    def mend(self, action: str) -> None:
        """Carry out the drift action of that name between two ticks."""
        ...


def play(
    world: World, action: Action, plan: TickPlan, *, reset_seed: int | None = None, drift: DriftAction | None = None
) -> Replayed:
    """Reset where there is a seed, advance, commit, and do about drift what was done. A discarded tick is not mended.

    Raises `ReplayError` for a drift action that the world cannot do.
    """
    if reset_seed is not None:
        world.reset(reset_seed)
    result = world.advance(action, plan)
    frames = [frame.copy() for frame in result.frames]
    result.commit()
    mishaps = result.mishaps()
    done = None if mishaps.discarded else drift
    mend(world, done)
    events = gathered(None if reset_seed is None else Reset(reset_seed), mishaps, done)
    return Replayed(PlayedTick(action, result.steps_applied, events=events), frames)


def again(
    world: World, played: PlayedTick, *, steps: int | None = None, seed: int | None = None, reason: str = "played again"
) -> Replayed:
    """Play the tick with its input, quality and events on a world that stands before it.

    `steps`: another quality instead; mishaps of the recorded one are not forced then. `seed`: for a reset that names
    none. Raises `ReplayError` for a damaged event, or one that this world cannot repeat.
    """
    plan = played.plan(reason=reason) if steps is None else TickPlan(steps, deadline_ns=0, reason=reason)
    reset_seed = played.reset_seed
    if reset_seed is None and played.action.reset:
        reset_seed = seed
    return play(world, played.action, plan, reset_seed=reset_seed, drift=played.drift)


def mend(world: World, drift: DriftAction | None) -> None:
    """Raises `ReplayError` for a world that cannot."""
    if drift is None or drift.name == DriftAction.LOG:
        return
    if not isinstance(world, MendableWorld):
        raise ReplayError(
            f"the session was changed by {events_to_text([drift])}, which {world.info.name}, as it is played here, "
            "cannot do; play it with the world that was recorded"
        )
    world.mend(drift.name)
