"""What the audit can look at: anything that takes a control and shows a frame.

The audit believes a target's frames and its own clock, never a number that the target says of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from ....runtime.core import Action, ActionSpace, Frame, NextframeError, StatePart


class TargetError(NextframeError):
    """A target that cannot be asked: it broke the protocol, ended, answered nothing or answered no frame."""


@dataclass(frozen=True)
class Shown:
    """A frame and when the auditor had it, on the auditor's monotonic clock. `frame`: `(height, width, 3)` uint8."""

    frame: Frame
    at_ns: int


class Target(Protocol):
    """A session of anything that makes frames.

    `tick_hz`: the rate at which it wants to be asked; None as fast as it answers.
    """

    name: str
    actions: ActionSpace
    tick_hz: float | None

    def start(self, seed: int) -> Shown:
        """Begin anew; returns the first frame. A repeatable target shows the same frames for the same inputs."""
        ...

    def step(self, action: Action) -> Shown:
        """One control in, the next frame out: whatever the target chooses to show."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class WhiteBox(Target, Protocol):
    """A target whose state can be saved and taken back, so that one moment can be played twice.

    Some also have `corrupt`, see `Corruptible`.
    """

    def snapshot(self) -> object: ...

    def restore(self, snapshot: object) -> None: ...

    def inventory(self) -> list[StatePart]: ...


@runtime_checkable
class Corruptible(Protocol):
    def corrupt(self, snapshot: object, ticks_back: int) -> object | None:
        """A copy in which the frame `ticks_back` ticks ago (1 = the last) is forgotten; None if it is not held."""
        ...


TargetFactory: TypeAlias = Callable[[], Target]
