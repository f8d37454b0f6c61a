"""Bots: controllers that need neither a player nor a file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..runtime.config import did_you_mean
from ..runtime.core import Action, ActionSpace, ConfigError, Controller, quantise_axis

KNOT_TICKS = 16
"""An axis glides from one random value to the next over this many ticks: 0.8 s at 20 Hz, a calm hand."""
BUTTON_TICKS = 8
BUTTON_CHANCE = 0.1
PROMPT_TICKS = 120
PROMPT_CHANCE = 0.5

AXIS_BIAS = {"throttle": 0.7, "brake": -0.9}
"""Axes that by their meaning rest at an end: without it a car would brake as much as it drives and go nowhere."""

_AXIS_STREAM, _BUTTON_STREAM, _PROMPT_STREAM = 0, 1, 2


class IdleController:
    """The action with no input, on every tick."""

    def __init__(self) -> None:
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        return Action()

    def close(self) -> None:
        pass


class WanderBot:
    """Holds controls at random, smoothly, and now and then says a prompt of the vocabulary.

    The action is a function of (seed, tick): numbers come from a counter-based generator, so no call changes another.
    """

    def __init__(self, actions: ActionSpace, seed: int = 0) -> None:
        if not 0 <= seed < 1 << 63:
            raise ConfigError(f"bot seed: expected 0 to 2**63 - 1, got {seed}")
        self._actions, self._seed = actions, seed
        self._drawn: dict[tuple[int, int], NDArray[np.float64]] = {}
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        return Action(self._buttons(tick), self._axes(tick), self._prompt(tick))

    def close(self) -> None:
        pass

    def _axes(self, tick: int) -> dict[str, int]:
        names = self._actions.axes
        knot, offset = divmod(tick, KNOT_TICKS)
        before, after = (2.0 * self._draw(_AXIS_STREAM, knot + step, len(names)) - 1.0 for step in (0, 1))
        share = offset / KNOT_TICKS
        values = before + (after - before) * share * share * (3.0 - 2.0 * share)  # smoothstep: no jerk at a knot
        levels = {name: quantise_axis(v + AXIS_BIAS.get(name, 0.0)) for name, v in zip(names, values, strict=True)}
        return {name: level for name, level in levels.items() if level}

    def _buttons(self, tick: int) -> frozenset[str]:
        names = self._actions.buttons
        chances = self._draw(_BUTTON_STREAM, tick // BUTTON_TICKS, len(names))
        return frozenset(name for name, chance in zip(names, chances, strict=True) if chance < BUTTON_CHANCE)

    def _prompt(self, tick: int) -> str | None:
        words = [word for group in self._actions.prompts.values() for word in group]
        if tick == 0 or tick % PROMPT_TICKS or not words:
            return None
        chance, choice = self._draw(_PROMPT_STREAM, tick // PROMPT_TICKS, 2)
        return words[int(choice * len(words))] if chance < PROMPT_CHANCE else None

    def _draw(self, stream: int, index: int, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1) that belong to (seed, stream, index)."""
        numbers = self._drawn.get((stream, index))
        if numbers is None:
            bits = np.random.Philox(key=[self._seed, stream], counter=[0, index, 0, 0])
            numbers = np.random.Generator(bits).random(count)
            if len(self._drawn) >= 8:
                self._drawn.clear()
            self._drawn[(stream, index)] = numbers
        return numbers


BOTS: dict[str, Callable[[ActionSpace, int], Controller]] = {
    "idle": lambda actions, seed: IdleController(),
    "wander": WanderBot,
}


def make_bot(name: str, actions: ActionSpace, seed: int = 0) -> Controller:
    """A bot by its name. Raises `ConfigError` naming the bots there are."""
    if name not in BOTS:
        raise ConfigError(f"unknown bot {name!r}; {did_you_mean(name, BOTS)} (bots: {', '.join(BOTS)})")
    return BOTS[name](actions, seed)
