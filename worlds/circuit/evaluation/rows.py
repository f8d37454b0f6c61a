"""The circuit's network and its simulator as rows of sessions, from starts never trained on, and drivers who look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.generator.ticks import RollingGenerator
from ....runtime.core import AXIS_LEVELS, Action, ActionSpace, Frame, quantise_axis
from ...evaluation.players import Palette
from ...evaluation.subjects import Frames, Poses
from ...prompts.words import parse_prompt
from ...recipe.rollout import denoised
from .. import world as circuit
from ..recipe.data import HELD_OUT_SEED, Driver, car_of, condition
from ..teacher.simulator import TIMES, WEATHERS, Controls, State, controls_of
from .rig import Bench

FIRST_SEED = HELD_OUT_SEED + 20_000
"""The other measures of the circuit use the numbers below."""
PAST_TICKS = 8
STEPS = 4
LOST_TICKS = 45
"""No roof hides a car longer: a player unseen for more is gone."""
SEED_STEP = Controls(throttle=0.7)
GROUPS: Mapping[str, tuple[str, ...]] = {"weather": WEATHERS, "time": TIMES}
LEVELS = {"steer": (-1.0, -1.0, 0.0, 1.0, 1.0), "throttle": (0.0, 1.0, 1.0), "brake": (0.0,) * 5 + (1.0,)}
BASE = Action(axes={"throttle": round(0.6 * AXIS_LEVELS)})


class CircuitRows:
    """What the network and its teacher share: the states of the sessions, and actions as controls."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.states: list[State] = []

    def start_states(self, seeds: Sequence[int]) -> list[list[State]]:
        """The pasts of the sessions, `PAST_TICKS` states each, out in the open at their end."""
        return [self._past(seed) for seed in seeds]

    def _past(self, seed: int) -> list[State]:
        simulator = self.bench.simulator
        for attempt in range(64):
            states = [simulator.reset(FIRST_SEED + seed + attempt * 1_000_003)]
            while len(states) < PAST_TICKS:
                states.append(simulator.step(states[-1], SEED_STEP))
            if simulator.covered(states[-1].player) is None:
                break
        return states

    def controls(self, action: Action) -> Controls:
        chosen = parse_prompt(action.prompt or "", GROUPS, {}).chosen
        axes = {name: action.axis(name) for name in LEVELS}
        return controls_of(
            axes, handbrake="handbrake" in action.buttons, weather=chosen.get("weather"), time=chosen.get("time")
        )

    def poses(self) -> Poses:
        players = [state.player for state in self.states]
        return np.array([[car.x, car.y, car.heading] for car in players])


class CircuitTeacher(CircuitRows):
    """The simulator, drawn."""

    def start(self, seeds: Sequence[int]) -> None:
        self.states = [states[-1] for states in self.start_states(seeds)]

    def step(self, actions: Sequence[Action]) -> None:
        pairs = zip(self.states, actions, strict=True)
        self.states = [self.bench.simulator.step(state, self.controls(action)) for state, action in pairs]

    def frames(self) -> Frames:
        return np.stack([self.bench.renderer.draw(state) for state in self.states])

    def lost(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.states), bool)


class CircuitDream(CircuitRows):
    """The network, all rows in one pass. `states`: the teacher's with the cars where the dream shows them; for who
    drives by what it shows, and for where to look."""

    def __init__(self, bench: Bench, steps: int = STEPS, window: int | None = None) -> None:
        """`window`: see no further back than so many ticks."""
        super().__init__(bench)
        self._steps, self._window = steps, window
        self._tokenizer, self._dynamics = circuit.load_networks(bench.folder)

    def start(self, seeds: Sequence[int]) -> None:
        pasts = self.start_states(seeds)
        self.start_from(pasts, np.array([[condition(SEED_STEP, state) for state in states] for states in pasts]))

    def start_from(self, pasts: Sequence[Sequence[State]], conditions: NDArray[np.float32]) -> None:
        """The sessions begin after these true states, all of one length. `conditions`: `(rows, ticks, n)`, what led
        into each state."""
        self._generator = RollingGenerator(self._tokenizer, self._dynamics, rows=len(pasts), window=self._window)
        latents = [self.bench.encode(self._generator, self.bench.frames(list(states))) for states in pasts]
        self._generator.prefill(torch.stack(latents), torch.from_numpy(conditions))
        self.states = [states[-1] for states in pasts]
        self._hidden = np.zeros(len(pasts), int)

    def step(self, actions: Sequence[Action]) -> None:
        self.step_controls([self.controls(action) for action in actions])

    @torch.inference_mode()
    def step_controls(self, controls: Sequence[Controls]) -> None:
        """A tick under the simulator's own controls, which may lie between the levels of an action."""
        shadows = [self.bench.simulator.step(s, c) for s, c in zip(self.states, controls, strict=True)]
        given = torch.from_numpy(np.stack([condition(c, s) for c, s in zip(controls, shadows, strict=True)]))
        self._generator.commit(denoised(self._generator, given, self._steps), given)
        last, before = self._generator.last, self._generator.before
        for row, shadow in enumerate(shadows):
            player, rival = (car_of(last[row], before[row], slot) for slot in (0, 1))
            self._hidden[row] = self._hidden[row] + 1 if player is None else 0
            self.states[row] = replace(shadow, player=player or shadow.player, rival=rival or shadow.rival)

    def frames(self) -> Frames:
        return np.stack([self.frame(row) for row in range(len(self.states))])

    def lost(self) -> NDArray[np.bool_]:
        return np.asarray(self._hidden > LOST_TICKS)

    def frame(self, row: int) -> Frame:
        """Of one session. Always decoded alone: two at once may be rounded otherwise, and take no less time."""
        return np.asarray(self._generator.decode(self._generator.last[row : row + 1])[0].numpy())

    @property
    def window_ticks(self) -> int:
        return int(self._generator.window) if self.states else self._window or self._dynamics.config.window


class Drivers:
    """The teacher's drivers, who look where the cars are in whatever subject they drive. They say no prompts."""

    def __init__(self, subject: CircuitRows, seeds: Sequence[int]) -> None:
        self._subject = subject
        self._drivers = [Driver(subject.bench.simulator, FIRST_SEED + seed, prompt_rate=0.0) for seed in seeds]

    def actions(self, tick: int) -> list[Action]:
        return [
            action_of(driver.controls(state)) for driver, state in zip(self._drivers, self._subject.states, strict=True)
        ]


def action_of(controls: Controls) -> Action:
    axes = {name: quantise_axis(getattr(controls, name)) for name in LEVELS}
    return Action(frozenset({"handbrake"} if controls.handbrake else ()), axes)


def palette() -> Palette:
    prompts = {group: tuple(words) for group, words in GROUPS.items()}
    return Palette(ActionSpace(("handbrake",), tuple(LEVELS), prompts), LEVELS, {"handbrake": 0.08}, BASE)
