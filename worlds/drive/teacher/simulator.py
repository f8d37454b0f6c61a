"""The teacher: two cars on a road course, as physics, many sessions at once.

Deterministic: same states and same controls, same states after, bit for bit. Owns positions, speeds, grip, the fence,
the rival, and the blending of weather and time of day. Draws nothing (see `render.py`). Lengths in metres, time in
ticks of 1/20 s, angles in radians, y down on the map. Every array has a leading dimension of sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .track import ROAD_HALF_M, WALL_M, Track, load_track

Numbers: TypeAlias = NDArray[np.float64]

WEATHERS = ("clear", "rain", "snow", "fog")
TIMES = ("day", "dusk", "night")
BLEND_TICKS = 10
"""A new prompt takes half a second to come true; a tenth of it shows in the very next frame."""

TOP_SPEED = 2.2
"""Metres a tick: 44 m/s."""
GRASS_TOP = 0.8
REST_SPEED = 0.04
"""A car that rolls slower than this, untouched, stands: what rests is then easy to learn, and to keep."""
GRIP = np.array((0.42, 0.26, 0.14, 0.42))
POWER = np.array((0.042, 0.038, 0.028, 0.042))
TURN = 0.062
"""Radians a tick at full lock."""
MOST_PUSH_M = 2.5
"""A car beyond the fence comes back by so much a tick: what a dream far outside could not follow is not asked."""
CAR_LENGTH_M, CAR_WIDTH_M = 4.4, 1.9
RIVAL_PACE = (0.62, 0.9)


@dataclass(frozen=True)
class Controls:
    """What the drivers do in one tick, `(sessions,)` each: steer -1 (left) to 1 (right), throttle and brake 0 to 1.

    `weather`, `time`: index of the prompt's word in `WEATHERS` and `TIMES`, -1 where nothing new is asked.
    """

    steer: Numbers
    throttle: Numbers
    brake: Numbers
    weather: NDArray[np.int64]
    time: NDArray[np.int64]

    @staticmethod
    def of(
        steer: float = 0.0, throttle: float = 0.0, brake: float = 0.0, *, weather: int = -1, time: int = -1
    ) -> Controls:
        """For one session."""
        numbers = [np.array([value], float) for value in (steer, throttle, brake)]
        return Controls(numbers[0], numbers[1], numbers[2], np.array([weather]), np.array([time]))


@dataclass(frozen=True)
class States:
    """Everything: states and the controls that follow decide every later state. `(sessions,)` unless said.

    `speed` forward and `slip` sideways, m a tick; `lean` -1 to 1, how far the body is turned in; `braking` 0 or 1.
    The rival keeps `rival_offset` m from the line at `rival_along` m, and means to go at `rival_pace` of what the
    bends allow. `weather` `(sessions, 4)` and `time` `(sessions, 3)`: weights that sum to one.
    """

    x: Numbers
    y: Numbers
    heading: Numbers
    speed: Numbers
    slip: Numbers
    lean: Numbers
    braking: Numbers
    rival_along: Numbers
    rival_speed: Numbers
    rival_pace: Numbers
    rival_offset: Numbers
    rival_braking: Numbers
    weather: Numbers
    time: Numbers
    weather_target: NDArray[np.int64]
    time_target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def row(self, k: int) -> States:
        return States(**{name: value[k : k + 1] for name, value in vars(self).items()})

    @staticmethod
    def joined(parts: list[States]) -> States:
        return States(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def wrap(angle: Numbers) -> Numbers:
    return np.arctan2(np.sin(angle), np.cos(angle))


class Simulator:
    """`reset(seeds)`, then `step(states, controls) -> states`. Holds only the course; states are values."""

    def __init__(self, track: Track | None = None) -> None:
        self.track = track or load_track()
        self._paces = self._rival_paces()

    def reset(self, seeds: list[int], *, weather: int | None = None, time: int | None = None) -> States:
        """Starts somewhere on the lap, slow or fast, the rival elsewhere; weather and time drawn unless given."""
        return States.joined([self._start(seed, weather, time) for seed in seeds])

    def _start(self, seed: int, weather: int | None, time: int | None) -> States:
        rng = np.random.Generator(np.random.Philox(key=seed))
        track, n = self.track, len(self.track.line)
        at = int(rng.integers(n))
        side, speed = float(rng.uniform(-4, 4)), float(rng.uniform(0.0, 1.6))
        angle = float(track.tangent[at])
        x = track.line[at, 0] - np.sin(angle) * side
        y = track.line[at, 1] + np.cos(angle) * side
        gap_m = float(rng.uniform(12, 60) if rng.random() < 0.6 else rng.uniform(60, track.length_m - 40))
        drawn = (int(rng.integers(4)), int(rng.integers(3)))
        sky = np.array([drawn[0] if weather is None else weather])
        hour = np.array([drawn[1] if time is None else time])
        heading = angle + float(rng.normal(0, 0.06))
        pace, offset = float(rng.uniform(*RIVAL_PACE)), float(rng.uniform(-3.5, 3.5))
        one = {
            "x": x, "y": y, "heading": heading, "speed": speed, "slip": 0.0, "lean": 0.0, "braking": 0.0,
            "rival_along": (at * track.spacing_m + gap_m) % track.length_m, "rival_speed": 1.0, "rival_pace": pace,
            "rival_offset": offset, "rival_braking": 0.0,
        }  # fmt: skip
        return States(
            **{name: np.array([value], float) for name, value in one.items()},
            weather=np.eye(4)[sky], time=np.eye(3)[hour], weather_target=sky, time_target=hour,
        )  # fmt: skip

    def step(self, states: States, controls: Controls) -> States:
        weather_target = np.where(controls.weather >= 0, controls.weather, states.weather_target)
        time_target = np.where(controls.time >= 0, controls.time, states.time_target)
        weather = _towards(states.weather, np.eye(4)[weather_target])
        time = _towards(states.time, np.eye(3)[time_target])
        moved = self._drive(replace(states, weather=weather, time=time), controls)
        moved = self._lap(moved, states)
        moved = replace(moved, weather_target=weather_target, time_target=time_target)
        return self._fence(self._bump(moved))

    # --- the player ---------------------------------------------------------------------------------------------

    def _drive(self, states: States, controls: Controls) -> States:
        _, _, side = self.track.locate(states.x, states.y)
        grip, power = states.weather @ GRIP, states.weather @ POWER
        on_grass = np.clip((np.abs(side) - ROAD_HALF_M - 0.5) / 1.0, 0, 1)
        top = TOP_SPEED + (GRASS_TOP - TOP_SPEED) * on_grass
        speed = states.speed
        speed = speed + power * controls.throttle * np.maximum(0.0, 1 - np.maximum(speed, 0) / top)
        braked = np.where(speed > 0, np.maximum(speed - 0.085 * controls.brake, -0.02), speed - 0.02 * controls.brake)
        speed = np.where(controls.brake > 0, np.maximum(braked, -0.4), speed)
        speed = speed * np.where(speed > top, 0.955, 0.994)
        resting = (np.abs(speed) < REST_SPEED) & (controls.throttle < 0.05) & (controls.brake < 0.05)
        speed = np.where(resting, 0.0, speed)
        agility = np.minimum(np.abs(speed) / 0.5, 1.0) * (1 - 0.16 * np.maximum(np.abs(speed) - 1.0, 0))
        turn = TURN * controls.steer * agility * np.sign(speed) * (1 - 0.4 * np.maximum(0.0, 0.42 - grip))
        heading = states.heading + turn
        # The velocity keeps its direction while the nose turns; grip pulls it after.
        along = speed * np.cos(turn) + states.slip * np.sin(turn)
        slip = (states.slip * np.cos(turn) - speed * np.sin(turn)) * (1 - grip)
        lean = states.lean + 0.4 * (controls.steer * np.minimum(np.abs(along) / 0.8, 1.0) - states.lean)
        lean = np.where(np.abs(lean) < 1e-3, 0.0, lean)
        slip = np.where(np.abs(slip) < 1e-4, 0.0, slip)
        cos, sin = np.cos(heading), np.sin(heading)
        return replace(
            states, x=states.x + along * cos - slip * sin, y=states.y + along * sin + slip * cos,
            heading=wrap(heading), speed=along, slip=slip, lean=lean, braking=(controls.brake > 0.1).astype(float),
        )  # fmt: skip

    def _fence(self, states: States) -> States:
        """The fence stops a car, takes what speed goes into it, and turns its nose along itself: no car gets stuck.

        All of it in proportion to how much of the tick the car has been at the fence, and turning it smoothly: a
        hair's breadth in place or heading never makes another crash, so that a crash can be learned.
        """
        index, _, side = self.track.locate(states.x, states.y)
        beyond = np.clip(np.abs(side) - WALL_M, 0.0, MOST_PUSH_M)
        out = np.sign(side)
        tangent = self.track.tangent[index]
        normal_x, normal_y = -np.sin(tangent) * out, np.cos(tangent) * out
        cos, sin = np.cos(states.heading), np.sin(states.heading)
        vx, vy = states.speed * cos - states.slip * sin, states.speed * sin + states.slip * cos
        outward = np.maximum(vx * normal_x + vy * normal_y, 0.0)
        touched = np.clip(beyond / np.maximum(outward, 1e-6), 0.0, 1.0)
        vx, vy = vx - 1.2 * touched * outward * normal_x, vy - 1.2 * touched * outward * normal_y
        heading = wrap(states.heading + touched * _turned_along(tangent - states.heading))
        cos, sin, rub = np.cos(heading), np.sin(heading), 1 - 0.04 * touched
        return replace(
            states, x=states.x - beyond * normal_x, y=states.y - beyond * normal_y, heading=heading,
            speed=(vx * cos + vy * sin) * rub, slip=(vy * cos - vx * sin) * rub,
        )  # fmt: skip

    # --- the rival ----------------------------------------------------------------------------------------------

    def _rival_paces(self) -> Numbers:
        """Speed on each sample of the lap: slow where it bends within the next 30 m, smoothed."""
        bend = np.abs(self.track.curvature)
        ahead = np.max([np.roll(bend, -k) for k in range(0, 60, 4)], axis=0)
        speed = np.clip(np.sqrt(0.062 / np.maximum(ahead, 1e-3)), 0.9, TOP_SPEED)
        return np.convolve(np.concatenate([speed[-30:], speed, speed[:30]]), np.ones(61) / 61, "valid")

    def rival_pose(self, states: States) -> tuple[Numbers, Numbers, Numbers]:
        """The rival's place on the map, m, and its heading."""
        track, n = self.track, len(self.track.line)
        at = states.rival_along / track.spacing_m
        low, part = at.astype(np.intp) % n, at % 1.0
        after = (low + 1) % n
        tangent = track.tangent[low] + part * wrap(track.tangent[after] - track.tangent[low])
        place = track.line[low] * (1 - part)[:, None] + track.line[after] * part[:, None]
        x, y = place[:, 0] - np.sin(tangent) * states.rival_offset, place[:, 1] + np.cos(tangent) * states.rival_offset
        return x, y, wrap(tangent)

    def _lap(self, states: States, before: States) -> States:
        track, n = self.track, len(self.track.line)
        index = (states.rival_along / track.spacing_m).astype(np.intp) % n
        target = self._paces[index] * states.rival_pace
        x, y, heading = self.rival_pose(states)
        dx, dy = before.x - x, before.y - y
        ahead = dx * np.cos(heading) + dy * np.sin(heading)
        aside = np.abs(dy * np.cos(heading) - dx * np.sin(heading))
        in_way = (ahead > 0) & (ahead < 11) & (aside < 2.4)
        target = np.where(in_way, np.minimum(target, np.maximum(before.speed * 0.85, 0.1)), target)  # it lifts
        speed = states.rival_speed + np.clip(target - states.rival_speed, -0.08, 0.035)
        braking = (speed < states.rival_speed - 0.02).astype(float)
        along = (states.rival_along + speed) % track.length_m
        return replace(states, rival_along=along, rival_speed=speed, rival_braking=braking)

    def _bump(self, states: States) -> States:
        """Two boxes along the rival's axis: the player is pushed out and slowed; the rival keeps to its line."""
        x, y, heading = self.rival_pose(states)
        cos, sin = np.cos(heading), np.sin(heading)
        dx, dy = states.x - x, states.y - y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        deep_along, deep_across = CAR_LENGTH_M - np.abs(along), CAR_WIDTH_M - np.abs(across)
        hit = (deep_along > 0) & (deep_across > 0)
        sideways = hit & (deep_across < deep_along)
        endways = hit & ~sideways
        push_along = np.where(endways, np.minimum(deep_along, 0.6) * np.where(along >= 0, 1, -1), 0.0)
        push_across = np.where(sideways, np.minimum(deep_across, 0.4) * np.where(across >= 0, 1, -1), 0.0)
        from_behind = endways & (along < 0)
        speed = np.where(from_behind, np.minimum(states.speed, states.rival_speed * 0.8), states.speed)
        speed = np.where(sideways, speed * 0.98, speed)
        return replace(
            states, x=states.x + push_along * cos - push_across * sin,
            y=states.y + push_along * sin + push_across * cos, speed=speed,
        )  # fmt: skip


def _turned_along(off: Numbers) -> Numbers:
    """By how much a tick at the fence turns a nose that is `off` from the way of the race: along the fence, whichever
    way is nearer. A nose straight into it is turned the way of the race, by a degree at first. Nowhere steep: two cars
    a degree apart are less than 1.2 after the tick, so that a crash can be foreseen."""
    return 0.08 * np.sin(2 * off) + 0.02 * np.sin(off)


def _towards(weights: Numbers, target: Numbers) -> Numbers:
    moved = weights + np.clip(target - weights, -1 / BLEND_TICKS, 1 / BLEND_TICKS)
    moved = np.where(np.abs(moved) < 1e-9, 0.0, moved)
    return moved / moved.sum(-1, keepdims=True)
