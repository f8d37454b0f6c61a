"""Targets in this process: a world of ours as a white box, and any object with `reset` and `step` as a black one.

Frames are copied, so that a target cannot change what it has shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from ....runtime.core import Action, ActionSpace, Clock, Frame, MonotonicClock, StatePart, TickPlan, World
from .contract import Shown, TargetError


class WorldTarget:
    """A nextframe world, with its state open: it can be saved, taken back, and made to forget one frame.

    Every tick is made at `denoise_steps`, the top of the ladder when not given: equal inputs then give equal frames.
    """

    def __init__(self, world: World, clock: Clock | None = None, denoise_steps: int | None = None) -> None:
        self.name = world.info.name
        self.actions = world.info.actions
        self.tick_hz: float | None = float(world.info.tick_hz)
        self._world, self._clock = world, clock or MonotonicClock()
        self._plan = TickPlan(denoise_steps or world.info.ladder[-1], deadline_ns=0)

    def start(self, seed: int) -> Shown:
        return Shown(self._world.reset(seed), self._clock.now_ns())

    def step(self, action: Action) -> Shown:
        """The first frame of the tick is stamped when its pixels exist, before the commit, as a display shows it."""
        result = self._world.advance(replace(action, reset=False), self._plan)
        at_ns = self._clock.now_ns()
        result.commit()
        return Shown(result.frames[0], at_ns)

    def close(self) -> None:
        self._world.close()

    def snapshot(self) -> object:
        return self._world.snapshot()

    def restore(self, snapshot: object) -> None:
        assert isinstance(snapshot, Mapping)
        self._world.restore(snapshot)

    def inventory(self) -> list[StatePart]:
        return self._world.state_inventory()

    def corrupt(self, snapshot: object, ticks_back: int) -> object | None:
        """The frame `ticks_back` ticks ago (1 = the last) is turned into a gap in every rolling memory of the
        snapshot, so that attention passes over it. None where no memory holds it."""
        changed = deepcopy(snapshot)
        lanes = _lanes(changed)
        held = [_forget(lane, ticks_back) for lane in lanes]
        return changed if any(held) else None


def _lanes(value: Any) -> list[dict[str, Any]]:
    """All lanes of rolling memories in a snapshot, wherever the world keeps them."""
    if isinstance(value, dict):
        if {"slots", "keys", "values", "next_position"} <= value.keys():
            return [value]
        return [lane for part in value.values() for lane in _lanes(part)]
    return [lane for part in value for lane in _lanes(part)] if isinstance(value, list) else []


def _forget(lane: dict[str, Any], ticks_back: int) -> bool:
    position = lane["next_position"] - ticks_back
    for slot in lane["slots"]:
        if slot[1] == position and slot[2] in ("ring", "sink"):
            slot[0], slot[2] = -1, "gap"
            return True
    return False


# --- anything with reset and step ----------------------------------------------------------------------------------


class EnvTarget:
    """Any object with `reset` and `step`, as Gymnasium environments have them.

    `env.reset(seed=...)` and `env.step(...)` may return a frame, or a tuple whose first entry is one, or a mapping
    with an image under "frame", "image", "rgb", "pixels" or "observation"; or anything at all, if `env.render()`
    returns the frame. An environment that ends (`terminated` or `truncated`) holds its last frame.

    `act` turns an `Action` into what `env.step` wants; without it the action goes in as it is.
    """

    def __init__(
        self,
        env: Any,
        actions: ActionSpace,
        *,
        name: str = "",
        tick_hz: float | None = None,
        act: Callable[[Action], Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        missing = [method for method in ("reset", "step") if not callable(getattr(env, method, None))]
        if missing:
            raise TargetError(
                f"audit target {type(env).__name__}: expected methods reset and step, {' and '.join(missing)} missing"
            )
        self.name = name or type(env).__name__
        self.actions, self.tick_hz = actions, tick_hz
        self._env, self._act, self._clock = env, act or (lambda action: action), clock or MonotonicClock()
        self._ended = False
        self._last: Frame | None = None

    def start(self, seed: int) -> Shown:
        self._ended = False
        return self._shown(self._env.reset(seed=seed), "reset")

    def step(self, action: Action) -> Shown:
        if self._ended and self._last is not None:
            return Shown(self._last, self._clock.now_ns())
        answer = self._env.step(self._act(action))
        if isinstance(answer, tuple) and len(answer) == 5:
            self._ended = bool(answer[2]) or bool(answer[3])
        return self._shown(answer, "step")

    def close(self) -> None:
        close = getattr(self._env, "close", None)
        if callable(close):
            close()

    def _shown(self, answer: Any, method: str) -> Shown:
        found = _frame_in(answer)
        render = getattr(self._env, "render", None)
        if found is None and callable(render):
            found = _frame_in(render())
        if found is None:
            raise TargetError(
                f"{self.name}.{method}: expected a frame (height, width, 3), uint8 0..255 or float 0..1, got "
                f"{type(answer).__name__}; return one, or give the environment a render() that does"
            )
        self._last = found.copy()
        return Shown(self._last, self._clock.now_ns())


def _frame_in(answer: Any) -> Frame | None:
    if isinstance(answer, tuple) and answer:
        answer = answer[0]
    if isinstance(answer, Mapping):
        names = ("frame", "image", "rgb", "pixels", "observation")
        answer = next((answer[name] for name in names if name in answer), None)
    if not isinstance(answer, np.ndarray) or answer.ndim != 3 or answer.shape[2] != 3:
        return None
    if answer.dtype == np.uint8:
        return np.ascontiguousarray(answer)
    if np.issubdtype(answer.dtype, np.floating):
        return np.ascontiguousarray((np.clip(answer, 0, 1) * 255).round().astype(np.uint8))
    return np.ascontiguousarray(np.clip(answer, 0, 255).astype(np.uint8))
