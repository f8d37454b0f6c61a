"""The road course as a pair: the shipped network, and the simulator that taught it, from starts never trained on.

Owns the adapters, the racers who look where they drive, and how a place comes back a lap later. What is measured is in
the other modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.generator.ticks import RollingGenerator
from ....runtime.core import AXIS_LEVELS, Action, ActionSpace, Frame, quantise_axis
from ...evaluation.players import Palette
from ...evaluation.subjects import Frames, Pair, Return, Subject
from ...prompts.words import parse_prompt
from ...recipe.rollout import denoised, pictures
from .. import world as course
from ..recipe.data import HELD_OUT_SEED, Pilot, condition, latents_of, none_of
from ..recipe.on_policy import seen
from ..teacher.render import Renderer
from ..teacher.simulator import TIMES, WEATHERS, Controls, Simulator, States
from ..teacher.track import WALL_M
from .gates import Bench

FIRST_SEED = HELD_OUT_SEED + 20_000
"""The course's own measures use the numbers below."""
PAST_TICKS, PAST_THROTTLE = 8, 0.5
STEPS = 4
GROUPS: Mapping[str, tuple[str, ...]] = {"weather": WEATHERS, "time": TIMES}
LEVELS = {"steer": (-1.0, -1.0, 0.0, 1.0, 1.0), "throttle": (0.0, 1.0, 1.0), "brake": (0.0,) * 5 + (1.0,)}
BASE = Action(axes={"throttle": round(0.6 * AXIS_LEVELS)})
WIDEST_M = 2.5
"""Racers keep lines of their own, so far from the middle at most."""
LOST_M, LOST_DB = 1.0, 20.0
"""Who is so far beyond the fence is lost, and whose picture is farther than that from the simulator's of the same
place."""
PLACES, LOOK_EVERY_TICKS, NEAR_M = 48, 40, 12.0
MOST_TICKS = 2_400
"""In which the slowest racer is twice around the course."""
ROLL_OUT_TICKS = 480
"""A car that is not braked: of the simulator's, 1 in 100 rolls for longer, and 1 in 6 for longer than 240."""


class DriveRows:
    """What the network and its teacher share: the states of the sessions, side by side, and actions as controls."""

    states: States

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def past(self, seeds: Sequence[int]) -> list[tuple[States, NDArray[np.float32]]]:
        """States, and what led into each, up to where the sessions begin."""
        simulator, found = self.bench.simulator, []
        states = simulator.reset([FIRST_SEED + seed for seed in seeds])
        controls = replace(none_of(len(seeds)), throttle=np.full(len(seeds), PAST_THROTTLE))
        for _ in range(PAST_TICKS):
            states = simulator.step(states, controls)
            found.append((states, condition(controls, states)))
        return found

    def poses(self) -> None:
        """The camera goes with the car: the whole picture is looked at."""


class DriveTeacher(DriveRows):
    """The simulator, drawn."""

    def start(self, seeds: Sequence[int]) -> None:
        self.states = self.past(seeds)[-1][0]

    def join(self, dream: DriveDream) -> None:
        """Go on from where the dream shows the cars."""
        self.states = dream.states

    def step(self, actions: Sequence[Action]) -> None:
        self.states = self.bench.simulator.step(self.states, controls_of(actions))

    def frames(self) -> Frames:
        return np.stack([self.bench.renderer.draw(self.states, row) for row in range(len(self.states))])

    def lost(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.states), bool)


class DriveDream(DriveRows):
    """The network, all rows in one pass. `states`: the teacher's with the cars where the dream shows them; for who
    drives by what it shows, and for what should be seen from there."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._networks = course.load_networks(bench.folder)
        self._generator: RollingGenerator | None = None
        self._shown: Frames | None = None

    @property
    def generator(self) -> RollingGenerator:
        assert self._generator is not None, "start comes first"
        return self._generator

    def start(self, seeds: Sequence[int]) -> None:
        past = self.past(seeds)
        latents = [torch.from_numpy(latents_of(self.bench.simulator, states)) for states, _ in past]
        given = [torch.from_numpy(led) for _, led in past]
        self._generator, self._shown = course.new_generator(*self._networks, len(seeds)), None
        self._generator.prefill(torch.stack(latents, 1), torch.stack(given, 1))
        self.states = past[-1][0]

    @torch.inference_mode()
    def step(self, actions: Sequence[Action]) -> None:
        controls = controls_of(actions)
        shadows = self.bench.simulator.step(self.states, controls)
        given = torch.from_numpy(condition(controls, shadows))
        self.generator.commit(denoised(self.generator, given, STEPS), given)
        self.states = seen(self.bench.simulator, shadows, self.generator.last, self.generator.before)
        self._shown = None

    def frames(self) -> Frames:
        if self._shown is None:
            self._shown = np.stack(pictures(self.generator, self.generator.last))
        return self._shown

    def frame(self, row: int) -> Frame:
        """Of one session, when the others are not looked at."""
        return pictures(self.generator, self.generator.last[row : row + 1])[0]

    def lost(self) -> NDArray[np.bool_]:
        _, _, side = self.bench.simulator.track.locate(self.states.x, self.states.y)
        true = [self.bench.renderer.draw(self.states, row) for row in range(len(self.states))]
        error = np.square((self.frames().astype(np.float32) - np.stack(true)) / 255).mean((1, 2, 3))
        return np.asarray((np.abs(side) > WALL_M + LOST_M) | (error > 10 ** (-LOST_DB / 10)))


def controls_of(actions: Sequence[Action]) -> Controls:
    """Side by side, as the world's own conditions have them: no negative throttle or brake."""
    said = [parse_prompt(action.prompt or "", GROUPS, {}).chosen for action in actions]
    asked = [
        np.array([words.index(one[group]) if group in one else -1 for one in said]) for group, words in GROUPS.items()
    ]
    steer, throttle, brake = (np.array([action.axis(name) for action in actions], float) for name in LEVELS)
    return Controls(steer, throttle.clip(0), brake.clip(0), *asked)


class Racers:
    """They drive along the course by what the subject shows, each on a line of its own. They say no prompts."""

    def __init__(self, subject: DriveRows, seeds: Sequence[int]) -> None:
        self._subject = subject
        draws = [np.random.Generator(np.random.Philox(key=[FIRST_SEED + seed, 9])) for seed in seeds]
        self._pilot = Pilot(
            subject.bench.simulator.track, np.array([rng.uniform(-WIDEST_M, WIDEST_M) for rng in draws])
        )

    def actions(self, tick: int) -> list[Action]:
        controls = self._pilot.controls(self._subject.states)
        rows = zip(controls.steer, controls.throttle, controls.brake, strict=True)
        return [
            Action(axes={name: quantise_axis(float(value)) for name, value in zip(LEVELS, row, strict=True)})
            for row in rows
        ]


def laps(pair: Pair, quick: bool) -> Iterator[Return]:
    """The dream is driven round by what it shows. In the second lap: is what it shows the place where the car is,
    rather than another? All of them have been out of sight for a lap."""
    assert isinstance(pair.world, DriveDream)
    seeds = [210_000 + k for k in range(2 if quick else 12)]
    yield from second_lap(pair.world, seeds, pair.world.bench.simulator.track.length_m)


def second_lap(dream: DriveDream, seeds: Sequence[int], lap_m: float) -> Iterator[Return]:
    """`lap_m`: after so far it begins, and it is as long again."""
    track, player = dream.bench.simulator.track, Racers(dream, seeds)
    dream.start(seeds)
    driven_m, lap_ticks = np.zeros(len(seeds)), np.zeros(len(seeds), int)
    _, along, _ = track.locate(dream.states.x, dream.states.y)
    for tick in range(MOST_TICKS):
        dream.step(player.actions(tick))
        _, now, _ = track.locate(dream.states.x, dream.states.y)
        driven_m += (now - along + track.length_m / 2) % track.length_m - track.length_m / 2
        along = now
        lap_ticks += driven_m < lap_m
        if driven_m.min() > 2 * lap_m:
            return
        if tick % LOOK_EVERY_TICKS:
            continue
        for row in np.flatnonzero((driven_m > lap_m) & (driven_m < 2 * lap_m)).tolist():
            others = elsewhere(dream.bench, dream.states.row(row))
            true = dream.bench.renderer.draw(dream.states, row)
            yield Return("a lap later", dream.frame(row), true, others, int(lap_ticks[row]), dream.generator.window)


def elsewhere(bench: Bench, state: States) -> Frames:
    """The teacher's picture of the same car in the same weather at other places around the lap."""
    track = bench.simulator.track
    at = np.arange(0, len(track.line), math.ceil(len(track.line) / PLACES))
    far = np.hypot(track.line[at, 0] - state.x, track.line[at, 1] - state.y) > NEAR_M
    cars = [
        replace(state, x=track.line[k : k + 1, 0], y=track.line[k : k + 1, 1], heading=track.tangent[k : k + 1])
        for k in at[far]
    ]
    return np.stack([bench.renderer.draw(car) for car in cars])


def pair(folder: Path) -> Pair:
    """The course in `folder` against its simulator. WeightsError: weights that are missing or damaged."""
    simulator = Simulator()
    bench = Bench(simulator, Renderer(simulator), folder)
    dream, teacher = DriveDream(bench), DriveTeacher(bench)
    return Pair(
        "drive", dream, teacher, palette(), course.dynamics_config().window, racers, laps,
        place_decides=True, roll_out_ticks=ROLL_OUT_TICKS, teacher_joins=lambda: teacher.join(dream),
        notes=("The inverse-dynamics network sees the whole picture in 48x48 pixels: the camera turns with the car.",),
    )  # fmt: skip


def palette() -> Palette:
    prompts = {group: tuple(words) for group, words in GROUPS.items()}
    return Palette(ActionSpace((), tuple(LEVELS), prompts), LEVELS, {}, BASE)


def racers(subject: Subject, seeds: Sequence[int]) -> Racers:
    assert isinstance(subject, DriveRows)
    return Racers(subject, seeds)
