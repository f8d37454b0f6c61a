"""Small games with spaces, pictures and habits as people really have them. Needs gymnasium; registers them all."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

SIDE_PX = 48
FIVE_WAYS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


class Base(gymnasium.Env[Any, Any]):
    """A dot moved by five actions; the observation is where it is, the picture is render()."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 20}  # noqa: RUF012 - gymnasium's own pattern
    action_space: Any = spaces.Discrete(5)
    observation_space: Any = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.at, self.steps = np.zeros(2), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.at, self.steps = np.array([SIDE_PX / 2, SIDE_PX / 2]), 0
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action!r} ({type(action)}) invalid for {self.action_space}"
        self.at = np.clip(self.at + 2 * np.asarray(self.way(action), float), 3, SIDE_PX - 4)
        self.steps += 1
        return self.seen(), 0.0, False, self.steps >= 100, {}

    def way(self, action: Any) -> Any:
        return FIVE_WAYS[int(action)]

    def seen(self) -> Any:
        return (self.at / 50).astype(np.float32)

    def frame(self) -> NDArray[np.uint8]:
        picture = np.full((SIDE_PX, SIDE_PX, 3), 40, np.uint8)
        row, column = self.at.astype(int)
        picture[row - 3 : row + 4, column - 3 : column + 4] = (250, 220, 40)
        return picture

    def render(self) -> Any:
        return self.frame()


class IntBox(Base):
    """Steering in whole steps."""

    action_space = spaces.Box(-2, 2, (2,), np.int32)

    def way(self, action: Any) -> Any:
        return np.asarray(action, float)


class ByteBox(IntBox):
    action_space = spaces.Box(0, 4, (2,), np.uint8)

    def way(self, action: Any) -> Any:
        return np.asarray(action, float) - 2


class BesideZero(IntBox):
    action_space = spaces.Box(3, 6, (2,), np.int64)

    def way(self, action: Any) -> Any:
        return np.asarray(action, float) - 4


class DoubleBox(IntBox):
    action_space = spaces.Box(-0.1, 0.3, (2,), np.float64)


class HalfBox(IntBox):
    action_space = spaces.Box(-1, 1, (1, 2), np.float16)

    def way(self, action: Any) -> Any:
        return np.asarray(action, float)[0]


class NegativeStart(Base):
    action_space = spaces.Discrete(5, start=-2)

    def way(self, action: Any) -> Any:
        return FIVE_WAYS[int(action) + 2]


class ManyDiscrete(Base):
    action_space = spaces.MultiDiscrete([3, 3], start=[-1, -1])

    def way(self, action: Any) -> Any:
        return action


class TableDiscrete(Base):
    action_space = spaces.MultiDiscrete(np.array([[3], [3]]))

    def way(self, action: Any) -> Any:
        return action[:, 0] - 1


class ManyBinary(Base):
    action_space = spaces.MultiBinary((2, 2))

    def way(self, action: Any) -> Any:
        return action[0].astype(int) - action[1].astype(int)


class FloatRender(Base):
    """0..1"""

    def render(self) -> Any:
        return self.frame().astype(np.float32) / 255


class BigFloatRender(Base):
    """0..255"""

    def render(self) -> Any:
        return self.frame().astype(np.float64)


class DarkFirst(FloatRender):
    """Black for a while, as games that fade in."""

    def render(self) -> Any:
        return super().render() * (self.steps > 3)


class ChannelFirst(Base):
    def render(self) -> Any:
        return np.moveaxis(self.frame(), -1, 0)


class Grey(Base):
    def render(self) -> Any:
        return self.frame()[..., 0]


class GreyFirst(Base):
    def render(self) -> Any:
        return self.frame()[None, ..., 0]


class Alpha(Base):
    def render(self) -> Any:
        return np.dstack([self.frame(), np.full((SIDE_PX, SIDE_PX), 255, np.uint8)])


class FrameList(Base):
    def render(self) -> Any:
        return [self.frame() * 0, self.frame()]


class Batch(Base):
    def render(self) -> Any:
        return self.frame()[None]


class WideInt(Base):
    def render(self) -> Any:
        return self.frame().astype(np.int64)


class Board(Base):
    """What the player is given is a board of codes that could pass for a small grey picture."""

    observation_space = spaces.Box(0, 255, (20, 20, 3), np.uint8)

    def seen(self) -> Any:
        return np.full((20, 20, 3), 2, np.uint8)


class PictureGiven(Base):
    """Another picture is given than is drawn."""

    observation_space = spaces.Box(0, 255, (32, 32, 3), np.uint8)

    def seen(self) -> Any:
        return np.full((32, 32, 3), 200, np.uint8)


class DictGiven(PictureGiven):
    def seen(self) -> Any:
        return {"eye": super().seen(), "speed": np.zeros(3)}


class TupleGiven(PictureGiven):
    def seen(self) -> Any:
        return super().seen(), np.zeros(3)


class OldStep(Base):
    """gym 0.21: four values."""

    def step(self, action: Any) -> Any:
        observation, reward, done, cut, info = super().step(action)
        return observation, reward, done or cut, info


class OldReset(Base):
    def reset(self, **given: Any) -> Any:
        return super().reset(**given)[0]


class NoSeed(Base):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class OldSeed(Base):
    """`seed(n)`, then `reset()`."""

    def seed(self, seed: int) -> list[int]:
        self.given = seed
        return [seed]

    def reset(self) -> Any:  # type: ignore[override]
        observation, _ = super().reset(seed=self.given)
        self.at = self.np_random.uniform(6, SIDE_PX - 7, 2)
        return observation


class OldRender(OldStep):
    """From before render modes: none is taken by the constructor, `render` asks for it."""

    def __init__(self) -> None:
        super().__init__()

    def render(self, mode: str = "human") -> Any:  # type: ignore[override]
        assert mode == "rgb_array", "a window would open"
        return self.frame()


class Boom(Base):
    def step(self, action: Any) -> Any:
        if self.steps == 50:
            raise RuntimeError("engine lost connection\nand more lines")
        return super().step(action)


class BoomReset(Base):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise OSError("no licence found")


class BoomMake(Base):
    def __init__(self, render_mode: str | None = None) -> None:
        raise RuntimeError("no display server")


class SixValues(Base):
    def step(self, action: Any) -> Any:
        return (*super().step(action), None)


class NoPicture(Base):
    def render(self) -> Any:
        return None


class TextPicture(Base):
    def render(self) -> Any:
        return "#..@..#"


class CodesDrawn(Base):
    def render(self) -> Any:
        return (self.frame() > 100).astype(np.uint8) * 7


class TinyDrawn(Base):
    def render(self) -> Any:
        return self.frame()[:8, :8]


class TwelvePlanes(Base):
    def render(self) -> Any:
        return np.zeros((20, 20, 12), np.float32)


class SignedDrawn(Base):
    def render(self) -> Any:
        return self.frame().astype(np.float32) / 127 - 1


class DeepDrawn(Base):
    def render(self) -> Any:
        return self.frame().astype(np.uint16) * 257


class NotFinite(Base):
    def render(self) -> Any:
        return self.frame().astype(np.float32) * np.nan


class Growing(Base):
    def render(self) -> Any:
        return np.repeat(self.frame(), 1 + (self.steps > 5), 0)


class Brightening(Base):
    """All but black for some steps, then 0..255: no scale fits both."""

    def render(self) -> Any:
        return self.frame().astype(np.float32) / (255 if self.steps < 5 else 1)


class ManyGames(Base):
    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, np.zeros(4, bool), np.zeros(4, bool), info


class Unbounded(Base):
    action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class LargestInts(Base):
    action_space = spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32)


class NestedActions(Base):
    action_space = spaces.Dict({"move": spaces.Discrete(3)})


class OverAtOnce(Base):
    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, True, False, info


def _register() -> None:
    for name, kind in list(globals().items()):
        if isinstance(kind, type) and issubclass(kind, Base) and kind is not Base:
            gymnasium.register(f"odd/{name}-v0", entry_point=kind)


_register()
gymnasium.register("odd/OldStepLimited-v0", entry_point=OldStep, max_episode_steps=40)
