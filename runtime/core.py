"""The nouns every part shares: actions, plans, results, frames, clocks, and the protocols between them.

Units: time is integer nanoseconds on a monotonic clock (`_ns`); frames are `(height, width, 3)` uint8 RGB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Frame: TypeAlias = NDArray[np.uint8]
"""One RGB image, `(height, width, 3)` uint8, C-contiguous, row 0 at the top."""

AXIS_LEVELS = 127
"""An axis is quantised to the integers -127..127, so a replay stores one byte and the model sees exactly it."""


# --- actions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ActionSpace:
    """The controls a world understands, by semantic name, never by key.

    `buttons` are on or off; `axes` are in [-1, 1]; `prompts` maps a prompt group ("weather") to its words.
    `max_prompt_chars` bounds free text.
    """

    buttons: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        return self.buttons + self.axes


@dataclass(frozen=True)
class Action:
    """What the player did in one tick, already quantised: the model sees it and the replay stores it.

    `buttons`: names held, or pressed and released, during the tick. `axes`: name -> level in -127..127 (absent = 0).
    `prompt`: new prompt text if it changed on this tick, else None. `reset`: the world starts anew before this tick.
    """

    buttons: frozenset[str] = frozenset()
    axes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    prompt: str | None = None
    reset: bool = False

    def axis(self, name: str) -> float:
        """The axis as the model sees it, in [-1, 1]."""
        return self.axes.get(name, 0) / AXIS_LEVELS


IDLE = Action()


def quantise_axis(value: float) -> int:
    """Clamp to [-1, 1] and round to the integer level stored in an `Action`."""
    return round(max(-1.0, min(1.0, value)) * AXIS_LEVELS)


# --- what happens in a tick ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reset:
    """The world started anew with this seed before the tick."""

    seed: int


@dataclass(frozen=True, slots=True)
class ClockGap:
    """The machine stood still (suspend, debugger): how long the tick took says nothing about the world."""


@dataclass(frozen=True, slots=True)
class Mishaps:
    """What went wrong in a tick and was dealt with there. Forced when the tick is played again.

    `discarded`: its latent was not finite, so the last frame was shown again and only the tick was counted.
    `out_of_memory`: the device had no room at first. `window`, `commit_window`: so many ticks of memory are seen from
    this tick's denoising, or only from its commit, on; None for no change.
    """

    discarded: bool = False
    out_of_memory: bool = False
    window: int | None = None
    commit_window: int | None = None


NO_MISHAPS = Mishaps()


@dataclass(frozen=True, slots=True)
class DriftAction:
    """What was done about drift after the commit, by its name in `nextframe.model.drift.actions`, or `LOG`."""

    LOG: ClassVar[str] = "log"
    """An alarm that changed nothing."""

    name: str


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """Recorded text that this version cannot read, kept as it is.

    `problem`: why it is damaged; empty for an event of a newer version, which a playback ignores.
    """

    text: str
    problem: str = ""


TickEvent: TypeAlias = Reset | ClockGap | Mishaps | DriftAction | OtherEvent
"""Everything that can have happened in a tick beside its action. Written as text by `nextframe.runtime.tick.events`."""


@dataclass(frozen=True, slots=True)
class PlayedTick:
    """One tick as it was played: all that is needed to play it again, and to see whether it came out the same.

    `events` stand in the order in which they happened. `checksum`: `World.checksum()` after the tick and its events,
    32 bits, None where it was not taken.
    """

    action: Action
    steps_applied: int
    checksum: int | None = None
    events: tuple[TickEvent, ...] = ()

    @property
    def reset_seed(self) -> int | None:
        return next((event.seed for event in self.events if isinstance(event, Reset)), None)

    @property
    def drift(self) -> DriftAction | None:
        return next((event for event in self.events if isinstance(event, DriftAction)), None)

    @property
    def mishaps(self) -> Mishaps:
        """To be forced when the tick is played again. Raises `ReplayError` for a damaged event."""
        for event in self.events:
            if isinstance(event, OtherEvent) and event.problem:
                raise ReplayError(
                    f"recorded event {event.text!r}: {event.problem}; the recording is damaged: play it up to the tick "
                    "before, with --to"
                )
        return next((event for event in self.events if isinstance(event, Mishaps)), NO_MISHAPS)

    def plan(self, *, reason: str, deadline_ns: int = 0) -> TickPlan:
        """To play it again: the denoise steps that were applied, and all that happened in it."""
        return TickPlan(self.steps_applied, deadline_ns, reason, mishaps=self.mishaps)


# --- plan and result of a tick ---------------------------------------------------------------------------------


class StepGate(Protocol):
    """Asked before each further denoise step (never before the first): does it still fit before the deadline?"""

    def __call__(self, steps_done: int) -> bool: ...


def always_open(steps_done: int) -> bool:
    """The gate of replays and of clocks without deadlines: quality is forced, time is not asked."""
    return True


@dataclass(frozen=True)
class TickPlan:
    """The governor's decision for one tick. A value: the governor never calls the world.

    `denoise_steps` is the rung asked for; `gate` may cut it short at a mid-tick checkpoint. `mishaps`: what happened
    when the tick was first played and must happen again, though nothing is wrong now.
    """

    denoise_steps: int
    deadline_ns: int
    reason: str = "fixed"
    gate: StepGate = always_open
    mishaps: Mishaps = NO_MISHAPS


def no_mishaps() -> Mishaps:
    return NO_MISHAPS


@dataclass(frozen=True)
class TickResult:
    """What `World.advance` returns.

    `frames`: the new frames in order (at least one). `steps_applied`: denoise steps really taken, an entry of the
    world's ladder. `stage_ns`: durations by stage name (condition, denoise, decode). `step_ns`: each denoise step.
    `commit`: the work that writes memory; the loop calls it once, after presenting, before the next advance.
    `mishaps`: asked once the tick is committed, since a commit may add one.
    """

    frames: Sequence[Frame]
    steps_applied: int
    stage_ns: Mapping[str, int]
    step_ns: tuple[int, ...] = ()
    commit: Callable[[], None] = lambda: None
    mishaps: Callable[[], Mishaps] = no_mishaps


@dataclass(frozen=True)
class StatePart:
    """One named part of a world's state.

    `name`: a path in the snapshot, such as `generator/memory`; every leaf of the snapshot lies under exactly one part.
    `bytes`: of those leaves. `horizon_ticks`: how far back it reaches; None without bound, 0 if it is only shown again.
    """

    name: str
    bytes: int
    horizon_ticks: int | None


@dataclass(frozen=True)
class WorldInfo:
    """What a runtime must know of a world before it plays it. `ladder`: denoise step counts, ascending."""

    name: str
    width_px: int
    height_px: int
    tick_hz: Fraction
    ladder: tuple[int, ...]
    actions: ActionSpace
    config_sha256: str
    weights_sha256: str
    config_text: str = ""
    default_prompt: str = ""


Snapshot: TypeAlias = Mapping[str, object]
"""Everything a world needs to continue from here, made and read by one world class.

Plain data, so that it can be stored and compared without the world: nested mappings with string keys, lists, numpy
arrays, numbers, strings, booleans and None. Arrays are copies: later ticks do not change a snapshot.
"""


@runtime_checkable
class World(Protocol):
    """A stateful generator of frames. One `advance` per tick, then its result's `commit`, in that order."""

    info: WorldInfo

    @property
    def prompt(self) -> str:
        """The prompt in force, for people to read; empty for a world without prompts."""
        ...

    def reset(self, seed: int) -> Frame:
        """Start anew; returns the first frame. Equal seeds and equal inputs give equal worlds."""
        ...

    def advance(self, action: Action, plan: TickPlan) -> TickResult: ...

    def snapshot(self) -> Snapshot: ...

    def restore(self, snapshot: Snapshot) -> None: ...

    def checksum(self) -> int:
        """CRC-32 of everything that decides the future, and of the last frame."""
        ...

    def state_inventory(self) -> list[StatePart]: ...

    def warm_up(self) -> None:
        """Run every rung once so that no later switch compiles or allocates; leaves the state as it was."""
        ...

    def close(self) -> None: ...


class Controller(Protocol):
    """A source of actions. `poll` is called once a tick, as late as possible, and quantises once.

    `last_input_ns`: the clock's time of the earliest input event in the action polled last; None without one.
    """

    @property
    def last_input_ns(self) -> int | None: ...

    def poll(self, tick: int) -> Action: ...

    def close(self) -> None: ...


class Display(Protocol):
    """Where frames go. Null objects instead of `None` checks: see NullDisplay` in `nextframe.runtime.display.null`."""

    def present(self, frame: Frame) -> int:
        """Show the frame; returns the clock's time when it was handed to the screen, in ns."""
        ...

    def close(self) -> None: ...


# --- clocks ----------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Monotonic integer nanoseconds."""

    def now_ns(self) -> int: ...

    def sleep_until(self, time_ns: int) -> None: ...


class MonotonicClock:
    """Wall time that never steps back. Sleeps most of a wait and spins the last part: `time.sleep` alone is late."""

    SPIN_NS = 500_000

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, time_ns: int) -> None:
        while (left_ns := time_ns - time.monotonic_ns()) > 0:
            if left_ns > self.SPIN_NS:
                time.sleep((left_ns - self.SPIN_NS) / 1e9)


class FixedClock:
    """Ignores wall time: a sleep jumps to its end at once and work takes none. For scripts, replays and CI."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, time_ns: int) -> None:
        self._now_ns = max(self._now_ns, time_ns)


class ManualClock(FixedClock):
    """A fixed clock that a test moves by hand, to give work a simulated cost."""

    def advance_ns(self, duration_ns: int) -> None:
        if duration_ns < 0:
            raise ValueError(f"a clock cannot go back: expected a duration of at least 0 ns, got {duration_ns}")
        self._now_ns += duration_ns


# --- errors ----------------------------------------------------------------------------------------------------


class NextframeError(Exception):
    """Bad input at a boundary: one clear line (expected, got, where, what to do). The CLI exits with `exit_code`.

    NextframeError (2)
    +-- ConfigError (2)      a YAML file, with file and line
    +-- WeightsError (2)     a checkpoint that is missing, damaged, unsafe or not the one asked for
    +-- ReplayError (2)      a recording that cannot be read or does not fit
    +-- DisplayError (2)     no window, no GL
    +-- RecoveredWithLoss (3) something was read, something was lost, both said
    """

    exit_code = 2


class ConfigError(NextframeError):
    pass


class WeightsError(NextframeError):
    pass


class ReplayError(NextframeError):
    pass


class DisplayError(NextframeError):
    pass


class RecoveredWithLoss(NextframeError):  # noqa: N818 - no error but an outcome, with its own exit code
    exit_code = 3
