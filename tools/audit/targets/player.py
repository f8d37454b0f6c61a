"""Plays actions into a target and keeps what came back; a moment can be played again.

Black boxes are started anew and brought to the moment by the same inputs, white boxes are restored. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass

from ....runtime.core import Action, Clock, Frame
from .contract import Corruptible, Shown, Target, TargetError, WhiteBox
from .controls import preroll


@dataclass(frozen=True)
class Run:
    """Frames in the order shown. `answer_ms`: from asking to frame. `since_ms`: from the first asking to the frame."""

    frames: list[Frame]
    answer_ms: list[float]
    since_ms: list[float]


class Player:
    """One target under one clock. `ticks` counts everything asked; `at` is the moment it has just been brought to."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self.target, self.clock = target, clock
        self.ticks = 0
        self.at: Moment | None = None
        self._shape: tuple[int, ...] | None = None

    @property
    def period_ms(self) -> float:
        """0 for a target without a rate."""
        return 1000 / self.target.tick_hz if self.target.tick_hz else 0.0

    def start(self, seed: int) -> Shown:
        self.at = None
        return self._checked(self.target.start(seed))

    def step(self, action: Action) -> Shown:
        self.ticks += 1
        self.at = None
        return self._checked(self.target.step(action))

    def play(self, actions: Iterable[Action], stop: Callable[[int, Frame], bool] | None = None) -> Run:
        """Step through the actions, as fast as the target answers. `stop(index, frame)`: the last one wanted."""
        run = Run([], [], [])
        began_ns = self.clock.now_ns()
        for index, action in enumerate(actions):
            asked_ns = self.clock.now_ns()
            shown = self.step(action)
            run.frames.append(shown.frame)
            run.answer_ms.append((shown.at_ns - asked_ns) / 1e6)
            run.since_ms.append((shown.at_ns - began_ns) / 1e6)
            if stop is not None and stop(index, shown.frame):
                break
        return run

    def moment(self, seed: int, actions: Sequence[Action] | None = None) -> Moment:
        return Moment(self, seed, actions)

    def _checked(self, shown: Shown) -> Shown:
        frame = shown.frame
        if frame.dtype != "uint8" or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise TargetError(
                f"{self.target.name}: expected frames (height, width, 3) uint8, got {frame.shape} {frame.dtype}"
            )
        if self._shape is None:
            self._shape = frame.shape
        if frame.shape != self._shape:
            raise TargetError(f"{self.target.name}: expected frames of one size {self._shape}, got {frame.shape}")
        return shown


class Moment:
    """A point in a session, reached by a seed and known inputs. `before`: the frame shown there."""

    def __init__(self, player: Player, seed: int, actions: Sequence[Action] | None = None) -> None:
        """`actions`: the way there; a random one of the seed's when not given."""
        self._player, self.seed = player, seed
        self._actions = preroll(player.target.actions, seed) if actions is None else list(actions)
        self._snapshot: object = None
        self.before = self._reach()
        if isinstance(player.target, WhiteBox):
            self._snapshot = player.target.snapshot()

    def play(self, actions: Iterable[Action], stop: Callable[[int, Frame], bool] | None = None) -> Run:
        """What happens from here under these actions; can be asked again and again."""
        self.go()
        return self._player.play(actions, stop)

    def go(self) -> None:
        """Bring the target to this moment."""
        if self._player.at is self:
            return
        if isinstance(self._player.target, WhiteBox):
            self._player.target.restore(self._snapshot)
        else:
            self._reach()

    def corrupted(self, ticks_back: int) -> Moment | None:
        """The same moment with one frame of its memory erased; None where that cannot be done."""
        target = self._player.target
        snapshot = target.corrupt(self._snapshot, ticks_back) if isinstance(target, Corruptible) else None
        if snapshot is None:
            return None
        other = copy(self)
        other._snapshot = snapshot
        return other

    def _reach(self) -> Frame:
        frame = self._player.start(self.seed).frame
        for action in self._actions:
            frame = self._player.step(action).frame
        self._player.at = self
        return frame
