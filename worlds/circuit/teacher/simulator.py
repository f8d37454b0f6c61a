"""The teacher: cars on the circuit, as physics. Deterministic: same seed and same actions, same states, bit for bit.

Owns positions, speeds, grip, walls, the rival and the blending of weather and time of day. Draws nothing (see
`render.py`). Lengths in px of the 256x192 frame, time in ticks of 1/20 s, angles in radians, y down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .track import COVER_WALL_PX, WALL_PX, Cover, Track, load_track

WEATHERS = ("clear", "rain", "snow", "fog")
TIMES = ("day", "dusk", "night")
BLEND_TICKS = 10
"""A new prompt takes half a second to come true; a tenth of it shows in the very next frame."""

TOP_SPEED = 4.4
REST_SPEED = 0.5
"""A car that rolls slower than this, untouched, stands: what rests is then easy to learn, and to keep."""
COVER_SPEED = 3.0
"""The road dips under both roofs, so no car can park out of sight: at least this many px a tick under cover."""
GRIP = {"clear": 0.34, "rain": 0.22, "snow": 0.13, "fog": 0.34}
POWER = {"clear": 0.135, "rain": 0.12, "snow": 0.09, "fog": 0.135}
CAR_RADIUS_PX = 6.5


@dataclass(frozen=True)
class Controls:
    """What the driver does in one tick: steer -1 (left) to 1 (right), throttle and brake 0 to 1."""

    steer: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    handbrake: bool = False
    weather: str | None = None
    time: str | None = None


SEED_CONTROLS = Controls(throttle=0.5)
"""What the driver did in the clips that sessions of the shipped world start from."""


@dataclass(frozen=True)
class Car:
    x: float
    y: float
    heading: float
    vx: float = 0.0
    vy: float = 0.0
    braking: float = 0.0
    steer: float = 0.0

    @property
    def speed(self) -> float:
        return math.hypot(self.vx, self.vy)


@dataclass(frozen=True)
class State:
    """Everything: a state and the actions that follow decide every later state.

    `weather` and `time` are weights that sum to one; they move towards the targets over `BLEND_TICKS`.
    """

    player: Car
    rival: Car
    rival_index: float
    rival_speed: float
    rival_pace: float
    rival_offset: float
    weather: tuple[float, ...]
    time: tuple[float, ...]
    weather_target: str
    time_target: str
    tick: int = 0
    hit: bool = field(default=False, compare=False)


def one_hot(word: str, words: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(float(word == w) for w in words)


class Simulator:
    """`reset(seed)`, then `step(state, controls) -> state`. Holds only the course; states are values."""

    def __init__(self, track: Track | None = None) -> None:
        self.track = track or load_track()
        self._targets = self._rival_targets()

    def reset(self, seed: int, *, weather: str | None = None, time: str | None = None) -> State:
        """A start somewhere on the lap, slow or fast, the rival elsewhere; prompts drawn unless given."""
        rng = np.random.Generator(np.random.Philox(key=seed))
        n = len(self.track.line)
        while self.track.cover_at(start := int(rng.integers(n))):
            pass
        weather = weather or WEATHERS[rng.integers(len(WEATHERS))]
        time = time or TIMES[rng.integers(len(TIMES))]
        angle = float(self.track.tangent[start])
        side = float(rng.uniform(-6, 6))
        heading = angle + float(rng.normal(0, 0.15))
        speed = float(rng.uniform(0, 3.0))
        x = float(self.track.line[start, 0] - math.sin(angle) * side)
        y = float(self.track.line[start, 1] + math.cos(angle) * side)
        player = Car(x, y, heading, speed * math.cos(heading), speed * math.sin(heading))
        rival_index = float((start + rng.integers(n // 6, n - n // 6)) % n)
        pace = float(rng.uniform(0.72, 0.95))
        offset = float(rng.uniform(-4, 4))
        state = State(
            player,
            player,
            rival_index,
            2.5,
            pace,
            offset,
            one_hot(weather, WEATHERS),
            one_hot(time, TIMES),
            weather,
            time,
        )
        return replace(state, rival=self._rival_car(rival_index, 2.5, offset, 0.0))

    def step(self, state: State, controls: Controls) -> State:
        weather_target = controls.weather or state.weather_target
        time_target = controls.time or state.time_target
        weather = _towards(state.weather, one_hot(weather_target, WEATHERS))
        time = _towards(state.time, one_hot(time_target, TIMES))
        player, hit = self._drive(state.player, controls, weather)
        rival_index, rival_speed, rival = self._lap(state, player)
        player, rival_speed = _bump(player, rival, rival_speed)
        return replace(
            state, player=player, rival=rival, rival_index=rival_index, rival_speed=rival_speed, weather=weather,
            time=time, weather_target=weather_target, time_target=time_target, tick=state.tick + 1, hit=hit,
        )  # fmt: skip

    def covered(self, car: Car) -> Cover | None:
        """The roof above the middle of the car, if any."""
        return self.track.cover_at(self.track.locate(car.x, car.y)[0])

    # --- the player -------------------------------------------------------------------------------------------

    def _drive(self, car: Car, controls: Controls, weather: tuple[float, ...]) -> tuple[Car, bool]:
        index, side = self.track.locate(car.x, car.y)
        cover = self.track.cover_at(index)
        grip = sum(w * GRIP[name] for w, name in zip(weather, WEATHERS, strict=True))
        power = sum(w * POWER[name] for w, name in zip(weather, WEATHERS, strict=True))
        if controls.handbrake:
            grip *= 0.3
        ahead_x, ahead_y = math.cos(car.heading), math.sin(car.heading)
        forward = car.vx * ahead_x + car.vy * ahead_y
        sideways = -car.vx * ahead_y + car.vy * ahead_x
        top = TOP_SPEED * (1.0 if abs(side) < 12.5 else 0.55)  # grass drags
        forward += power * controls.throttle * max(0.0, 1.0 - max(forward, 0.0) / top)
        if controls.brake > 0:
            forward = (
                max(forward - 0.24 * controls.brake, -1.2)
                if forward > 0
                else max(forward - 0.08 * controls.brake, -1.2)
            )
        forward *= 0.985 if forward < top else 0.93
        if controls.handbrake:
            forward *= 0.97
        untouched = not controls.throttle and not controls.brake
        if cover is None and untouched and abs(forward) < REST_SPEED:  # under a roof the road dips, and a car rolls out
            forward = 0.0
        agility = min(abs(forward) / 1.1, 1.0) * (1.0 - 0.07 * max(abs(forward) - 2.5, 0.0))
        slide = 1.0 - 0.5 * max(0.0, 0.34 - grip)
        heading = car.heading + 0.122 * controls.steer * agility * slide * math.copysign(1.0, forward)
        turned_x, turned_y = math.cos(heading), math.sin(heading)
        # The velocity keeps its direction; grip pulls it towards where the nose points now.
        vx = forward * ahead_x - sideways * ahead_y
        vy = forward * ahead_y + sideways * ahead_x
        along = vx * turned_x + vy * turned_y
        across = (-vx * turned_y + vy * turned_x) * (1.0 - grip)
        vx = along * turned_x - across * turned_y
        vy = along * turned_y + across * turned_x
        if cover:
            heading, vx, vy = self._under_cover(index, heading, vx, vy)
        moved = Car(car.x + vx, car.y + vy, _wrap(heading), vx, vy, float(controls.brake > 0.1), controls.steer)
        return self._wall(moved)

    def _under_cover(self, index: int, heading: float, vx: float, vy: float) -> tuple[float, float, float]:
        tangent = float(self.track.tangent[index])
        tx, ty = math.cos(tangent), math.sin(tangent)
        along = vx * tx + vy * ty
        way = 1.0 if along >= 0 else -1.0
        if abs(along) < COVER_SPEED:
            along = way * min(abs(along) + 0.3, COVER_SPEED)
        nose = tangent if math.cos(heading - tangent) >= 0 else tangent + math.pi
        heading += 0.3 * _wrap(nose - heading)
        across = (-vx * ty + vy * tx) * 0.6
        return heading, along * tx - across * ty, along * ty + across * tx

    def _wall(self, car: Car) -> tuple[Car, bool]:
        index, side = self.track.locate(car.x, car.y)
        limit = COVER_WALL_PX if self.track.cover_at(index) else WALL_PX
        if abs(side) <= limit:
            return car, False
        tangent = float(self.track.tangent[index])
        normal_x, normal_y = -math.sin(tangent), math.cos(tangent)
        excess = side - math.copysign(limit, side)
        outward = (car.vx * normal_x + car.vy * normal_y) * math.copysign(1.0, side)
        vx, vy = car.vx, car.vy
        if outward > 0:
            bounce = 1.35 * outward * math.copysign(1.0, side)
            vx, vy = (vx - bounce * normal_x) * 0.92, (vy - bounce * normal_y) * 0.92
        x = min(max(car.x - excess * normal_x, 6.0), 250.0)
        y = min(max(car.y - excess * normal_y, 6.0), 186.0)
        return replace(car, x=x, y=y, vx=vx, vy=vy), True

    # --- the rival --------------------------------------------------------------------------------------------

    def _rival_targets(self) -> np.ndarray:
        """Speed on each sample of the lap: slow where it bends within the next 40 px, smoothed."""
        bend = np.abs(self.track.curvature)
        ahead = np.max([np.roll(bend, -k) for k in range(0, 60, 4)], axis=0)
        speed = np.clip(np.sqrt(0.24 / np.maximum(ahead, 1e-3)), 2.0, TOP_SPEED)
        kernel = np.ones(41) / 41
        return np.convolve(np.concatenate([speed[-20:], speed, speed[:20]]), kernel, "valid")

    def _lap(self, state: State, player: Car) -> tuple[float, float, Car]:
        n = len(self.track.line)
        target = float(self._targets[int(state.rival_index) % n]) * state.rival_pace
        ahead_x, ahead_y = player.x - state.rival.x, player.y - state.rival.y
        gap = math.hypot(ahead_x, ahead_y)
        facing = ahead_x * math.cos(state.rival.heading) + ahead_y * math.sin(state.rival.heading)
        if gap < 26 and facing > 0.7 * gap and not self.covered(player):
            target = min(target, max(player.speed * 0.9, 0.7))  # it lifts rather than rams
        speed = state.rival_speed + max(-0.25, min(0.12, target - state.rival_speed))
        index = (state.rival_index + speed * n / self.track.length_px) % n
        slow = 1.0 if speed < target - 0.05 else 0.0
        return index, speed, self._rival_car(index, speed, state.rival_offset, slow)

    def _rival_car(self, index: float, speed: float, offset: float, braking: float) -> Car:
        n = len(self.track.line)
        low, part = int(index) % n, index % 1.0
        x, y = self.track.line[low] * (1 - part) + self.track.line[(low + 1) % n] * part
        tangent = float(
            self.track.tangent[low] + part * _wrap(self.track.tangent[(low + 1) % n] - self.track.tangent[low])
        )
        x, y = float(x) - math.sin(tangent) * offset, float(y) + math.cos(tangent) * offset
        return Car(x, y, _wrap(tangent), speed * math.cos(tangent), speed * math.sin(tangent), braking)


def _bump(player: Car, rival: Car, rival_speed: float) -> tuple[Car, float]:
    """Two discs: the player is pushed out and slowed, the rival only slowed (it keeps to its line)."""
    dx, dy = player.x - rival.x, player.y - rival.y
    gap = math.hypot(dx, dy)
    if gap >= 2 * CAR_RADIUS_PX or gap < 1e-6:
        return player, rival_speed
    nx, ny = dx / gap, dy / gap
    push = 0.5 * (2 * CAR_RADIUS_PX - gap)
    closing = (player.vx - rival.vx) * nx + (player.vy - rival.vy) * ny
    kick = -0.7 * min(closing, 0.0)
    pushed = replace(
        player, x=player.x + push * nx, y=player.y + push * ny, vx=player.vx + kick * nx, vy=player.vy + kick * ny
    )
    return pushed, rival_speed * 0.93


def _wrap(angle: float) -> float:
    return math.atan2(math.sin(angle), math.cos(angle))


def _towards(weights: tuple[float, ...], target: tuple[float, ...]) -> tuple[float, ...]:
    moved = [w + max(-1 / BLEND_TICKS, min(1 / BLEND_TICKS, t - w)) for w, t in zip(weights, target, strict=True)]
    total = sum(moved)
    return tuple(m / total if abs(m / total) > 1e-9 else 0.0 for m in moved)


def controls_of(axes: Mapping[str, float], *, handbrake: bool, weather: str | None, time: str | None) -> Controls:
    """Controls from the named axes of the world's action space."""
    return Controls(
        max(-1.0, min(1.0, axes.get("steer", 0.0))), max(0.0, axes.get("throttle", 0.0)),
        max(0.0, axes.get("brake", 0.0)), handbrake, weather, time,
    )  # fmt: skip
