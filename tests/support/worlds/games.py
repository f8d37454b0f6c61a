"""A tiny Gymnasium game for tests: a dot that four buttons move. Needs gymnasium; imported only where it is there."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

SIDE_PX, DOT_PX, SPEED_PX = 32, 6, 2
MOVES = ((0, 0), (-SPEED_PX, 0), (SPEED_PX, 0), (0, -SPEED_PX), (0, SPEED_PX))


class Dot(gymnasium.Env[NDArray[np.uint8], int]):
    """`deaf`: it wanders whatever the player does. `still`: nothing ever moves. `over`: ends after so many steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's own pattern
    action_names = ("noop", "left", "right", "up", "down")

    def __init__(
        self, render_mode: str | None = None, *, deaf: bool = False, still: bool = False, over: int = 0
    ) -> None:
        self.render_mode = render_mode
        self.action_space = gymnasium.spaces.Discrete(5)  # type: ignore[assignment]
        self.observation_space = gymnasium.spaces.Box(0, 255, (SIDE_PX, SIDE_PX, 3), np.uint8)
        self._deaf, self._still, self._over = deaf, still, over
        self._at, self._steps = [0, 0], 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._at = [int(v) for v in self.np_random.integers(0, SIDE_PX - DOT_PX + 1, 2)]
        self._steps = 0
        return self.render(), {}

    def step(self, action: int) -> Any:
        chosen = int(self.np_random.integers(5)) if self._deaf else int(action)
        if not self._still:
            moved = zip(self._at, MOVES[chosen], strict=True)
            self._at = [min(SIDE_PX - DOT_PX, max(0, at + by)) for at, by in moved]
        self._steps += 1
        return self.render(), 0.0, bool(self._over) and self._steps >= self._over, False, {}

    def render(self) -> Any:
        frame = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        frame[..., 2] = np.linspace(40, 90, SIDE_PX, dtype=np.uint8)[:, None]
        x, y = self._at
        frame[y : y + DOT_PX, x : x + DOT_PX] = (250, 220, 40)
        return frame


gymnasium.register("Dot-v0", Dot)
