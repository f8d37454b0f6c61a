"""The controls of a target as experiments: pressed or not, one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

import numpy as np

from ....runtime.core import AXIS_LEVELS, IDLE, Action, ActionSpace

PREROLL_TICKS = (8, 30)
"""A moment lies this many ticks after the start: far enough for something to be under way, and at any phase of
whatever the target makes in pieces."""


@dataclass(frozen=True)
class Control:
    """`pressed`: the action on every tick while it is held; a prompt is said once, on the first. `released`: what
    takes it back, once."""

    name: str
    kind: Literal["button", "axis", "prompt"]
    pressed: Action
    released: Action = IDLE

    def held(self, ticks: int) -> list[Action]:
        if self.kind == "prompt":
            return [self.pressed, *[IDLE] * (ticks - 1)]
        return [self.pressed] * ticks

    def pulse(self, hold: int, after: int) -> list[Action]:
        """Held, let go, then nothing: `hold + after` actions."""
        return [*self.held(hold), self.released, *[IDLE] * (after - 1)]


def controls_of(space: ActionSpace, most: int) -> tuple[Control, ...]:
    """Every button, direction of an axis and prompt word, at most so many; the kinds take turns until it is full.

    The first word of each prompt group is the one that moments begin with, so it is no change.
    """
    buttons = [Control(name, "button", Action(frozenset({name}))) for name in space.buttons]
    axes = [
        Control(f"{name} {sign}", "axis", Action(axes={name: level}))
        for sign, level in (("+", AXIS_LEVELS), ("-", -AXIS_LEVELS))
        for name in space.axes
    ]
    prompts = [
        Control(f"{group}: {words[index]}", "prompt", Action(prompt=words[index]), Action(prompt=words[0]))
        for index in range(1, max((len(words) for words in space.prompts.values()), default=0))
        for group, words in space.prompts.items()
        if index < len(words)
    ]
    queues = [queue for queue in (axes, buttons, prompts) if queue]
    chosen: list[Control] = []
    while len(chosen) < most and any(queues):
        for queue in queues:
            if queue and len(chosen) < most:
                chosen.append(queue.pop(0))
    return tuple(chosen)


def neutral(space: ActionSpace) -> Action:
    """Nothing, spelled out: every axis at zero. The same message as any other, without a meaning."""
    return Action(axes=dict.fromkeys(space.axes, 0))


def opening(space: ActionSpace) -> Action:
    """The first word of every prompt group, so that every run begins with a known prompt."""
    words = [words[0] for words in space.prompts.values()]
    return Action(prompt=" ".join(words)) if words else IDLE


def wander(space: ActionSpace, rng: np.random.Generator, hold: tuple[int, int] = (5, 12)) -> Iterator[Action]:
    """Controls held for a while each, at random, without end; no prompts."""
    while True:
        action = random_action(space, rng)
        for _ in range(int(rng.integers(*hold))):
            yield action


def random_action(space: ActionSpace, rng: np.random.Generator) -> Action:
    buttons = frozenset(name for name in space.buttons if rng.random() < 0.25)
    levels = {name: int(rng.integers(-1, 2)) * AXIS_LEVELS for name in space.axes}
    return Action(buttons, {name: level for name, level in levels.items() if level})


def preroll(space: ActionSpace, seed: int) -> list[Action]:
    """How a moment is reached: the same for every run of it, another length for every seed."""
    rng = np.random.default_rng([seed, 0xA0D17])
    ticks = int(rng.integers(*PREROLL_TICKS))
    actions = wander(space, rng)
    return [opening(space), *(next(actions) for _ in range(ticks - 1))]


def flips(space: ActionSpace) -> Iterator[Action]:
    """The hardest input for a target that makes frames ahead: everything is turned over on every tick."""
    if not space.names():
        words = [word for group in space.prompts.values() for word in group]
        yield from cycle([Action(prompt=word) for word in words] or [IDLE])
    while True:
        yield Action(frozenset(space.buttons), dict.fromkeys(space.axes, AXIS_LEVELS))
        yield Action(frozenset(), dict.fromkeys(space.axes, -AXIS_LEVELS))


def mashing(space: ActionSpace, rng: np.random.Generator) -> Iterator[Action]:
    """All controls at random on every tick, and a new prompt every ten."""
    words = [word for group in space.prompts.values() for word in group]
    tick = 0
    while True:
        action = random_action(space, rng)
        if words and tick % 10 == 5:
            action = Action(action.buttons, action.axes, prompt=str(rng.choice(words)))
        yield action
        tick += 1


def idle() -> Iterator[Action]:
    while True:
        yield IDLE
