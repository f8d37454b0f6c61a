"""A world in one file: how to write one. No network, but the same parts as if there were.

Owns a ball, its trail and their pictures. Knows nothing of clocks beyond reading one, windows, files or deadlines.

The five things every world must get right, each marked below:
1. State is explicit, and `snapshot`, `restore` and `checksum` cover all of it.
2. `advance` reads the state and never writes it; the result's `commit` writes it, once.
3. The step gate is asked only at rungs of the ladder, so that a tick cut short has a quality the world knows.
4. Noise is addressed by (seed, tick, step), never drawn from a shared generator, so every tick can be re-run.
5. Only exactly rounded arithmetic decides the future here, so checksums agree between machines.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...runtime.core import (
    Action,
    ActionSpace,
    Clock,
    Frame,
    MonotonicClock,
    Snapshot,
    StatePart,
    TickPlan,
    TickResult,
    WorldInfo,
)

WIDTH_PX, HEIGHT_PX = 64, 48
BALL_RADIUS_PX = 4.0
ACCELERATION_PX = 0.25  # per tick and tick, at full throttle
DRAG = 0.96
BRAKE = 0.80
BOUNCE = 0.75
FADE = 0.80  # of the trail, per tick: below one grey level after 25 ticks
TRAIL_HORIZON_TICKS = 25
NOISE = 0.5  # of the first guess; each denoise step halves it

BACKGROUND = {"day": (58, 104, 76), "night": (12, 16, 40)}
GLOW = {"day": (255, 214, 92), "night": (140, 190, 255)}

Latent: TypeAlias = NDArray[np.float32]
"""Brightness of every pixel, `(48, 64)` float32 in [0, 1]: what the denoise steps work on and the memory keeps."""

Cost: TypeAlias = Callable[[str], None]
"""Called in each stage (condition, each denoise step, decode, commit): tests move a `ManualClock` in it."""


def no_cost(stage: str) -> None:
    """A stage takes the time it takes."""


@dataclass(frozen=True)
class Ball:
    """Position and velocity in px and px per tick, and the heading as a unit vector."""

    x_px: float = WIDTH_PX / 2
    y_px: float = HEIGHT_PX / 2
    speed_px: float = 0.0
    heading_x: float = 1.0
    heading_y: float = 0.0


def world_info() -> WorldInfo:
    """What `world.yaml` says, as the runtime wants it; a test holds the two together."""
    text = Path(__file__).with_name("world.yaml").read_text(encoding="utf-8")
    return WorldInfo(
        name="toy",
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        tick_hz=Fraction(20),
        ladder=(1, 2, 4),
        actions=ActionSpace(
            buttons=("brake",),
            axes=("steer", "throttle"),
            prompts={"light": ("day", "night")},
        ),
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        weights_sha256=hashlib.sha256(b"").hexdigest(),  # there are none
        config_text=text,
        default_prompt="day",
    )


class ToyWorld:
    """A ball driven by `steer`, `throttle` and `brake`, under `day` or `night` light.

    `clock` times the stages; `cost` is called in each of them.
    """

    def __init__(self, clock: Clock | None = None, cost: Cost = no_cost) -> None:
        self.info = world_info()
        self._clock = clock or MonotonicClock()
        self._cost = cost
        self._awaits_commit = False
        self.reset(0)

    @property
    def prompt(self) -> str:
        return self._light

    def reset(self, seed: int) -> Frame:
        # 1. All of the state, in one place. A tick that was never committed is forgotten with the rest.
        self._seed = seed
        self._tick = 0
        self._light = self.info.default_prompt
        self._ball = Ball(y_px=HEIGHT_PX / 2 + seed % 7 - 3)
        self._trail: Latent = np.zeros((HEIGHT_PX, WIDTH_PX), np.float32)
        self._frame = decode(draw(self._ball, self._trail), self._light)
        self._awaits_commit = False
        return self._frame.copy()

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        """One tick. `action.reset` is the loop's business: it calls `reset` before this."""
        assert not self._awaits_commit, "advance before the commit of the tick before: call its result's commit first"
        assert plan.denoise_steps in self.info.ladder, f"{plan.denoise_steps} steps are not in {self.info.ladder}"
        # 2. From here to `commit` everything new is a local variable.
        times_ns = [self._clock.now_ns()]
        self._cost("condition")
        light = action.prompt if action.prompt in BACKGROUND else self._light
        ball = move(self._ball, action)
        target = draw(ball, self._trail)
        times_ns.append(self._clock.now_ns())

        latent, step_ns = self._denoise(target, plan)
        times_ns.append(self._clock.now_ns())

        self._cost("decode")
        frame = decode(latent, light)
        times_ns.append(self._clock.now_ns())

        def commit() -> None:
            assert self._awaits_commit, "a tick is committed once"
            self._cost("commit")
            self._ball, self._light, self._frame = ball, light, frame
            self._trail = latent * np.float32(FADE)
            self._tick += 1
            self._awaits_commit = False

        self._awaits_commit = True
        condition_ns, denoise_ns, decode_ns = (after - before for before, after in pairwise(times_ns))
        return TickResult(
            frames=[frame.copy()],
            steps_applied=len(step_ns),
            stage_ns={"condition": condition_ns, "denoise": denoise_ns, "decode": decode_ns},
            step_ns=step_ns,
            commit=commit,
        )

    def _denoise(self, target: Latent, plan: TickPlan) -> tuple[Latent, tuple[int, ...]]:
        """Each step halves the distance from a noisy guess to the target, and adds a little noise of its own.

        A network would estimate the target; here we know it. More steps are sharper, so quality shows, and the
        trail remembers the latent, so quality also decides the future: that is why it is recorded.
        """
        guess = target + NOISE * self._noise(step=0)
        step_ns: list[int] = []
        while len(step_ns) < plan.denoise_steps:
            # 3. Never before the first step, and only where stopping leaves a quality the ladder names.
            if len(step_ns) in self.info.ladder and not plan.gate(len(step_ns)):
                break
            before_ns = self._clock.now_ns()
            self._cost("denoise")
            guess = (guess + target) / 2 + (NOISE / 32) * self._noise(step=len(step_ns) + 1)
            step_ns.append(self._clock.now_ns() - before_ns)
        return np.clip(guess, 0, 1).astype(np.float32), tuple(step_ns)

    def _noise(self, step: int) -> Latent:
        """4. `(48, 64)` in [-0.5, 0.5), a pure function of seed, tick and step. Raw bits: numpy never changes them."""
        bits = np.random.Philox(key=self._seed, counter=[0, 0, step, self._tick])
        noise = bits.random_raw(HEIGHT_PX * WIDTH_PX // 8).astype("<u8").view(np.uint8)
        return ((noise.reshape(HEIGHT_PX, WIDTH_PX).astype(np.float32) - 128) / 256).astype(np.float32)

    def snapshot(self) -> Snapshot:
        assert not self._awaits_commit, "snapshot between advance and commit: half a tick cannot be saved"
        return {
            "seed": self._seed,
            "tick": self._tick,
            "light": self._light,
            "ball": asdict(self._ball),
            "trail": self._trail.copy(),
            "frame": self._frame.copy(),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot; a tick that was never committed is forgotten."""
        state: dict[str, Any] = dict(snapshot)
        self._seed, self._tick = state["seed"], state["tick"]
        self._light, self._ball = state["light"], Ball(**state["ball"])
        self._trail, self._frame = state["trail"].copy(), state["frame"].copy()
        self._awaits_commit = False

    def checksum(self) -> int:
        ball = self._ball
        numbers = struct.pack("<QQ5d", self._seed, self._tick, ball.x_px, ball.y_px, ball.speed_px, *heading(ball))
        crc = zlib.crc32(numbers + self._light.encode())
        return zlib.crc32(self._frame.tobytes(), zlib.crc32(self._trail.tobytes(), crc))

    def state_inventory(self) -> list[StatePart]:
        """Named as the snapshot names them: a part is everything under its path."""
        return [
            StatePart("seed", 8, horizon_ticks=None),
            StatePart("tick", 8, horizon_ticks=None),
            StatePart("light", len(self._light), horizon_ticks=None),
            StatePart("ball", 5 * 8, horizon_ticks=None),
            StatePart("trail", self._trail.nbytes, horizon_ticks=TRAIL_HORIZON_TICKS),
            StatePart("frame", self._frame.nbytes, horizon_ticks=0),
        ]

    def warm_up(self) -> None:
        """Run every rung and take it back. There is nothing to compile here; a network has."""
        before = self.snapshot()
        for rung in self.info.ladder:
            self.advance(Action(), TickPlan(rung, deadline_ns=0)).commit()
        self.restore(before)

    def close(self) -> None:
        """Nothing is held open."""


def heading(ball: Ball) -> tuple[float, float]:
    return ball.heading_x, ball.heading_y


def move(ball: Ball, action: Action) -> Ball:
    """The ball one tick later."""
    # 5. A turn by the half-angle tangent: only + - * /, where sin and cos would differ between C libraries.
    t = 0.12 * action.axis("steer")
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    heading_x = ball.heading_x * cos - ball.heading_y * sin
    heading_y = ball.heading_x * sin + ball.heading_y * cos
    speed_px = ball.speed_px * DRAG + ACCELERATION_PX * action.axis("throttle")
    if "brake" in action.buttons:
        speed_px *= BRAKE
    x_px, heading_x, hit_x = bounce(ball.x_px + speed_px * heading_x, heading_x, WIDTH_PX)
    y_px, heading_y, hit_y = bounce(ball.y_px + speed_px * heading_y, heading_y, HEIGHT_PX)
    return Ball(x_px, y_px, speed_px * (BOUNCE if hit_x or hit_y else 1.0), heading_x, heading_y)


def bounce(position_px: float, direction: float, size_px: int) -> tuple[float, float, bool]:
    """Position kept inside the rim, the direction mirrored there, and whether it was."""
    low, high = BALL_RADIUS_PX, size_px - BALL_RADIUS_PX
    if low <= position_px <= high:
        return position_px, direction, False
    return min(max(position_px, low), high), -direction, True


def draw(ball: Ball, trail: Latent) -> Latent:
    """The latent a perfect denoiser would find: the ball over what is left of its trail. `(48, 64)` float32."""
    rows = np.arange(HEIGHT_PX, dtype=np.float64)[:, None] + 0.5 - ball.y_px
    columns = np.arange(WIDTH_PX, dtype=np.float64)[None, :] + 0.5 - ball.x_px
    disc = np.clip((BALL_RADIUS_PX**2 - rows * rows - columns * columns) / BALL_RADIUS_PX, 0, 1)
    return np.maximum(disc.astype(np.float32), trail)


def decode(latent: Latent, light: str) -> Frame:
    """Brightness to colour: `(48, 64)` to `(48, 64, 3)` uint8."""
    background = np.array(BACKGROUND[light], np.float32)
    glow = np.array(GLOW[light], np.float32)
    return (background + latent[:, :, None] * (glow - background)).astype(np.uint8)
