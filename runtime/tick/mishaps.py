"""What went wrong inside a tick and was dealt with there, how a recording says so, and how it is made to happen again.

Owns the names in recorded events, the plan that forces them and the result that reports them. A decision stays a value:
what happened comes out with a tick's result, and what must happen again goes in with its plan. Knows nothing of
networks, devices or of why it happened: that is found out live (`nextframe.worlds.neural.tick`) and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core import ReplayError, TickPlan, TickResult

DISCARDED_EVENT = "discarded"
OUT_OF_MEMORY_EVENT = "out_of_memory"
WINDOW_EVENT = "window:"
COMMIT_WINDOW_EVENT = "commit_window:"


@dataclass(frozen=True)
class Mishaps:
    """Of one tick. `discarded`: its latent was no number, the last frame was shown again and only the tick counted.

    `out_of_memory`: the device had no room at first. `window`, `commit_window`: so many ticks of memory are seen from
    this tick's denoising, or only from its commit, on; None for no change.
    """

    discarded: bool = False
    out_of_memory: bool = False
    window: int | None = None
    commit_window: int | None = None

    @property
    def event(self) -> str | None:
        """As it is recorded; None when nothing happened."""
        parts = [DISCARDED_EVENT] * self.discarded + [OUT_OF_MEMORY_EVENT] * self.out_of_memory
        parts += [] if self.window is None else [f"{WINDOW_EVENT}{self.window}"]
        parts += [] if self.commit_window is None else [f"{COMMIT_WINDOW_EVENT}{self.commit_window}"]
        return ",".join(parts) or None


NO_MISHAPS = Mishaps()


def mishaps_in(event: str | None) -> Mishaps:
    """Those in a recorded event, whatever else is in it. Raises `ReplayError` for a window that is none."""
    if event is None:
        return NO_MISHAPS
    parts = event.split(",")
    return Mishaps(
        DISCARDED_EVENT in parts,
        OUT_OF_MEMORY_EVENT in parts,
        _window(parts, WINDOW_EVENT),
        _window(parts, COMMIT_WINDOW_EVENT),
    )


def _window(parts: list[str], name: str) -> int | None:
    for part in parts:
        if part.startswith(name):
            text = part.removeprefix(name)
            if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
                raise ReplayError(
                    f"recorded event {part!r}: expected a memory window of at least 1 tick, got {text!r}; "
                    "the recording is damaged: play it up to the tick before, with --to"
                )
            return int(text)
    return None


@dataclass(frozen=True)
class ForcedPlan(TickPlan):
    """The plan of a tick that is played again: what happened in it then must happen again, though nothing is wrong."""

    mishaps: Mishaps = NO_MISHAPS


@dataclass(frozen=True)
class GuardedResult(TickResult):
    """The result of a world that survives mishaps. `mishaps`: asked once the tick is committed, which may add one."""

    mishaps: Callable[[], Mishaps] = lambda: NO_MISHAPS


def plan_again(steps: int, mishaps: Mishaps, *, deadline_ns: int = 0, reason: str) -> TickPlan:
    """The plan to play a tick again, with the denoise steps that were applied and all that happened in it."""
    if mishaps == NO_MISHAPS:
        return TickPlan(steps, deadline_ns, reason)
    return ForcedPlan(steps, deadline_ns, reason, mishaps=mishaps)


def forced_by(plan: TickPlan) -> Mishaps:
    return plan.mishaps if isinstance(plan, ForcedPlan) else NO_MISHAPS


def mishaps_of(result: TickResult) -> Mishaps:
    """What happened in a tick that has been committed."""
    return result.mishaps() if isinstance(result, GuardedResult) else NO_MISHAPS
