"""Data from a Gymnasium environment: an explorer that holds its actions, in several processes, a shard at a time.

Each episode has a style: actions held for a while, changed every
tick, one control probed at a time, or nothing at all, because a world that never saw an idle player drifts. A policy
of the user's own (`--policy MODULE:FUNCTION`) plays a part of the episodes, with random bursts.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError
from .clips import Clips, Resizer, as_clips, save_shard
from .controls import Controls, controls_of, one_sided
from .game import Game, inside, open_game, search_working_folder

SHARD_FRAMES = 512
EPISODE_FRAMES = 400
HOLD_TICKS = {"mash": 1, "probe": 25, "idle": 1000}
POLICY_SHARE = 0.7
BURST = 0.02
"""Chance a tick that a policy is interrupted by a held random action."""

Policy: TypeAlias = Callable[[Any, np.random.Generator], Any]


@dataclass(frozen=True)
class EnvSpec:
    """`repeat`: environment steps per tick. `seeds`: how many different episodes the environment starts from, 0 for no
    end; few make a closed world that can be learned by heart. `policy`: MODULE:FUNCTION, or nothing. `skip`: ticks at
    the start of each episode that are played and not kept. `picture`: see `game.Game`."""

    env_id: str
    height_px: int
    width_px: int
    repeat: int = 1
    seeds: int = 0
    policy: str = ""
    skip: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    picture: str = ""


@dataclass(frozen=True)
class EnvFacts:
    """What an environment says of itself. `height_px`, `width_px`: of its own pictures. `takes_seeds`: an episode can
    be asked for again."""

    controls: Controls
    render_hz: float
    height_px: int
    width_px: int
    takes_seeds: bool = True


def open_env(spec_id: str, options: Mapping[str, Any], picture: str = "") -> Game:
    """A Gymnasium environment that can be drawn. NextframeError says what is missing."""
    return open_game(spec_id, options, picture)


def facts_of(env_id: str, options: Mapping[str, Any], picture: str = "") -> EnvFacts:
    """Look at the environment: its controls, its picture, and whether a first step can be played."""
    game = open_env(env_id, options, picture)
    try:
        inner = game.unwrapped
        said = getattr(inner, "get_action_meanings", None)
        meanings = list(said()) if callable(said) else list(getattr(inner, "action_names", ()))
        controls = controls_of(game.action_space, env_id, meanings)
        height_px, width_px = game.picture(game.reset(seed=0)).shape[:2]
        game.picture(game.step(controls.environment_action(np.zeros(controls.condition_dim, np.float32)))[0])
        return EnvFacts(controls, game.render_hz, height_px, width_px, game.takes_seeds)
    finally:
        game.close()


def repeat_for(render_hz: float) -> int:
    """Environment steps per tick, so that a world ticks at about 15 to 25 Hz."""
    return max(1, round(render_hz / 20))


def tick_rate(render_hz: float, repeat: int) -> Fraction:
    return Fraction(render_hz).limit_denominator(100) / repeat


# --- the explorer -------------------------------------------------------------------------------------------------


class Explorer:
    """Conditions to play, one a tick; numbers from the episode's own generator."""

    STYLES = ("hold", "hold", "hold", "mash", "probe", "idle")

    def __init__(self, controls: Controls, rng: np.random.Generator) -> None:
        self._controls, self._rng = controls, rng
        self._style = str(rng.choice(self.STYLES, p=[0.25, 0.25, 0.2, 0.12, 0.13, 0.05]))
        self._rest = float(rng.choice([0.15, 0.4, 0.7]))
        self._taste = [rng.dirichlet(np.full(len(group), 0.7)) for group in controls.options]
        self._left = 0
        self._held = np.zeros(controls.condition_dim, np.float32)

    def next(self) -> NDArray[np.float32]:
        if self._left <= 0:
            self._left = HOLD_TICKS.get(self._style, 0) or 1 + int(self._rng.geometric(0.14))
            self._held = self._draw()
        self._left -= 1
        return self._held

    def _draw(self) -> NDArray[np.float32]:
        controls, rng = self._controls, self._rng
        if self._style == "idle":
            return controls.possible(np.zeros(controls.condition_dim, np.float32))
        if controls.kind == "box":
            values = [self._axis(low, high) for low, high in zip(controls.low, controls.high, strict=True)]
            if self._style == "probe":
                chosen = int(rng.integers(len(values)))
                values = [value if at == chosen else 0.0 for at, value in enumerate(values)]
            return controls.possible(np.array(values, np.float32))
        if controls.kind == "binary":
            return (rng.random(controls.condition_dim) > 0.5 + 0.5 * self._rest).astype(np.float32)
        mixed = [0.5 * taste + 0.5 / len(taste) for taste in self._taste]
        picks = [int(rng.choice(len(p), p=p)) + s for p, s in zip(mixed, controls.starts, strict=True)]
        return controls.condition(np.array(picks).reshape(controls.shape))

    def _axis(self, low: float, high: float) -> float:
        """Often at rest, where the range has a rest; else anything, ends included."""
        if low <= 0 <= high and self._rng.random() < self._rest:
            return 0.0
        value = float(np.clip(self._rng.uniform(-1.2, 1.2), -1, 1))
        return (abs(value) if low >= 0 else -abs(value)) if one_sided(low, high) and low <= 0 <= high else value


def load_policy(name: str) -> Policy:
    """`MODULE:FUNCTION`; the working folder is searched too."""
    module_name, colon, function_name = name.partition(":")
    search_working_folder()
    with inside(name, f"import {module_name}", "--policy"):
        found = getattr(importlib.import_module(module_name), function_name, None) if colon else None
    if not callable(found):
        raise NextframeError(f"--policy {name}: expected MODULE:FUNCTION, called with (observation, rng)")
    policy: Policy = found
    return policy


def episode(env: Game, spec: EnvSpec, controls: Controls, number: int, most: int) -> dict[str, list[Any]]:
    """One episode of at most so many frames. The action of a tick is held for `repeat` environment steps."""
    rng = np.random.default_rng([77, number])
    resize, explorer = Resizer(spec.height_px, spec.width_px), Explorer(controls, rng)
    policy = load_policy(spec.policy) if spec.policy and rng.random() < POLICY_SHARE else None
    observation = env.reset(seed=number % spec.seeds if spec.seeds else number)
    frames = [resize(env.picture(observation))]
    conditions = [np.zeros(controls.condition_dim, np.float32)]
    burst, over = 0, False
    while len(frames) < most + spec.skip and not over:
        if burst == 0 and policy is not None and rng.random() < BURST:
            burst = int(rng.integers(4, 16))
        if policy is not None and burst == 0:
            with inside(spec.policy, f"step {len(frames)} of an episode", "--policy"):
                condition = controls.condition(policy(observation, rng))
        else:
            condition, burst = explorer.next(), max(0, burst - 1)
        action = controls.environment_action(condition)
        for _ in range(spec.repeat):
            observation, over = env.step(action)
            if over:
                break
        frames.append(resize(env.picture(observation)))
        conditions.append(condition)
    return {"frames": frames[spec.skip :], "conditions": conditions[spec.skip :]}


def shard(env: Game, spec: EnvSpec, controls: Controls, number: int) -> Clips:
    """About `SHARD_FRAMES` frames: whole episodes, numbered so that no two shards share one."""
    episodes: list[dict[str, list[Any]]] = []
    count = 0
    while count < SHARD_FRAMES:
        left = SHARD_FRAMES - count
        got = episode(env, spec, controls, number * SHARD_FRAMES + len(episodes), min(EPISODE_FRAMES, max(left, 32)))
        episodes.append(got)
        count += max(1, len(got["frames"]))
    return as_clips(episodes)


# --- processes ----------------------------------------------------------------------------------------------------

_env: Game | None = None


def _begin(parent: int, path: list[str]) -> None:
    """A worker's start. It ends when its parent is gone, also by SIGKILL."""
    sys.path[:] = path

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(spec: EnvSpec, controls: Controls, number: int, folder: str) -> int:
    global _env  # noqa: PLW0603 - one environment per worker process
    _env = _env or open_env(spec.env_id, spec.options, spec.picture)  # here, so that a refusal reaches the parent
    clips = shard(_env, spec, controls, number)
    save_shard(Path(folder) / f"shard-{number:05d}.npz", clips)
    return len(clips)


def collect(
    spec: EnvSpec, controls: Controls, folder: Path, shards: int, *, workers: int, until: Callable[[], bool]
) -> Iterator[int]:
    """Make the shards that are not there yet; yields frames as they come. Ends early once `until()` says so."""
    missing = [n for n in range(shards) if not (folder / f"shard-{n:05d}.npz").is_file()]
    yield from (
        _collect_here(spec, controls, folder, missing, until)
        if workers <= 1
        else _collect_many(spec, controls, folder, missing, workers, until)
    )


def _collect_here(
    spec: EnvSpec, controls: Controls, folder: Path, missing: list[int], until: Callable[[], bool]
) -> Iterator[int]:
    env = open_env(spec.env_id, spec.options, spec.picture)
    try:
        for number in missing:
            clips = shard(env, spec, controls, number)
            save_shard(folder / f"shard-{number:05d}.npz", clips)
            yield len(clips)
            if until():
                return
    finally:
        env.close()


def _collect_many(  # noqa: PLR0917 - as `collect`
    spec: EnvSpec, controls: Controls, folder: Path, missing: list[int], workers: int, until: Callable[[], bool]
) -> Iterator[int]:
    here = str(Path.cwd())
    path = sys.path if here in sys.path else [here, *sys.path]
    context = multiprocessing.get_context("spawn")
    try:
        processes = ProcessPoolExecutor(workers, context, _begin, (os.getpid(), path))
    except (OSError, NotImplementedError, ImportError) as error:  # semaphores need a /dev/shm that can be written
        print(f"nextframe: no worker processes here ({error}); one process makes the data", file=sys.stderr)
        yield from _collect_here(spec, controls, folder, missing, until)
        return
    with processes as pool:
        waiting: set[Future[int]] = set()
        while missing or waiting:
            while missing and len(waiting) < workers and not until():
                waiting.add(pool.submit(_work, spec, controls, missing.pop(0), str(folder)))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    yield future.result()
                except BrokenProcessPool as error:
                    raise NextframeError(
                        f"--env {spec.env_id}: expected the game to end by itself, but it took a worker process down "
                        "with it (a crash in native code, or out of memory); try it with --workers 1"
                    ) from error
