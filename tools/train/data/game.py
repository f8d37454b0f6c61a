"""A game as people have them, made to look like one: Gymnasium's five-value step, a reset with a seed, uint8 pictures.

Older games (a step of four values, a reset without a seed or without infos, `render(mode)`) are played as they are; an
error inside a game, and a picture that is none, is one `NextframeError` that names the cause.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError

LEAST_SIDE_PX = 16
CODES = 31
"""A picture of whole numbers whose brightest is not above this is a board or a map of codes, not something to see."""
COLOURS = (1, 3, 4)
ROUNDING = 1e-3
"""How far float pictures may lie outside their range."""


class Game:
    """One environment. `picture`: `render`, or `observation`, or `observation:KEY` of a dict or tuple of them."""

    def __init__(self, env: Any, name: str, picture: str = "") -> None:
        self.env, self.name = env, name
        self._source, _, self._key = (picture or "render").partition(":")
        if self._source not in {"render", "observation"}:
            raise NextframeError(f"--picture {picture}: expected render, observation or observation:KEY")
        self._game = _game_inside(env)
        self._seedable, self._render = _adapt(self._game)
        self._step = 0
        self._size_px: tuple[int, int] | None = None
        self._white: float | None = None  # what the brightest point of a float picture is; None until it is known

    @property
    def unwrapped(self) -> Any:
        return self.env.unwrapped

    @property
    def action_space(self) -> Any:
        return self.env.action_space

    @property
    def render_hz(self) -> float:
        said = dict(getattr(self.env, "metadata", None) or {})
        rate = said.get("render_fps") or said.get("video.frames_per_second") or 20
        return float(rate)

    @property
    def takes_seeds(self) -> bool:
        return self._seedable

    def reset(self, *, seed: int) -> Any:
        """The first observation of an episode."""
        self._step = 0
        if not self._seedable:  # it may draw from the two generators that everything shares
            random.seed(seed)
            np.random.seed(seed % 2**32)
        with inside(self.name, "reset"):
            return self.env.reset(seed=seed)[0]

    def step(self, action: Any) -> tuple[Any, bool]:
        """The observation after it, and whether the episode is over."""
        self._step += 1
        with inside(self.name, f"step {self._step} of an episode, action {_short(action)}"):
            observation, _, terminated, truncated, _ = self.env.step(action)
        if np.size(terminated) != 1 or np.size(truncated) != 1:
            raise NextframeError(
                f"--env {self.name}: expected one game, got {np.size(terminated)} at once; make it alone"
            )
        return observation, bool(np.all(terminated)) or bool(np.all(truncated))

    def picture(self, observation: Any) -> NDArray[np.uint8]:
        """What a player sees, `(height, width, 3)`."""
        if self._source == "observation":
            found, what = self._observed(observation), f"--picture observation{':' * bool(self._key)}{self._key}"
        else:
            with inside(self.name, "render"):
                found = self._render()
            what = "render()"
        frame = self._as_bytes(_plane_order(_array(found, self._refusal(what)), self._refusal(what)), what)
        size_px = (frame.shape[0], frame.shape[1])
        self._size_px = self._size_px or size_px
        if size_px != self._size_px:
            first, now = (f"{width}x{height}" for height, width in (self._size_px, size_px))
            raise NextframeError(
                f"--env {self.name}: expected pictures of one size, got {first} first and {now} in step {self._step}; "
                "give the game a fixed size"
            )
        return frame

    def close(self) -> None:
        with inside(self.name, "close"):
            self.env.close()

    def _observed(self, observation: Any) -> Any:
        if not self._key:
            return observation
        if isinstance(observation, Mapping) and self._key in observation:
            return observation[self._key]
        if isinstance(observation, tuple) and self._key.isdecimal() and int(self._key) < len(observation):
            return observation[int(self._key)]
        keys = list(observation) if isinstance(observation, Mapping) else []
        there = ", ".join(map(str, keys)) or type(observation).__name__
        raise NextframeError(f"--picture observation:{self._key}: expected that key in the observation, got {there}")

    def _refusal(self, what: str) -> Callable[[str], NextframeError]:
        def refusal(got: str) -> NextframeError:
            other = "say --picture observation if what the game gives its player is one" if what == "render()" else (
                "leave --picture out to use render()")  # fmt: skip
            return NextframeError(f"--env {self.name}: expected a picture from {what}, got {got}; {other}")

        return refusal

    def _as_bytes(self, image: NDArray[Any], what: str) -> NDArray[np.uint8]:
        """Values of any kind as 0..255."""
        refusal = self._refusal(what)
        if image.dtype == np.bool_:
            return np.where(image, np.uint8(255), np.uint8(0))
        low, high = image.min(), image.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise refusal("numbers that are not finite")
        if low < -ROUNDING or high > 255 + ROUNDING:
            raise refusal(f"{image.dtype} from {low:g} to {high:g}, not 0..255 or 0..1")
        if np.issubdtype(image.dtype, np.floating):
            return self._from_floats(image.astype(np.float64), float(high))
        if 0 < high <= CODES:
            raise refusal(f"{image.shape[1]}x{image.shape[0]} whole numbers up to {high}: codes, or all but black")
        return image.astype(np.uint8)

    def _from_floats(self, image: NDArray[np.float64], high: float) -> NDArray[np.uint8]:
        """0..1 or 0..255: the first picture that is not black says which, and the others are held to it."""
        if self._white is None and high > 0:
            self._white = 1.0 if high <= 1 + ROUNDING else 255.0
        white = self._white or 1.0
        if high > white + ROUNDING:
            raise NextframeError(
                f"--env {self.name}: expected float pictures of 0..1, as those before, got {high:g} in step "
                f"{self._step}; return uint8"
            )
        return np.rint(image * (255 / white)).clip(0, 255).astype(np.uint8)


def open_game(name: str, options: Mapping[str, Any], picture: str = "") -> Game:
    """The environment of that name, with pictures. NextframeError says what is missing."""
    try:
        import gymnasium
    except ImportError as error:
        raise NextframeError("training from an environment needs Gymnasium: pip install 'nextframe[train]'") from error
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    search_working_folder()
    try:
        try:
            made = gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True, **options)
        except (TypeError, gymnasium.error.Error) as error:
            if "render_mode" not in str(error):
                raise
            made = gymnasium.make(name, disable_env_checker=True, **options)  # of before render modes
    except Exception as error:
        raise NextframeError(f"--env {name}: expected an environment that can be made: {_first_line(error)}") from error
    return Game(made, name, picture)


def search_working_folder() -> None:
    """A game or player of the user's own lies where the command is given; an installed command does not look there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


@contextmanager
def inside(name: str, doing: str, option: str = "--env") -> Iterator[None]:
    """What the user's own code raises becomes one line: what, where, and what was being done."""
    try:
        yield
    except NextframeError:
        raise
    except Exception as error:
        calls = traceback.extract_tb(error.__traceback__)
        own = [
            call for call in calls if call.filename != __file__ and f"{os.sep}gymnasium{os.sep}" not in call.filename
        ]
        at = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
        raise NextframeError(f"{option} {name}: {type(error).__name__} in {doing}{at}: {_first_line(error)}") from error


# --- older games --------------------------------------------------------------------------------------------------


def _game_inside(env: Any) -> Any:
    """The user's own game, below the wrappers that Gymnasium puts around every one."""
    while type(env).__module__.startswith("gymnasium.wrappers"):
        env = env.env
    return env


def _adapt(game: Any) -> tuple[bool, Callable[[], Any]]:
    """Give the object today's `reset` and `step`. Returns whether its reset heeds a seed, and how it is drawn."""
    reset, step, render = game.reset, game.step, game.render
    accepted = _parameters(reset)
    old_seed = getattr(game, "seed", None)
    seedable = "seed" in accepted or callable(old_seed)

    def reset_now(*, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if "seed" not in accepted and callable(old_seed) and seed is not None:
            old_seed(seed)
        given = {"seed": seed, "options": options}
        result = reset(**{key: value for key, value in given.items() if key in accepted})
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            return result
        return result, {}

    def step_now(action: Any) -> tuple[Any, Any, Any, Any, Any]:
        result = step(action)
        if not isinstance(result, tuple) or len(result) not in {4, 5}:
            got = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
            raise TypeError(f"expected step to return 5 values, or 4 as it once did, got {got}")
        if len(result) == 5:
            return result
        observation, reward, done, info = result
        cut = bool(info.get("TimeLimit.truncated")) if isinstance(info, Mapping) else False
        return observation, reward, bool(done) and not cut, cut, info

    game.reset, game.step = reset_now, step_now
    if "mode" in inspect.signature(render).parameters:
        return seedable, lambda: render(mode="rgb_array")
    return seedable, render


def _parameters(function: Callable[..., Any]) -> set[str]:
    """Which of `seed` and `options` it takes."""
    found = inspect.signature(function).parameters.values()
    names = {one.name for one in found if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}}
    return {"seed", "options"} if any(one.kind is one.VAR_KEYWORD for one in found) else names & {"seed", "options"}


# --- pictures -----------------------------------------------------------------------------------------------------


def _array(found: Any, refusal: Callable[[str], NextframeError]) -> NDArray[Any]:
    if isinstance(found, list) and found and not isinstance(found[0], list | int | float):
        found = found[-1]  # the mode that gives all frames since the last call
    if found is None or isinstance(found, str | bytes | Mapping | tuple):
        shown = {"NoneType": "None", "str": "text", "dict": f"a dict of {', '.join(map(str, found or ()))}"}
        raise refusal(shown.get(type(found).__name__, type(found).__name__))
    array = np.asarray(found)
    if array.dtype.kind not in "buif" or array.size == 0:
        raise refusal(type(found).__name__)
    return array


def _plane_order(array: NDArray[Any], refusal: Callable[[str], NextframeError]) -> NDArray[Any]:
    """`(height, width, 3)` from grey, colour before rows, an alpha plane, or a batch of one."""
    image = array[0] if array.ndim == 4 and len(array) == 1 else array
    if image.ndim == 2:
        image = image[..., None]
    first_is_colour = image.ndim == 3 and image.shape[-1] not in COLOURS and image.shape[0] in {1, 3}
    image = np.moveaxis(image, 0, -1) if first_is_colour else image
    if image.ndim != 3 or image.shape[-1] not in COLOURS or min(image.shape[:2]) < LEAST_SIDE_PX:
        shape = "x".join(map(str, array.shape))
        raise refusal(f"an array of {shape} ({array.dtype}), not rows, columns and 1 or 3 colours of 16 px or more")
    return image.repeat(3, -1) if image.shape[-1] == 1 else image[..., :3]


def _short(action: Any) -> str:
    text = " ".join(str(action).split())
    return text if len(text) <= 40 else text[:39] + "…"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
