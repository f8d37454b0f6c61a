"""Free runs: the dream drives on its own frames, is judged against the teacher, and is asked what-if questions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.still import SLOT_DIM
from ...evaluation.measures import (
    Image,
    edge_energy,
    likeness,
    strangers,
    visible_change,
)
from ...recipe.rollout import denoised
from ..recipe.data import HELD_OUT_SEED, Driver, Episode, car_of, condition, drive
from ..teacher.simulator import TIMES, WEATHERS, Car, Controls, State, one_hot
from ..teacher.track import HEIGHT_PX, WIDTH_PX
from .rig import Bench

LIKENESS = 0.7
"""A car is where it should be if its picture correlates this well with the teacher's of the same pose."""


STRANGER_PIXELS = 40
"""A second car would cover 150 pixels or more."""


BAND_LEVELS = 2.0
"""The band of real frames *in the same weather and hour* is a level or two wide; this much of 255 is added to it."""


class DreamDriver:
    """Drives by what the dream shows: the pose in the newest latent, speed from the last two. Switches on a script."""

    def __init__(self, bench: Bench, row: int, state: State) -> None:
        self._driver = Driver(bench.simulator, HELD_OUT_SEED + 9000 + row, prompt_rate=0.0)
        self.state = state
        self._row = row

    def controls(self, tick: int) -> Controls:
        controls = self._driver.controls(self.state)
        if tick % 100 == 20:
            turn = tick // 100 + self._row
            return replace(controls, weather=WEATHERS[turn % 4], time=TIMES[(turn // 2) % 3])
        return controls

    def see(self, bench: Bench, last: Tensor, before: Tensor, controls: Controls) -> None:
        """Follow the prompt as the teacher would, and take the cars from the dream where it shows them."""
        shadow = bench.simulator.step(self.state, controls)
        player = car_of(last, before, 0) or shadow.player
        rival = car_of(last, before, 1) or shadow.rival
        self.state = replace(shadow, player=player, rival=rival)


@dataclass
class Dream:
    """A free run of `STARTS` rows: what it shows at the ticks asked for, and how it answered counterfactuals."""

    at: dict[int, list[dict[str, float]]]
    steering: list[tuple[float, float]]
    weather_seen: list[bool]
    flips_seen: list[bool]
    hidden_ticks: list[list[int]]
    film: list[Image]


def start_rows(bench: Bench, generator: RollingGenerator, rows: int) -> tuple[list[DreamDriver], Tensor]:
    """Fill the memory with eight true frames of each held-out start; returns drivers and the last conditions."""
    episodes: list[Episode] = []
    seed = HELD_OUT_SEED + 100
    while len(episodes) < rows:
        seed += 1
        episode = drive(bench.simulator, seed, 7, prompt_rate=0.0)
        if bench.simulator.covered(episode.states[-1].player) is None:
            episodes.append(episode)
    latents = torch.stack([bench.encode(generator, bench.frames(e.states)) for e in episodes])
    conditions = torch.stack([torch.from_numpy(e.conditions) for e in episodes])
    generator.prefill(latents, conditions)
    return [DreamDriver(bench, k, e.states[-1]) for k, e in enumerate(episodes)], conditions[:, -1]


def free_run(bench: Bench, rows: int, ticks: int, steps: int, ask_at: tuple[int, ...]) -> Dream:
    generator = bench.generator(rows)
    drivers, _ = start_rows(bench, generator, rows)
    dream = Dream({}, [], [], [], [[0] for _ in range(rows)], [])
    bands = real_bands(bench)
    for t in track(range(1, ticks + 1), f"free run, {rows} starts"):
        controls = [driver.controls(t) for driver in drivers]
        given = torch.stack(
            [torch.from_numpy(condition(c, one_ahead(d.state, c))) for c, d in zip(controls, drivers, strict=True)]
        )
        if t in ask_at or t % 250 == 150:
            ask(bench, generator, drivers, given, dream)
        latent = denoised(generator, given, steps)
        if t in ask_at or t % 20 == 0:
            frames = generator.decode(latent).numpy()
            dream.film.append(frames[0])
        generator.commit(latent, given)
        for k, driver in enumerate(drivers):
            driver.see(bench, generator.last[k], generator.before[k], controls[k])
            hidden = generator.last[k][-2 * SLOT_DIM + 4] < 0
            dream.hidden_ticks[k].append(dream.hidden_ticks[k][-1] + 1 if hidden else 0)
        if t in ask_at:
            dream.at[t] = [
                judge(bench, frames[k], drivers[k].state, dream.hidden_ticks[k][-1], bands) for k in range(rows)
            ]
    return dream


def one_ahead(state: State, controls: Controls) -> State:
    """The state whose prompt targets already include this tick's switch."""
    return replace(
        state, weather_target=controls.weather or state.weather_target, time_target=controls.time or state.time_target
    )


def real_bands(bench: Bench) -> dict[tuple[str, str], Any]:
    """Mean colour and contrast of real frames by weather and time: 1 % and 99 % quantiles, `(2, 4)`."""
    bands = {}
    for weather in WEATHERS:
        for time in TIMES:
            rows = []
            for k in range(40):
                state = bench.simulator.reset(HELD_OUT_SEED + 3000 + k, weather=weather, time=time)
                frame = bench.renderer.draw(state).astype(np.float64)
                rows.append([*frame.mean((0, 1)), frame.std()])
            low, high = np.quantile(rows, [0.01, 0.99], axis=0)
            bands[weather, time] = (low - BAND_LEVELS, high + BAND_LEVELS)
    return bands


def judge(
    bench: Bench, frame: Image, state: State, hidden_ticks: int, bands: dict[tuple[str, str], Any]
) -> dict[str, float]:
    """One dreamt frame against the teacher's picture of the same situation."""
    real, background = bench.renderer.draw(state), bench.renderer.background(state)
    player, rival = state.player, state.rival
    alike = likeness(frame, real, background, player.x, player.y)
    others = strangers(frame, real, [(player.x, player.y), (rival.x, rival.y)])
    if hidden_ticks or bench.renderer.visible(player) < 0.15:
        fine = hidden_ticks <= 30 and near_cover(bench, player) and others < STRANGER_PIXELS
    else:
        fine = alike >= LIKENESS and others < STRANGER_PIXELS
    low, high = bands[state.weather_target, state.time_target]
    numbers = np.array([*frame.astype(np.float64).mean((0, 1)), frame.std()])
    return {
        "edge_energy": edge_energy(frame) / edge_energy(real), "one_player": float(fine),
        "colour_in_band": float(((numbers >= low) & (numbers <= high)).all()),
        "likeness": alike, "stranger_pixels": others, "hidden_ticks": hidden_ticks,
    }  # fmt: skip


def near_cover(bench: Bench, car: Car) -> bool:
    """Under a roof or within a car's length of one."""
    lap = bench.simulator.track.lap(bench.simulator.track.locate(car.x, car.y)[0])
    margin = 19 / bench.simulator.track.length_px
    return any(cover.start - margin <= lap <= cover.stop + margin for cover in bench.simulator.track.covers)


def ask(bench: Bench, generator: RollingGenerator, drivers: list[DreamDriver], given: Tensor, dream: Dream) -> None:
    """Counterfactuals from here, same memory and noise: another weather; left against right; a held turn."""
    here = generator.snapshot()
    plain = generator.decode(denoised(generator, given, 4)).numpy()
    switched = given.clone()
    for k, driver in enumerate(drivers):
        now = WEATHERS.index(driver.state.weather_target)
        switched[k, 4 : 4 + len(WEATHERS)] = torch.tensor(one_hot(WEATHERS[(now + 1 + k % 3) % 4], WEATHERS))
    other = generator.decode(denoised(generator, switched, 4)).numpy()
    dream.weather_seen += [
        visible_change(a, b, levels=2) > 0.2 * WIDTH_PX * HEIGHT_PX for a, b in zip(plain, other, strict=True)
    ]
    left, right = given.clone(), given.clone()
    left[:, 0], right[:, 0] = -1.0, 1.0
    a, b = (generator.decode(denoised(generator, side, 4)).numpy() for side in (left, right))
    for k, driver in enumerate(drivers):
        shown = generator.last[k][-2 * SLOT_DIM + 4] > 0 and bench.renderer.visible(driver.state.player) > 0.5
        if shown and driver.state.player.speed > 1.0:
            dream.flips_seen.append(visible_change(a[k], b[k]) >= 10)
    held_turns(bench, generator, drivers, given, dream)
    generator.restore(here)


def held_turns(  # noqa: PLR0917 - as `ask`, which is its only caller
    bench: Bench, generator: RollingGenerator, drivers: list[DreamDriver], given: Tensor, dream: Dream, ticks: int = 8
) -> None:
    """Hold a steering level for a while in the dream and in the teacher from the same pose; compare the turns."""
    levels = torch.linspace(-1, 1, len(drivers))
    held = given.clone()
    held[:, 0], held[:, 1], held[:, 2], held[:, 3] = levels, 0.6, 0.0, 0.0
    states = [replace(d.state) for d in drivers]
    before = generator.last.clone()
    fair = [s.player.speed > 0.8 for s in states]
    for _ in range(ticks):
        generator.commit(denoised(generator, held, 2), held)
        for k, state in enumerate(states):
            states[k] = bench.simulator.step(state, Controls(float(levels[k]), 0.6))
            fair[k] &= not states[k].hit and bench.simulator.covered(states[k].player) is None
            fair[k] &= bool(generator.last[k][-2 * SLOT_DIM + 4] > 0)
    for k, (state, driver) in enumerate(zip(states, drivers, strict=True)):
        dreamt = car_of(generator.last[k], before[k], 0)
        if fair[k] and dreamt is not None:
            turn = [
                math.atan2(math.sin(h - driver.state.player.heading), math.cos(h - driver.state.player.heading))
                for h in (dreamt.heading, state.player.heading)
            ]
            dream.steering.append((turn[0], turn[1]))
