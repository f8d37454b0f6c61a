"""Targets built to fool an audit: each looks like something it is not. What they are is said in their docstrings.

One class for each trap, over the references.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import IDLE, Action, ActionSpace, Clock, Frame, ManualClock
from ...audit.targets.contract import Shown
from .references import BatchTarget, InteractiveTarget, Maker, StreamingTarget

HIDDEN_PAUSE_NS = 600_000_000
COPIES = 3
NOISE_LEVELS = 8
HUD_PX = 6


class HudTarget(StreamingTarget):
    """A streamer that draws the pressed controls into a corner at once. Its world still waits for the next segment."""

    def __init__(self, maker: Maker) -> None:
        super().__init__(maker, "hud overlay")

    def _next(self, action: Action) -> Frame:
        frame = super()._next(action).copy()
        for index, name in enumerate(self.actions.names()):
            level = 127 if name in action.buttons else action.axes.get(name, 0)
            left = 2 + index * (HUD_PX + 1)
            frame[-2 - HUD_PX : -2, left : left + HUD_PX] = 128 + level
        return frame


class NoisyTarget(BatchTarget):
    """A finished clip under fresh noise: every frame is new, no two runs are alike, and no control changes anything.

    The noise depends on everything but the control: on a count that a new start does not set back.
    """

    def __init__(self, maker: Maker) -> None:
        super().__init__(maker, "noise")
        self._noise = np.random.default_rng(0)

    def _show(self, frame: Frame) -> Shown:
        noise = self._noise.integers(-NOISE_LEVELS, NOISE_LEVELS + 1, frame.shape)
        return super()._show(np.clip(frame + noise, 0, 255).astype(np.uint8))


class DuplicatingTarget(InteractiveTarget):
    """A live world that shows each frame three times and says 60 FPS. A control is read when a new frame is made."""

    def __init__(self, maker: Maker) -> None:
        super().__init__(maker, "duplicates")
        self.tick_hz = float(maker.world.info.tick_hz) * COPIES
        self._left = 0

    def _first(self, seed: int) -> Frame:
        self._left = COPIES - 1
        self._frame = super()._first(seed)
        return self._frame

    def _next(self, action: Action) -> Frame:
        if self._left == 0:
            self._frame = super()._next(action)
            self._left = COPIES
        self._left -= 1
        return self._frame


class PausingTarget(InteractiveTarget):
    """Makes its frames ahead, and stops for a moment to make them anew when the control changes.

    Counted in frames it answers at once; the clock shows the pause. `pause_ns` is slept on the target's clock.
    """

    def __init__(self, maker: Maker, pause_ns: int = HIDDEN_PAUSE_NS) -> None:
        super().__init__(maker, "hidden pause")
        self._pause_ns = pause_ns
        self._held = IDLE

    def _first(self, seed: int) -> Frame:
        self._held = IDLE
        return super()._first(seed)

    def _next(self, action: Action) -> Frame:
        changed = (action.buttons, dict(action.axes)) != (self._held.buttons, dict(self._held.axes))
        if changed or action.prompt is not None:
            clock = self._maker.clock
            clock.sleep_until(clock.now_ns() + self._pause_ns)
        self._held = action
        return super()._next(action)


class ForgettingTarget(InteractiveTarget):
    """Live, but a new prompt begins the world anew: everything that had happened is forgotten."""

    def __init__(self, maker: Maker) -> None:
        super().__init__(maker, "forgets on prompt")
        self._seed = 0

    def _first(self, seed: int) -> Frame:
        self._seed = seed
        return super()._first(seed)

    def _next(self, action: Action) -> Frame:
        if action.prompt is not None:
            self._maker.start(self._seed)
        return super()._next(action)


class DelayedTarget(InteractiveTarget):
    """Live, with extra frames of delay: what a pipeline stage or one queued frame costs."""

    def __init__(self, maker: Maker, delay_frames: int = 1) -> None:
        super().__init__(maker, f"delayed by {delay_frames}")
        self._delay_frames = delay_frames
        self._waiting: deque[Action] = deque()

    def _first(self, seed: int) -> Frame:
        self._waiting = deque([IDLE] * self._delay_frames)
        return super()._first(seed)

    def _next(self, action: Action) -> Frame:
        self._waiting.append(action)
        return super()._next(self._waiting.popleft())


# --- a narrow source ---------------------------------------------------------------------------------------------

FACE_WIDTH_PX, FACE_HEIGHT_PX = 64, 48
SKIN, EYE, MOUTH, WALL = (214, 170, 140), (40, 44, 60), (150, 60, 66), (92, 104, 116)
SWAY = {"calm": 1.0, "glad": 1.5, "sad": 0.6}
"""Ticks of swaying in a tick. A head is never quite still, and sways faster when glad or talking."""


class FaceTarget:
    """A head before a wall: it looks where the stick points and opens its mouth. Live, and the same in every session.

    The narrow kind of source: one subject, fixed in the middle of the picture; what changes are a few small regions.
    """

    def __init__(self, clock: Clock, tick_cost_ns: int = 0) -> None:
        self.name = "face"
        self.actions = ActionSpace(
            buttons=("talk",), axes=("look_x", "look_y"), prompts={"mood": ("calm", "glad", "sad")}
        )
        self.tick_hz: float | None = 20.0
        self._clock, self._tick_cost_ns = clock, tick_cost_ns
        self._mood = "calm"
        self._gaze = np.zeros(2)
        self._mouth = 0.0
        self._sway = 0.0

    def start(self, seed: int) -> Shown:
        self._mood, self._gaze, self._mouth, self._sway = "calm", np.zeros(2), 0.0, float(seed % 5)
        return self._shown()

    def step(self, action: Action) -> Shown:
        if action.prompt in self.actions.prompts["mood"]:
            self._mood = str(action.prompt)
        # A head has weight: it follows the stick, and is still on its way back when the stick has long been let go.
        self._gaze = 0.85 * self._gaze + 0.15 * np.array([action.axis("look_x"), action.axis("look_y")])
        self._mouth = 0.8 * self._mouth + 0.2 * ("talk" in action.buttons)
        self._sway += SWAY[self._mood] * (1 + ("talk" in action.buttons))
        if isinstance(self._clock, ManualClock):
            self._clock.advance_ns(self._tick_cost_ns)
        return self._shown()

    def close(self) -> None:
        """Nothing is held open."""

    def _shown(self) -> Shown:
        return Shown(draw_face(self._gaze, self._mouth, self._mood, self._sway), self._clock.now_ns())


def draw_face(gaze: NDArray[np.float64], mouth: float, mood: str, sway: float) -> Frame:
    """`(48, 64, 3)` uint8. `gaze` in [-1, 1] across and down, `mouth` 0 shut to 1 open, `sway` in ticks."""
    y, x = np.mgrid[0:FACE_HEIGHT_PX, 0:FACE_WIDTH_PX].astype(np.float64)
    frame = np.empty((FACE_HEIGHT_PX, FACE_WIDTH_PX, 3))
    frame[:] = WALL
    breath_px = 1.2 * np.sin(sway / 6)
    _paint(frame, ((x - 32) / 15) ** 2 + ((y - 24 - breath_px) / 20) ** 2, SKIN)
    for eye_x in (26, 38):
        _paint(frame, ((x - eye_x) / 4) ** 2 + ((y - 19 - breath_px) / 2.5) ** 2, (245, 245, 245))
        _paint(frame, ((x - eye_x - 2.4 * gaze[0]) / 1.8) ** 2 + ((y - 19 - breath_px - 1.2 * gaze[1]) / 1.8) ** 2, EYE)
    lift = {"calm": 0.0, "glad": 2.0, "sad": -2.0}[mood]
    curve = 33 + breath_px - lift * ((x - 32) / 6) ** 2 + lift
    _paint(frame, ((x - 32) / 6) ** 2 + ((y - curve) / (1.2 + 3 * mouth)) ** 2, MOUTH)
    return frame.astype(np.uint8)


def _paint(frame: NDArray[np.float64], distance: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    """Fill where `distance` is below 1, with an edge a pixel or so wide."""
    cover = np.clip((1 - distance) * 3, 0, 1)[:, :, None]
    frame += cover * (np.array(colour, float) - frame)
