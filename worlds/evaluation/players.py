"""Who plays during an evaluation: wanderers, mashers, untouched controls, recordings. All follows from seeds.

Owns the actions. Knows no world but its controls; who looks where it drives belongs to a world's own pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Protocol

import numpy as np

from ...runtime.core import IDLE, Action, ActionSpace, quantise_axis

SPAN_TICKS = (3, 12)
"""A wanderer holds each control for so long: a tap at least, half a second at most, so that every reaction is seen."""
MASH_TICKS = (1, 2)


class Player(Protocol):
    def actions(self, tick: int) -> list[Action]:
        """One for each row; asked once a tick, in order."""
        ...


@dataclass(frozen=True)
class Palette:
    """The controls and how people use them.

    `levels`: for each axis the levels to draw from, a level as often as it should be drawn; -1, 0 and 1 if not named.
    `button_rate`: how often each button is down; 0.3 if not named. `base`: what is held when nothing else is asked,
    such as a little throttle, so that steering does something.
    """

    space: ActionSpace
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    button_rate: Mapping[str, float] = field(default_factory=dict)
    base: Action = IDLE

    def levels_of(self, axis: str) -> tuple[float, ...]:
        return self.levels.get(axis, (-1.0, 0.0, 1.0))

    def moods(self) -> list[str]:
        """Every full prompt; one empty one for a world without prompts."""
        return [" ".join(words) for words in product(*self.space.prompts.values())] if self.space.prompts else [""]


@dataclass(frozen=True)
class Key:
    """A control as a player presses it: a button, or one direction of an axis. `sign`: 0 for a button."""

    control: str
    sign: int

    @property
    def name(self) -> str:
        return self.control + {0: "", 1: " +", -1: " -"}[self.sign]

    def held(self, action: Action) -> float:
        """How far it is pressed, 0 to 1."""
        if self.sign == 0:
            return float(self.control in action.buttons)
        return max(0.0, self.sign * action.axis(self.control))


def keys_of(palette: Palette) -> list[Key]:
    """Every direction of every axis that players use, then the buttons."""
    keys = [
        Key(axis, sign)
        for axis in palette.space.axes
        for sign in (1, -1)
        if any(sign * level > 0 for level in palette.levels_of(axis))
    ]
    return keys + [Key(button, 0) for button in palette.space.buttons]


def pressed(action: Action, key: Key, level: float) -> Action:
    """The action with this key held so far, 0 to 1."""
    if key.sign == 0:
        buttons = action.buttons | {key.control} if level > 0.5 else action.buttons - {key.control}
        return replace(action, buttons=frozenset(buttons))
    return replace(action, axes={**action.axes, key.control: quantise_axis(key.sign * level)})


class Wanderer:
    """Every control is drawn anew after a span of its own, whatever the picture shows: actions say nothing of places,
    so who wants to know them must look at what moves."""

    def __init__(self, palette: Palette, seeds: Sequence[int], span_ticks: tuple[int, int] = SPAN_TICKS) -> None:
        self._palette, self._span_ticks = palette, span_ticks
        self._rngs = [np.random.Generator(np.random.Philox(key=[seed, 77])) for seed in seeds]
        names = palette.space.names()
        self._held = [dict.fromkeys(names, 0.0) for _ in seeds]
        self._left = [dict.fromkeys(names, 0) for _ in seeds]

    def actions(self, tick: int) -> list[Action]:
        return [self._of(row) for row in range(len(self._rngs))]

    def _of(self, row: int) -> Action:
        rng, held, left = self._rngs[row], self._held[row], self._left[row]
        for name in held:
            if left[name] == 0:
                held[name] = self._draw(name, rng)
                left[name] = int(rng.integers(self._span_ticks[0], self._span_ticks[1] + 1))
            left[name] -= 1
        space = self._palette.space
        axes = {axis: quantise_axis(held[axis]) for axis in space.axes}
        return Action(frozenset(b for b in space.buttons if held[b]), axes)

    def _draw(self, name: str, rng: np.random.Generator) -> float:
        if name in self._palette.space.axes:
            return float(rng.choice(self._palette.levels_of(name)))
        return float(rng.random() < self._palette.button_rate.get(name, 0.3))


def masher(palette: Palette, seeds: Sequence[int]) -> Wanderer:
    """Everything at once, all the time: each control is on or off with equal chance, anew every tick or two."""
    everything = Palette(
        palette.space,
        {axis: tuple(sorted(set(palette.levels_of(axis)))) for axis in palette.space.axes},
        dict.fromkeys(palette.space.buttons, 0.5),
    )
    return Wanderer(everything, [seed + 500_000 for seed in seeds], MASH_TICKS)


class HandsOff:
    """No key is touched."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def actions(self, tick: int) -> list[Action]:
        return [IDLE] * self._rows


class Tape:
    """What was done, again. After its end the last actions are held."""

    def __init__(self, ticks: Sequence[Sequence[Action]]) -> None:
        self.ticks = [list(actions) for actions in ticks]

    def actions(self, tick: int) -> list[Action]:
        return list(self.ticks[min(tick, len(self.ticks) - 1)])

    def shuffled(self) -> Tape:
        """Every row gets the actions of the row before it: as likely, and wrong."""
        return Tape([[*actions[-1:], *actions[:-1]] for actions in self.ticks])


class Recorder:
    """Lets another player play and keeps what it did."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._ticks: list[list[Action]] = []

    def actions(self, tick: int) -> list[Action]:
        self._ticks.append(self._player.actions(tick))
        return list(self._ticks[-1])

    def again(self, tick: int) -> list[Action]:
        """What was done in a tick that has been played."""
        return self._ticks[tick]

    @property
    def tape(self) -> Tape:
        return Tape(self._ticks)


class Prompted:
    """Another player under a prompt of its own for each row, said in its first tick and whenever it changes.

    `moods[row]` are the prompts in the order they come, each for `every_ticks`, from the beginning again at the end.
    """

    def __init__(self, player: Player, moods: Sequence[Sequence[str]], every_ticks: int) -> None:
        self._player, self._moods, self.every_ticks = player, moods, every_ticks

    def mood(self, row: int, tick: int) -> str:
        """The prompt in force in the tick."""
        return self._moods[row][tick // self.every_ticks % len(self._moods[row])]

    def actions(self, tick: int) -> list[Action]:
        actions = self._player.actions(tick)
        if tick % self.every_ticks:
            return actions
        return [
            replace(action, prompt=self.mood(row, tick)) if self.mood(row, tick) else action
            for row, action in enumerate(actions)
        ]


class Turns:
    """Several players take the rows in turn: the first row 0, the second row 1, and so on; all are asked for all."""

    def __init__(self, players: Sequence[Player]) -> None:
        self._players = players

    def actions(self, tick: int) -> list[Action]:
        said = [player.actions(tick) for player in self._players]
        return [said[row % len(said)][row] for row in range(len(said[0]))]
