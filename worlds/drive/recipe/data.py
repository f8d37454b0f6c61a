"""Training and evaluation data of the drive world: random still scenes, and driven episodes.

    python -m nextframe.worlds.drive.recipe.data --out runs/drive --frames 9000 [--part K --parts N]

Owns how the teacher's states become arrays and what the drivers do. Everything follows from a seed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ....model.tokenizers.scenes.chase import LEAN, POSITION_SCALE_M, SCENE_DIM, SLIP, SLIP_SCALE, SPEED, SPEED_SCALE
from ..teacher.camera import HEIGHT_PX, WIDTH_PX
from ..teacher.render import Renderer
from ..teacher.simulator import TIMES, TOP_SPEED, WEATHERS, Controls, Simulator, States, wrap
from ..teacher.track import HEIGHT_M, WALL_M, WIDTH_M, Track

CONDITION_DIM = 3 + len(WEATHERS) + len(TIMES)
HELD_OUT_SEED = 1_000_000
"""Episodes with seeds from here on are never trained on."""
RESTING_SHARE = 0.16
"""Of drivers, who stand with hands off for seconds at a time."""


def latents_of(simulator: Simulator, states: States) -> NDArray[np.float32]:
    """What the states look like as latents, `(sessions, latent_dim)`; nothing of the teacher is left out but the
    rival's pace and offset."""
    scene = np.zeros((len(states), SCENE_DIM))
    scene[:, :4], scene[:, 4:7] = 2 * states.weather - 1, 2 * states.time - 1
    scene[:, SPEED], scene[:, SLIP] = states.speed / SPEED_SCALE, states.slip / SLIP_SCALE
    scene[:, LEAN] = states.lean
    x, y, heading = simulator.rival_pose(states)
    slots = [
        _slot(states.x, states.y, states.heading, states.braking),
        _slot(x, y, heading, states.rival_braking),
    ]
    return np.concatenate([scene, *slots], 1).astype(np.float32)


def _slot(x: NDArray, y: NDArray, heading: NDArray, lamp: NDArray) -> NDArray:
    place = [(x - WIDTH_M / 2) / POSITION_SCALE_M, (y - HEIGHT_M / 2) / POSITION_SCALE_M]
    return np.stack([*place, np.cos(heading), np.sin(heading), np.ones_like(x), 2 * lamp - 1], 1)


def condition(controls: Controls, states: States) -> NDArray[np.float32]:
    """What the network is told on the way into a frame, `(sessions, CONDITION_DIM)`: the controls, then the prompt."""
    axes = np.stack([controls.steer, controls.throttle, controls.brake], 1)
    return np.concatenate([axes, np.eye(4)[states.weather_target], np.eye(3)[states.time_target]], 1).astype(np.float32)


def none_of(sessions: int) -> Controls:
    """Hands off, nothing asked."""
    still, unasked = np.zeros(sessions), np.full(sessions, -1)
    return Controls(still, still, still, unasked, unasked)


# --- still scenes, for the tokenizer ------------------------------------------------------------------------------


def random_states(simulator: Simulator, count: int, seed: int) -> States:
    """Cars anywhere inside the fence, mostly along the road, any weather and hour, a third of them mid-blend."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    states = simulator.reset([int(s) for s in rng.integers(1 << 31, size=count)])
    track_, n = simulator.track, len(simulator.track.line)
    at = rng.integers(n, size=count)
    angle = track_.tangent[at]
    off = rng.random(count) < 0.25
    side = np.where(off, rng.uniform(-WALL_M, WALL_M, count), rng.normal(0, 2.6, count).clip(-7, 7))
    spread = np.where(rng.random(count) < 0.15, 3.2, np.where(off, 0.5, 0.14))
    heading = angle + rng.normal(0, 1, count) * spread
    gap = np.where(rng.random(count) < 0.7, rng.gamma(1.6, 14.0, count) + 3, rng.uniform(0, track_.length_m, count))
    blend = rng.random(count) < 0.33
    part = rng.random(count) * blend
    other = rng.permutation(count)
    weather = states.weather * (1 - part)[:, None] + states.weather[other] * part[:, None]
    time = states.time * (1 - part)[:, None] + states.time[other] * part[:, None]
    return replace(
        states, x=track_.line[at, 0] - np.sin(angle) * side, y=track_.line[at, 1] + np.cos(angle) * side,
        heading=wrap(heading), speed=rng.uniform(-0.1, 1.0, count) * TOP_SPEED, slip=rng.normal(0, 0.1, count),
        lean=np.where(rng.random(count) < 0.4, 0.0, rng.uniform(-1, 1, count)),
        braking=(rng.random(count) < 0.4).astype(float),
        rival_along=((at * track_.spacing_m + gap) % track_.length_m).astype(float),
        rival_offset=rng.uniform(-3.5, 3.5, count), rival_braking=(rng.random(count) < 0.4).astype(float),
        weather=weather, time=time,
    )  # fmt: skip


def still_scenes(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Frames `(count, height, width, 3)` and latents `(count, latent_dim)` of random states."""
    simulator = Simulator()
    renderer = Renderer(simulator)
    states = random_states(simulator, count, seed)
    frames = np.empty((count, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for k in track(range(count), "drawing"):
        frames[k] = renderer.draw(states, k)
    return frames, latents_of(simulator, states)


# --- driven episodes, for the dynamics ----------------------------------------------------------------------------


class Drivers:
    """Seeded human-like drivers, one per session: they race, wander, hold a wheel, mash keys, idle or back up.

    Keyboard drivers steer with -1, 0, 1; pad drivers with anything between. Prompts change now and then. A `careless`
    one never races and holds what it does for seconds, so that it finds the fences.
    """

    MODES = ("race", "hold", "mash", "idle", "back")

    def __init__(
        self, simulator: Simulator, count: int, seed: int, *, prompt_rate: float = 0.006, careless: float = 0.0
    ) -> None:
        self._rng = np.random.Generator(np.random.Philox(key=seed + 17))
        self._track = simulator.track
        self._prompt_rate = prompt_rate
        self._keyboard = self._rng.random(count) < 0.6
        self._careless = self._rng.random(count) < careless
        self._rests = self._rng.random(count) < RESTING_SHARE
        self._mode = np.zeros(count, np.intp)
        self._left = np.zeros(count, np.intp)
        self._offset = np.zeros(count)
        self._held = np.zeros((count, 3))

    def controls(self, states: States) -> Controls:
        rng, count = self._rng, len(states)
        self._choose(self._left <= 0)
        self._left -= 1
        mashing = (self._mode == 2) & (self._left % 3 == 0)
        self._held[mashing] = self._random()[mashing]
        axes = np.where((self._mode == 0)[:, None], self._race(states), self._held)
        axes[:, 2] = np.where(self._rests & (self._mode == 3), states.speed > 0.05, axes[:, 2])  # to a stop, no further
        asked = [
            np.where(rng.random(count) < self._prompt_rate, rng.integers(k, size=count), -1)
            for k in (len(WEATHERS), len(TIMES))
        ]
        return Controls(axes[:, 0], axes[:, 1], axes[:, 2], *asked)

    def _choose(self, due: NDArray) -> None:
        rng, count = self._rng, len(due)
        mode = np.searchsorted(np.cumsum((0.62, 0.16, 0.12, 0.06, 0.04)), rng.random(count))
        mode = np.where(self._careless, np.where(mode == 0, 1, mode), mode).clip(0, 4)
        left = np.where(mode == 0, rng.integers(40, 220, count), rng.integers(4, 36, count))
        left = np.where(self._careless, rng.integers(8, 120, count), left)
        rests = self._rests & (rng.random(count) < 0.7)
        mode, left = np.where(rests, 3, mode), np.where(rests, rng.integers(60, 160, count), left)
        held = self._random()
        held[mode == 3] = 0
        held[mode == 4, 1:] = (0.0, 1.0)
        offset = rng.uniform(-4.6, 4.6, count)
        for kept, value in ((self._mode, mode), (self._left, left), (self._offset, offset), (self._held, held)):
            kept[due] = value[due]

    def _random(self) -> NDArray:
        rng, count = self._rng, len(self._mode)
        keys, pads = rng.integers(-1, 2, count).astype(float), np.clip(rng.normal(0, 0.6, count), -1, 1)
        steer = np.where(self._keyboard, keys, pads)
        throttle = np.where(self._keyboard, rng.random(count) < 0.75, rng.random(count))
        return np.stack([steer, throttle, (rng.random(count) < 0.14) * 1.0], 1)

    def _race(self, states: States) -> NDArray:
        track_, n = self._track, len(self._track.line)
        index, _, _ = track_.locate(states.x, states.y)
        ahead = (index + (12 + 14 * np.abs(states.speed)).astype(np.intp)) % n
        angle = track_.tangent[ahead]
        aim_x = track_.line[ahead, 0] - np.sin(angle) * self._offset
        aim_y = track_.line[ahead, 1] + np.cos(angle) * self._offset
        error = wrap(np.arctan2(aim_y - states.y, aim_x - states.x) - states.heading)
        steer = np.clip(3.6 * error + self._rng.normal(0, 0.06, len(states)), -1, 1)
        steer = np.where(self._keyboard, np.where(np.abs(steer) > 0.35, np.round(steer), 0.0), steer)
        bends = np.abs(track_.curvature[(index[:, None] + np.arange(6, 90, 8)) % n]).max(1)
        wanted = np.minimum(TOP_SPEED, np.sqrt(0.075 / np.maximum(bends, 1e-3)))
        return np.stack([steer, (states.speed < wanted) * 1.0, (states.speed > wanted * 1.2) * 1.0], 1)


class Pilot:
    """Drives what the dream shows along the course, each row at its own offset from the line, in metres."""

    def __init__(self, track: Track, offsets_m: NDArray[np.float64]) -> None:
        self._track = track
        self._offset = offsets_m

    def controls(self, states: States) -> Controls:
        track, n = self._track, len(self._track.line)
        index, _, _ = track.locate(states.x, states.y)
        ahead = (index + (12 + 14 * np.abs(states.speed)).astype(np.intp)) % n
        angle = track.tangent[ahead]
        aim_x = track.line[ahead, 0] - np.sin(angle) * self._offset
        aim_y = track.line[ahead, 1] + np.cos(angle) * self._offset
        steer = np.clip(3.6 * wrap(np.arctan2(aim_y - states.y, aim_x - states.x) - states.heading), -1, 1)
        bends = np.abs(track.curvature[(index[:, None] + np.arange(6, 90, 8)) % n]).max(1)
        wanted = np.minimum(2.1, np.sqrt(0.07 / np.maximum(bends, 1e-3)))
        slow = (states.speed < wanted).astype(float)
        return replace(
            none_of(len(states)), steer=steer, throttle=slow, brake=(states.speed > wanted * 1.2).astype(float)
        )


def drive(
    simulator: Simulator, count: int, ticks: int, seed: int, **options: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latents `(count, ticks, latent_dim)` and conditions `(count, ticks, CONDITION_DIM)`; the first leads nowhere."""
    states = simulator.reset([seed + k for k in range(count)])
    drivers = Drivers(simulator, count, seed, **options)
    latents, conditions = [latents_of(simulator, states)], [condition(none_of(count), states)]
    for _ in range(ticks - 1):
        controls = drivers.controls(states)
        states = simulator.step(states, controls)
        latents.append(latents_of(simulator, states))
        conditions.append(condition(controls, states))
    return np.stack(latents, 1), np.stack(conditions, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/drive"))
    parser.add_argument("--frames", type=int, default=9000)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    frames, latents = still_scenes(options.frames // options.parts, 1 + options.part)
    np.save(options.out / f"frames_{options.part}.npy", frames)
    np.save(options.out / f"labels_{options.part}.npy", latents)


if __name__ == "__main__":
    main()
