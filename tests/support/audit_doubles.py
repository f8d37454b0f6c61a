"""Targets with known answers, to hold the audit against: each does one thing, and its docstring says what is true."""

from __future__ import annotations

from collections import deque

import numpy as np

from nextframe.runtime.core import Action, ActionSpace, Frame, ManualClock
from nextframe.tools.audit.questions.options import AuditOptions
from nextframe.tools.audit.targets.contract import Shown, Target
from nextframe.tools.audit.targets.player import Player
from nextframe.tools.lab.audit.references import InteractiveTarget, Maker
from nextframe.worlds.toy.world import ToyWorld

MS = 1_000_000
HEIGHT_PX, WIDTH_PX = 36, 48


def maker(clock: ManualClock, cost_ms: int = 10) -> Maker:
    return Maker(ToyWorld(clock), clock, cost_ms * MS)


def player(target: Target, clock: ManualClock) -> Player:
    return Player(target, clock)


def options(clock: ManualClock, seed: int = 0) -> AuditOptions:
    return AuditOptions(clock=clock, seed=seed)


class Double:
    """Draws `picture()` after each `react(action)`; a tick costs `cost_ms` of simulated time."""

    actions = ActionSpace(buttons=("go",))
    tick_hz: float | None = 20.0

    def __init__(self, clock: ManualClock, cost_ms: float = 10) -> None:
        self.name = type(self).__name__
        self.clock, self.cost_ms = clock, cost_ms
        self.seed, self.tick, self.closed = 0, 0, False

    def start(self, seed: int) -> Shown:
        self.seed, self.tick = seed, 0
        self.begin()
        return self._shown()

    def step(self, action: Action) -> Shown:
        self.tick += 1
        self.clock.advance_ns(round(self.cost_ms * MS))
        self.react(action)
        return self._shown()

    def close(self) -> None:
        self.closed = True

    def _shown(self) -> Shown:
        return Shown(self.picture(), self.clock.now_ns())

    def begin(self) -> None:
        pass

    def react(self, action: Action) -> None:
        pass

    def picture(self) -> Frame:
        return np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)


class Tape(Double):
    """Shows the input of this tick and of the last `ticks` ones, a cell for each: it remembers exactly `ticks`.

    The cells lie elsewhere in every session, so that none is taken for a display of the keys.
    """

    actions = ActionSpace(buttons=("go",), prompts={"light": ("day", "night")})

    def __init__(self, clock: ManualClock, ticks: int) -> None:
        super().__init__(clock)
        self._ticks = ticks

    def begin(self) -> None:
        self._past = deque([False] * (self._ticks + 1), maxlen=self._ticks + 1)
        self._night = False

    def react(self, action: Action) -> None:
        self._past.appendleft("go" in action.buttons)
        self._night = self._night if action.prompt is None else action.prompt == "night"

    def picture(self) -> Frame:
        frame = super().picture()
        frame[:] = 20 if self._night else 90
        for index, pressed in enumerate(self._past):
            row, column = divmod((index + 7 * self.seed) % 108, 12)
            frame[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 230 if pressed else 130
        return frame


class Lamp(Double):
    """The whole picture is bright while the button is held, `delay` frames late. Nothing is remembered."""

    def __init__(self, clock: ManualClock, delay: int = 0) -> None:
        super().__init__(clock)
        self._delay = delay

    def begin(self) -> None:
        self._coming = deque([False] * (self._delay + 1))

    def react(self, action: Action) -> None:
        self._coming.append("go" in action.buttons)
        self._coming.popleft()

    def picture(self) -> Frame:
        frame = super().picture()
        frame[:] = 200 if self._coming[0] else 60
        return frame


class Still(Double):
    """One picture, for ever."""


class Deaf(Double):
    """Moves by itself, differently in every session, whatever the seed: no moment of it can be played twice."""

    sessions = 0

    def begin(self) -> None:
        Deaf.sessions += 1
        self._rng = np.random.default_rng(Deaf.sessions)
        self._phases = self._rng.uniform(0, 6, (6, 6, 3))
        self._speeds = self._rng.uniform(0.05, 0.4, (6, 6, 3))
        self._coming = deque([False] * 8)

    def picture(self) -> Frame:
        cells = 128 + 70 * np.sin(self._phases + self.tick * self._speeds)
        frame = np.kron(cells, np.ones((6, 8, 1)))
        return np.clip(frame + self._rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)


class Restless(Deaf):
    """As the deaf one, but while the button is held the picture shakes, from frame `at_frame` after the press on."""

    at_frame = 1

    def react(self, action: Action) -> None:
        self._coming.appendleft("go" in action.buttons)
        if self._coming[self.at_frame - 1]:
            self._phases = self._phases + 0.6


class LateRestless(Restless):
    at_frame = 3


class NoisyLive(InteractiveTarget):
    """The toy world, live, under pixel noise that is never the same twice."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(maker(clock), "noisy live")
        self._noise = np.random.default_rng(5)

    def _show(self, frame: Frame) -> Shown:
        noise = self._noise.integers(-8, 9, frame.shape)
        return super()._show(np.clip(frame + noise, 0, 255).astype(np.uint8))


class Touchy(Double):
    """Turns bright for good at any message that spells something out, also one that means nothing."""

    actions = ActionSpace(axes=("turn",))

    def begin(self) -> None:
        self._level = 60

    def react(self, action: Action) -> None:
        self._level = min(220, self._level + 10 * bool(action.axes))

    def picture(self) -> Frame:
        frame = super().picture()
        frame[:] = self._level
        return frame


class NoControls(Double):
    actions = ActionSpace()
