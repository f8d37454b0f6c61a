"""Recorded input to guess on: the circuit's scripts, its human-like drivers and the bot that wanders.

Nothing here reads a clock; everything follows from seeds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ....controllers.bots import make_bot
from ....controllers.scripted import ScriptedController, load_script
from ....runtime.core import Action, ActionSpace, Clock, MonotonicClock, quantise_axis
from ....runtime.session.registry import WorldFolder
from ....worlds.circuit.recipe.data import Driver
from ....worlds.circuit.teacher.simulator import Controls, Simulator

KEYBOARD, PAD = "driver, keyboard", "driver, pad"
MAX_SEEDS = 100


def action_of(controls: Controls) -> Action:
    """What a controller would have polled."""
    values = {"steer": controls.steer, "throttle": controls.throttle, "brake": controls.brake}
    levels = {name: quantise_axis(value) for name, value in values.items()}
    words = [word for word in (controls.weather, controls.time) if word is not None]
    buttons = frozenset({"handbrake"} if controls.handbrake else ())
    return Action(buttons, {name: level for name, level in levels.items() if level}, " ".join(words) or None)


def driven(ticks: int, *, keyboard: bool, sessions: int = 5) -> list[Action]:
    """The inputs of so many human-like drivers of one kind, one after the other, `ticks` in all."""
    simulator, actions, found = Simulator(), [], 0
    for seed in range(MAX_SEEDS):
        driver = Driver(simulator, seed)
        if driver._keyboard != keyboard:
            continue
        state = simulator.reset(seed)
        for _ in range(-(-ticks // sessions)):
            controls = driver.controls(state)
            state = simulator.step(state, controls)
            actions.append(action_of(controls))
        found += 1
        if found == sessions:
            break
    return actions[:ticks]


def recordings(world: WorldFolder, ticks: int) -> dict[str, list[Action]]:
    """Every kind of input there is for the circuit, by name."""
    space = world.spec.action_space()
    named = {
        f"script, {path.stem}": scripted(ticks, str(path), space)
        for path in sorted((world.path / "scripts").glob("*.yaml"))
    }
    bot = make_bot("wander", space, seed=1)
    return {
        **named,
        KEYBOARD: driven(ticks, keyboard=True),
        PAD: driven(ticks, keyboard=False),
        "bot, wander": [bot.poll(tick) for tick in range(ticks)],
    }


def scripted(ticks: int, path: str, space: ActionSpace) -> list[Action]:
    script = load_script(path, space)
    player = ScriptedController(script, space)
    return [player.poll(tick) for tick in range(ticks if script.repeat else min(ticks, script.length))]


class TimedPlayer:
    """Plays a list of actions at moments a player could choose: a change falls anywhere between two polls.

    A controller, and the peek at it. `last_input_ns`: when the change that is polled happened, None if there was none.
    """

    def __init__(self, actions: Sequence[Action], clock: Clock, period_ns: int, seed: int = 0) -> None:
        self._actions, self._clock, self._period_ns = actions, clock, period_ns
        self._share = np.random.default_rng(seed).random(len(actions))
        self._index = 0  # of the action that comes next
        self._now = Action()
        self._due_ns = 0
        self.last_input_ns: int | None = None

    def action(self) -> Action:
        """The next action once its moment has come; until then what was held."""
        if self._index >= len(self._actions) or self._clock.now_ns() < self._due_ns:
            return self._now
        return self._actions[self._index]

    def poll(self, tick: int) -> Action:
        action, came = self.action(), self._index < len(self._actions) and self._clock.now_ns() >= self._due_ns
        changed = came and action != self._now
        self.last_input_ns = self._due_ns if changed else None
        self._now = Action(action.buttons, action.axes)
        if came:
            self._index += 1
        if self._index < len(self._actions):
            self._due_ns = self._clock.now_ns() + round(self._share[self._index] * self._period_ns)
        return action

    def doze_until(self, time_ns: int) -> None:
        if isinstance(self._clock, MonotonicClock):
            time.sleep(max(0, time_ns - self._clock.now_ns()) / 1e9)
        else:
            self._clock.sleep_until(time_ns)

    def close(self) -> None:
        pass
